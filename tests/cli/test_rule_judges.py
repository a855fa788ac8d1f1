"""Judges that are rules, from a table to the leaderboard: published outputs get the figures that were published."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import yaml

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.scoring.rules.number import NumberScorer

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT.parent / "shared" / "benchmarks"
GSM8K = BENCHMARKS / "gsm8k" / "example_model_solutions.jsonl"
SCIENCEQA = BENCHMARKS / "scienceqa" / "gpt3_cot_test.json"
# Right answers of 1,319, as published with the solutions.
RIGHT = {"6b_finetuning": 286, "6b_verification": 515, "175b_finetuning": 458, "175b_verification": 742}
NEEDS_OUTPUTS = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs published outputs in ../shared/benchmarks")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def record(name: str, dataset: str, answers: Mapping[str, str | None]) -> None:
    """Writes a model's recorded answers, and an option that replays them."""
    write_lines(
        Path(f"recorded/{name}/{dataset}.user_question.jsonl"),
        ({"id": sample_id, "answer": answer} for sample_id, answer in answers.items()),
    )
    option = {"defaults": ["replay", "_self_"], "name": name, "engine": {"predictions": f"recorded/{name}"}}
    Path("conf/model").mkdir(parents=True, exist_ok=True)
    Path(f"conf/model/{name}.yaml").write_text(yaml.safe_dump(option), encoding="utf-8")


def arguments(dataset: str, judge: str, *models: str) -> list[str]:
    chosen = ["dataset=prepared", f"dataset.name={dataset}", f"dataset.path=data/{dataset}", f"judge={judge}"]
    return ["--config-dir", "conf", "-m", f"model={','.join(models)}", *chosen, "tracking=none"]


@NEEDS_OUTPUTS
@pytest.mark.usefixtures("commands_share_ray")
def test_gsm8ks_published_solutions_are_right_where_its_authors_say_so(command: Command) -> None:
    rows = [json.loads(line) for line in GSM8K.read_text(encoding="utf-8").splitlines()]
    table = (
        {"id": str(number), "question": row["question"], "ground_truth": row["ground_truth"]}
        for number, row in enumerate(rows)
    )
    write_lines(Path("gsm8k.jsonl"), table)
    assert command("prepare", "jsonl", "gsm8k.jsonl", "--map", "target=ground_truth", "--out", "data/gsm8k").code == 0
    samples = open_dataset("data/gsm8k").samples(0, len(rows))
    answers = {name: {str(number): row[name]["solution"] for number, row in enumerate(rows)} for name in RIGHT}
    scores = {
        name: [NumberScorer().read(sample, of_model[sample.sample_id], None).values for sample in samples]
        for name, of_model in answers.items()
    }
    assert {name: sum(one["accuracy"] for one in of_model) for name, of_model in scores.items()} == RIGHT

    # One of them from the command line to the leaderboard.
    name = "6b_verification"
    record(name, "gsm8k", answers[name])
    sweep = arguments("gsm8k", "number", name)

    planned = command("plan", *sweep)
    called = command("run", "--json", *sweep)

    assert "scored by rule" in planned.out
    assert called.code == 0, called.err
    (found,) = called.json["rows"]
    assert round(found["value"] * found["n"]) == RIGHT[name]
    assert (found["metric"], found["n"], found["scored"], found["coverage"]) == ("accuracy", 1319, 1319, 1.0)
    assert called.json["completions_new"] == 1319  # answers: nobody was asked to judge


