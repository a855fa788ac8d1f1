"""`eibench-ray simulate`: its figures, its options, and what it says where a cluster is too small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

KEYS = {
    "wall_clock_s",
    "lower_bound_s",
    "ratio",
    "loads",
    "gpus",
    "idle_share",
    "decisions",
    "decision_us_median",
}
# Two cells of vLLM engines, and recorded answers beside them; none of it is there.
SWEEP = [
    "-m",
    "model=llava_next_7b,llava_next_34b,otter",
    "setting=user_question",
    "dataset=eibench_complex",
    "judge=llama3_8b",
]


def test_json_has_every_key_and_a_ratio_over_one(command: Command) -> None:
    called = command("simulate", *SWEEP, "--nodes", 2, "--gpus-per-node", 4, "--json")
    assert called.code == 0, called.err
    assert called.json.keys() >= KEYS
    assert (called.json["gpus"], called.json["nodes"]) == (8, 2)
    assert called.json["requests"] == 6 * 50
    assert called.json["ratio"] == called.json["wall_clock_s"] / called.json["lower_bound_s"] >= 1
    assert called.json["loads"] >= called.json["loads_at_least"] == 3  # recorded answers are no load
    assert sum(called.json["shares"].values()) == pytest.approx(1)
    assert called.json["idle_share"] == pytest.approx(sum(called.json["idle"].values()))


def test_failures_late_nodes_and_a_picture(command: Command, tmp_path: Path) -> None:
    line = ["simulate", *SWEEP, "--nodes", 3, "--failing", 0.4, "--late-nodes", 2, "--late-s", 50, "--seed", 3]
    called = command(*line, "--slice-rows", 8, "--gantt", "run.svg")
    assert called.code == 0, called.err
    assert "lower bound" in called.out
    assert (tmp_path / "run.svg").read_text().startswith("<svg")
    assert command(*line, "--json").json["deaths"] > 0


def test_it_leaves_nothing_behind(command: Command, tmp_path: Path) -> None:
    assert command("simulate", *SWEEP).code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("commands_share_ray")
def test_a_finished_sweep_has_nothing_left(command: Command) -> None:
    cells = ["model=echo", "judge=echo", "dataset=demo", "tracking=none", "setting=user_question"]
    assert command("run", *cells, "dataset.limit=4", "--json").code == 0
    called = command("simulate", *cells, "dataset.limit=4")
    assert (called.code, "Nothing is left to do" in called.out) == (0, True)
    assert command("simulate", *cells, "dataset.limit=4", "--json").json["wall_clock_s"] == 0
    again = command("simulate", *cells, "dataset.limit=4", "--from-scratch", "--json")
    assert again.json["requests"] == 8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--nodes", "0"], "--nodes"),
        (["--late-nodes", "9"], "--late-nodes 9 is more than all 1 nodes"),
        (["--gantt", "run.gif"], "run.gif"),
        (["--no-such-option"], "no such option"),
        (["--gpus-per-node", "0", "model=llava_next_7b"], "engine 'llava_next_7b' needs 1 GPUs"),
        (["--gpu-memory-gb", "8", "model=llava_next_7b"], "of 8 GB"),
    ],
)
def test_what_cannot_be_simulated_ends_with_two(command: Command, options: list[str], words: str) -> None:
    called = command("simulate", *SWEEP, *options)
    assert called.code == 2
    assert words in called.err
    assert "Traceback" not in called.err
