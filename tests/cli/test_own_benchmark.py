"""A user's own benchmark, from a table and pictures to the leaderboard, without a line of Python."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from drawing import draw

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30))
MODELS = ("idefics3", "qwen2_vl")
# In transformers, which starts in a third of vLLM's time; in vLLM both are asked by engines/test_architectures.py.
MODEL = """
defaults:
  - tiny_video_llava
  - _self_

name: {name}
engine: {{source: "checkpoint:tiny_{name}"}}
"""
TOPICS = ("colour", "size")
# What the user writes beside the table: how a model is asked, and a judge that compares two models' answers.
SETTING = """
name: pick
prompt_source: own
sampling: {temperature: 0, max_tokens: 8}
calls:
  - name: answer
    role: subject
    image: true
    prompt: |-
      Left: {{ image(1) }} Right: {{ image(2) }} {{ question }}
      A. {{ option_a }}
      B. {{ option_b }}
      Reply with the letter of the right choice.
"""
JUDGE = """
defaults:
  - pairwise
  - override /model@model: qwen2_vl
  - override /model@baseline: qwen2_vl
  - _self_

name: paired
sampling: {max_tokens: 48}
"""
DATASET = """
defaults:
  - prepared
  - _self_

name: pairs
path: data/pairs
group_by: [topic]
"""


@pytest.fixture
def pairs() -> Path:
    """The user's folder: eight questions about two pictures each, with columns of their own."""
    rows = []
    for number in range(8):
        names = {side: f"pictures/{number}_{side}.png" for side in ("left", "right")}
        for shift, name in enumerate(names.values()):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_bytes(draw(COLOURS[(number + shift) % 4]))
        asked = {"question": f"Which one is nearer to picture {number}?", "option_a": "left", "option_b": "right"}
        own = {"topic": TOPICS[number % 2], "difficulty": number // 3, "drawn_by": "Ada" if number < 5 else "Bo"}
        rows.append({"id": f"pair-{number}", **names, **asked, "answer": "AB"[number % 2], **own})
    with Path("pairs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    models = {f"model/{name}": MODEL.format(name=name) for name in MODELS}
    for name, text in {"setting/pick": SETTING, "judge/paired": JUDGE, "dataset/pairs": DATASET, **models}.items():
        path = Path(f"my_conf/{name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Path.cwd()


def typed(command: Command, line: str) -> Any:
    """The JSON that a command prints, given as it is typed."""
    called = command(*shlex.split(line)[1:], "--json")
    assert called.code == 0, called.err
    return json.loads(called.out)


PREPARE = (
    "eibench-ray prepare jsonl pairs.csv --images . --out data/pairs "
    "--map image=left --map image=right --map target=answer"
)


@pytest.mark.slow
@pytest.mark.usefixtures("commands_share_ray")
def test_two_models_from_a_table_to_the_leaderboard(command: Command, pairs: Path) -> None:
    pytest.importorskip("transformers", reason="the engines need eibench-ray[cpu] or [gpu]")
    [prepared] = typed(command, PREPARE)["datasets"]
    assert (prepared["rows"], prepared["media"]) == (8, 16)
    line = (
        "eibench-ray run --config-dir my_conf -m model=idefics3,qwen2_vl setting=pick dataset=pairs "
        "judge=choice,paired tracking=none cluster.num_cpus=2"
    )
    summary = typed(command, line)

    # 2 x 8 answers, and 2 x 8 verdicts on the one model that is not the baseline, by an engine that is loaded already.
    assert (summary["requests"], summary["completions_new"], summary["errors"], summary["loads"]) == (32, 32, 0, 2)
    rows = {(row["model"], row["judge"]): row for row in summary["rows"]}
    compared = ("idefics3", "paired_vs_qwen2_vl")
    assert set(rows) == {("idefics3", "choice"), ("qwen2_vl", "choice"), compared}
    assert {row["n"] for row in rows.values()} == {8}
    # A random judge's replies follow the schema: a verdict is read from each, whatever it is worth.
    assert (rows[compared]["metric"], rows[compared]["statuses"]) == ("win_rate", {"ok": 8})
    assert set(rows["idefics3", "choice"]["groups"]["topic"]) == set(TOPICS)

    folder = summary["run_dir"]
    by_drawer = typed(command, f"eibench-ray report {folder} --by drawn_by")["rows"]
    assert {name: group["n"] for name, group in by_drawer[0]["groups"]["drawn_by"].items()} == {"Ada": 5, "Bo": 3}
    line = f"eibench-ray show {folder} --sample pair-3 --step answer --model idefics3 --no-prompts"
    shown = typed(command, line)
    steps = {step["engine"]: step for step in shown["steps"]}  # the answer, and the one that it is held against
    assert {engine: step["trace"] for engine, step in steps.items()} == dict.fromkeys(MODELS, "sent")
    for step in steps.values():
        assert [piece["image"] for piece in step["messages"][0]["content"] if isinstance(piece, dict)] == [1, 2]
    assert (pairs / folder / "leaderboard.md").is_file()


def test_a_table_with_lists_needs_no_column_names_of_its_own(command: Command, pairs: Path) -> None:
    with (pairs / "pairs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = [
        {**row, "images": [row["left"], row["right"]], "choices": [row["option_a"], row["option_b"]], "target": 1}
        for row in rows
    ]
    Path("pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    [prepared] = typed(command, "eibench-ray prepare jsonl pairs.jsonl --images . --out data/pairs")["datasets"]
    assert (prepared["rows"], prepared["media"]) == (8, 16)
    plan = typed(
        command,
        "eibench-ray plan --config-dir my_conf model=echo setting=pick dataset=pairs judge=choice tracking=none",
    )
    assert plan["requests"] == 8
    assert plan["cells"][0]["scored_by"] == "rule"