@NEEDS_OUTPUTS
@pytest.mark.usefixtures("commands_share_ray")
def test_scienceqas_published_outputs_choose_what_its_script_read(command: Command) -> None:
    published = json.loads(SCIENCEQA.read_text(encoding="utf-8"))
    outputs, indices = published["outputs"], published["results"]
    write_lines(Path("scienceqa.jsonl"), ({"id": key, "question": key, "target": indices[key]} for key in outputs))
    record("gpt3", "scienceqa", outputs)
    assert command("prepare", "jsonl", "scienceqa.jsonl", "--out", "data/scienceqa").code == 0

    sweep = arguments("scienceqa", "choice", "gpt3")
    called = command("run", "--json", *sweep)
    again = command("run", "--json", *sweep, "judge.unparsed=missing")

    assert (called.code, again.code) == (0, 0), called.err + again.err
    assert (called.json["completions_new"], again.json["completions_new"]) == (4241, 0)
    (strict,), (lenient,) = called.json["rows"], again.json["rows"]
    assert strict["statuses"] == lenient["statuses"] == {"ok": 3998, "unparsed": 243}
    assert (strict["coverage"], strict["unparsed"]) == (1.0, 243)
    assert lenient["coverage"] == pytest.approx(3998 / 4241)
    assert strict["value"] * 4241 == pytest.approx(lenient["value"] * 3998)

    # Where an output is empty or names its letter twice, the published index was drawn: there it is not compared.
    once = {key for key, text in outputs.items() if len(re.findall(r"The answer is ([A-Z]).", text)) == 1}
    assert command("export", called.json["run_dir"], "--out", "export").code == 0
    exported = pl.read_parquet("export/rows/**/*.parquet", hive_partitioning=True)
    chosen = {
        sample_id: json.loads(details)["choice"]
        for sample_id, details, status in exported.select("sample_id", "details", "score_status").iter_rows()
        if status == "ok"
    }
    assert len(once) == 3992
    assert {key: "ABCDE".index(chosen[key]) for key in once} == {key: indices[key] for key in once}
    assert chosen.keys() == {key for key, text in outputs.items() if text}


@pytest.mark.usefixtures("commands_share_ray")
def test_what_a_recording_lacks_and_what_it_has_beside_is_named(command: Command) -> None:
    write_lines(Path("sums.jsonl"), [{"id": name, "question": "1 + 1?", "target": 2} for name in ("a", "b", "c", "d")])
    assert command("prepare", "jsonl", "sums.jsonl", "--out", "data/sums").code == 0
    record("by_hand", "sums", {"a": "2", "b": None, "c": "two", "x": "2", "y": "2"})
    sweep = arguments("sums", "number", "by_hand")

    planned = command("plan", "--json", *sweep)
    called = command("run", "--json", *sweep)

    (match,) = planned.json["recordings"]
    assert (match["num_without_line"], match["without_line"]) == (1, ["d"])
    assert (match["num_unknown"], match["unknown"]) == (2, ["x", "y"])
    told = (Path(called.json["run_dir"]) / "run.log").read_text(encoding="utf-8")
    assert "by_hand: 1 of 4 samples of sums have no line in sums.user_question.jsonl and become error rows: d" in told
    assert "2 lines of it are about no sample there: x, y" in told
    (row,) = called.json["rows"]
    assert row["statuses"] == {"ok": 1, "unparsed": 1, "no_answer": 2}
    assert (row["value"], row["coverage"]) == (0.5, 0.5)
    assert called.json["errors_by_kind"] == {"record": 2}


def test_a_recording_by_pictures_is_held_against_pictures_and_questions(command: Command) -> None:
    first, second, third = open_dataset("package:demo").samples(0, 3)
    lines = [
        {first.media[0].path: "because"},
        {second.media[0].path: {second.inputs["question"]: "because", "Who?": "she"}},
        {third.media[0].path: {"Why not?": "so"}},
        {"gone.jpg": "because"},
    ]
    write_lines(Path("recorded/demo.user_question.jsonl"), lines)
    model = ["model=replay", "model.name=by_hand", "model.engine.predictions=recorded"]

    planned = command("plan", "--json", *model, "dataset=demo", "dataset.limit=4", "judge=includes", "tracking=none")

    (match,) = planned.json["recordings"]
    assert (match["num_samples"], match["num_without_line"]) == (4, 2)
    assert match["without_line"][0] == third.sample_id
    unknown = [f"{second.media[0].path} (Who?)", f"{third.media[0].path} (Why not?)", "gone.jpg"]
    assert match["unknown"] == unknown


def test_a_recording_of_two_forms_is_refused(command: Command) -> None:
    write_lines(Path("sums.jsonl"), [{"id": "a", "question": "1 + 1?", "target": 2}])
    assert command("prepare", "jsonl", "sums.jsonl", "--out", "data/sums").code == 0
    record("by_hand", "sums", {"a": "2"})
    with Path("recorded/by_hand/sums.user_question.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"a.jpg": "2"}\n')

    planned = command("plan", *arguments("sums", "number", "by_hand"))

    assert "recorded predictions that cannot be used" in " ".join(planned.out.split())
    assert "write all lines of a file in one form" in " ".join(planned.out.split())
