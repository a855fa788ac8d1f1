"""Answers as ground truth: what a setting found out labels a dataset, and `prepare` reads the labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.benchmarks.eibench.ground_truth import write_ground_truth
from eibench_ray.benchmarks.eibench.importer import prepare_eibench
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.table_columns import parse_columns
from eibench_ray.datasets.table_import import prepare_table
from eibench_ray.datasets.text_tables import read_jsonl
from eibench_ray.engines.engine import RowError
from eibench_ray.errors import ConfigError, DataError, StoreError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Request
from eibench_ray.runs.find_run import find_run
from eibench_ray.runs.results import open_run
from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.runs.planning import PlannedSweep

ANY = {"model": None, "setting": None, "dataset": None}
PUBLISHED = Path(__file__).resolve().parents[3] / ".." / "shared" / "eibench"

# Picture, question, the answer that labels it, its triggers.
PARTY = (
    "new/joy/1.png",
    "Why does she smile?",
    "Here you are:\n1. **A cake.**\n2. Friends\naround her.\n\nThat is all.",
)
RAIN = ("new/grief/2.png", "Why does he cry?", "1) Rain\n2) A farewell")
NOBODY = ("new/grief/3.png", "Why is nobody there?", "I cannot tell.")
LOST = ("new/joy/4.png", "Why are they late?", "refused")
TRIGGERS = {PARTY[0]: ("A cake.", "Friends around her."), RAIN[0]: ("Rain", "A farewell")}


def export_ground_truth(folder: Path, out: Path, chosen: Mapping[str, str | None]) -> dict[str, Any]:
    found = find_run(str(folder))
    return write_ground_truth(open_run(found.manifest, found.store), out, chosen)


def record(sweep: PlannedSweep, folder: Path) -> Path:
    """The folder of a run that has ended, as `run` leaves it."""
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(folder)
    return folder


def label(sweeps: Sweeps, scripted: type[Scripted], rows: list[tuple[str, str, str]]) -> Path:
    """The folder of a run over pictures without a reference."""
    for path, _, _ in rows:
        file = sweeps.folder / "pictures" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.encode())
    table = sweeps.folder / "new.jsonl"
    table.write_text("".join(json.dumps({"image": path, "question": asked}) + "\n" for path, asked, _ in rows))
    prepare_table(
        read_jsonl(table), parse_columns([]), [sweeps.folder / "pictures"], sweeps.folder / "new", unlabelled=True
    )
    replies = {question: text for _, question, text in rows}

    def reply(request: Request) -> str:
        if replies[request.question] == "refused":
            raise RowError(RowErrorKind.PROMPT, "refused")
        return replies[request.question]

    sweep = sweeps.plan(sweeps.config(dataset="new"))
    sweeps.ask(sweep, scripted(reply))
    return record(sweep, sweeps.folder / "run")


def test_a_dataset_that_was_labelled_is_prepared_as_eibench_is(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    run = label(sweeps, scripted, [PARTY, RAIN, NOBODY, LOST])
    counts = export_ground_truth(run, sweeps.folder / "labels", ANY)
    assert counts == {"labelled": 2, "left_out": {"without numbered triggers": 1, "without an answer": 1}}
    prepare_eibench(sweeps.folder / "labels", [sweeps.folder / "pictures"], sweeps.folder / "data", "basic")
    samples = open_dataset(str(sweeps.folder / "data" / "eibench_basic")).samples(0, 2)
    assert {sample.media[0].path: sample.target for sample in samples} == TRIGGERS
    assert [sample.inputs["question"] for sample in samples] == [PARTY[1], RAIN[1]]
    assert samples[0].metadata["reference"] == "1. A cake.\n2. Friends around her."


def test_several_questions_of_one_picture_are_written_as_the_complex_set_is(
    sweeps: Sweeps, scripted: type[Scripted]
) -> None:
    again = (PARTY[0], "Why is she moved?", "1. A song.")
    run = label(sweeps, scripted, [PARTY, RAIN, again])
    export_ground_truth(run, sweeps.folder / "labels", ANY)
    assert [path.name for path in (sweeps.folder / "labels").iterdir()] == ["ec_complex.jsonl"]
    prepare_eibench(sweeps.folder / "labels", [sweeps.folder / "pictures"], sweeps.folder / "data", "complex")
    samples = open_dataset(str(sweeps.folder / "data" / "eibench_complex")).samples(0, 3)
    assert [(sample.media[0].path, sample.inputs["question"]) for sample in samples] == [
        row[:2] for row in (PARTY, RAIN, again)
    ]
    assert samples[2].target == ("A song.",)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs EIBench's annotations beside the checkout")
def test_the_published_files_have_this_form(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    export_ground_truth(label(sweeps, scripted, [PARTY, RAIN]), sweeps.folder / "basic", ANY)
    again = (PARTY[0], "Why is she moved?", "1. A song.")
    export_ground_truth(label(sweeps, scripted, [PARTY, again]), sweeps.folder / "complex", ANY)
    for name in ("basic/user.jsonl", "complex/ec_complex.jsonl"):
        ours, published = (json.loads(path.read_text().splitlines()[0]) for path in paths_of(sweeps, name))
        assert shape(ours) == shape(published)
    ours, published = (path.read_text() for path in paths_of(sweeps, "basic/basic_ground_truth.json"))
    assert shape(json.loads(ours)) == shape(json.loads(published))
    assert [line[:5] for line in ours.splitlines()[:2]] == [line[:5] for line in published.splitlines()[:2]]


def paths_of(sweeps: Sweeps, name: str) -> tuple[Path, Path]:
    return sweeps.folder / name, PUBLISHED / name.split("/")[1]


def shape(value: Any) -> Any:
    """The form of an object of texts: what stands for its first member, with numbered texts told apart."""
    if isinstance(value, dict):
        return {"text": shape(next(iter(value.values())))}
    return "numbered" if value.startswith("1. ") else "text"


def test_rows_that_are_not_asked_yet_are_counted(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    run = label(sweeps, scripted, [PARTY, RAIN])
    answers = next(path for path in (sweeps.folder / "store" / "steps").glob("*/slice-*") if holds_text(path))
    answers.unlink()
    with pytest.raises(DataError, match=r"no answer of echo in setting plain on new is a label \(2 not asked yet\)"):
        export_ground_truth(run, sweeps.folder / "labels", ANY)
    assert not (sweeps.folder / "labels").exists()


def holds_text(path: Path) -> bool:
    import pyarrow.parquet as pq

    return bool(pq.read_table(path)["text"].is_valid()[0].as_py())


def test_a_trigger_that_the_limit_cut_off_is_left_out(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    run = label(sweeps, scripted, [PARTY, RAIN])
    sweep = sweeps.plan(sweeps.config(dataset="new"))
    answers = sweep.plan.cells[0].answer
    rows = sweep.store.read_slice(answers, 0).values()
    sweep.store.write_slice(answers, 0, [replace(row, finish_reason="length") for row in rows])
    export_ground_truth(run, sweeps.folder / "labels", ANY)
    written = json.loads((sweeps.folder / "labels" / "basic_ground_truth.json").read_text())
    assert written == {PARTY[0]: "1. A cake.", RAIN[0]: "1. Rain"}


def test_answers_without_a_picture_label_nothing(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    table = sweeps.folder / "new.jsonl"
    table.write_text('{"question": "Why?"}\n')
    prepare_table(read_jsonl(table), parse_columns([]), [], sweeps.folder / "new", unlabelled=True)
    sweep = sweeps.plan(sweeps.config(dataset="new"))
    sweeps.ask(sweep, scripted(lambda _: "1. So."))
    with pytest.raises(DataError, match=r"\(1 without a picture\)"):
        export_ground_truth(record(sweep, sweeps.folder / "run"), sweeps.folder / "labels", ANY)


def test_which_answers_are_meant_is_chosen_by_name(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(range(2))
    cells = [sweeps.config(setting, judge) for setting in ("plain", "brief") for judge in ("strict", "official")]
    sweep = sweeps.plan(*cells)
    sweeps.ask(sweep, scripted(lambda request: "1. Long." if "Look" in request.user else "1. Brief."))
    run = record(sweep, sweeps.folder / "run")
    with pytest.raises(ConfigError, match=r"several answers .* choose --setting plain or brief$"):
        export_ground_truth(run, sweeps.folder / "labels", ANY)
    with pytest.raises(ConfigError, match="--setting cfsa: the run has no such setting there; it has plain, brief"):
        export_ground_truth(run, sweeps.folder / "labels", ANY | {"setting": "cfsa"})
    export_ground_truth(run, sweeps.folder / "labels", ANY | {"setting": "brief"})
    written = json.loads((sweeps.folder / "labels" / "basic_ground_truth.json").read_text())
    assert written == {"faces/0.png": "1. Brief.", "faces/1.png": "1. Brief."}


def test_a_folder_that_cannot_be_written_is_told(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    (sweeps.folder / "labels").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"):
        export_ground_truth(label(sweeps, scripted, [PARTY]), sweeps.folder / "labels", ANY)
