"""The command `compare` over an echo sweep of two models, two settings and two judges."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest

if TYPE_CHECKING:
    from conftest import Called, Sweeps

    Command = Callable[..., Called]


def record(sweeps: Sweeps, *cells: tuple[str, str, str], is_asked: bool = True) -> Path:
    """The folder of a run of some cells (model, setting, judge), as the latest below ./multirun."""
    sweeps.write_dataset(range(10))
    sweep = sweeps.plan(
        *(
            sweeps.config(setting, judge, model={"name": model, "system": f"You are {model}."})
            for model, setting, judge in cells
        )
    )
    if is_asked:
        sweeps.ask(sweep)
    folder = sweeps.folder / "multirun" / "2026-01-01" / "00-00-00"
    folder.mkdir(parents=True)
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(folder)
    return folder


@pytest.fixture
def folder(sweeps: Sweeps) -> Path:
    cells = [(model, setting, judge) for model in "ab" for setting in ("plain", "brief") for judge in ("x", "official")]
    return record(sweeps, *cells)


def numbers_in(value: Any) -> list[float]:
    if isinstance(value, dict):
        return numbers_in(list(value.values()))
    if isinstance(value, list):
        return [number for part in value for number in numbers_in(part)]
    return [value] if isinstance(value, float) else []


def test_the_latest_run_is_compared_and_its_files_stand_beside_the_leaderboard(command: Command, folder: Path) -> None:
    found = command("compare", "--json").json
    assert [Path(file).resolve() for file in found["files"]] == [folder / "compare.md", folder / "compare.json"]
    values = json.loads((folder / "compare.json").read_text())
    assert list(values) == [
        "confidence",
        "family",
        "runs",
        "pairs",
        "judges",
        "panels",
        "preferences",
        "noises",
        "tournaments",
        "calibrations",
        "labels",
        "lengths",
    ]
    assert values == {key: found[key] for key in values}
    assert [(pair["by"], pair["judge"]) for pair in values["pairs"]] == [
        (by, judge) for by in ("model", "setting") for judge in ("x", "official") for _ in range(2)
    ]
    assert {pair["n"] for pair in values["pairs"]} == {10}
    assert all(math.isfinite(number) for number in numbers_in(values))
    (judges,) = values["judges"]
    assert (judges["first"], judges["second"], judges["cells"], judges["n"]) == ("x", "official", 4, 40)
    assert len(values["lengths"]) == 8


def test_judges_are_held_against_peoples_labels(command: Command, folder: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    lines = [f"s{number:03d},{model},plain,{number / 10}" for number in range(10) for model in "ab"]
    labels.write_text("\n".join(["id,model,setting,label", *lines, "s000,c,plain,1"]))

    found = command("compare", folder, "--labels", labels, "--json").json

    assert [(one["judge"], one["model"], one["labels"]) for one in found["calibrations"]] == [
        (judge, model, 20 if model is None else 10) for judge in ("x", "official") for model in (None, "a", "b")
    ]
    assert [one["label"] for one in found["calibrations"]] == pytest.approx([0.45] * 6)
    assert (found["labels"]["num_labels"], found["labels"]["num_unmatched"]) == (21, 1)
    page = (folder / "compare.md").read_text()
    assert "## Judges against labels: faces, recall %" in page
    assert "1 of 21 labels are of no answer of these runs, the first: labels.csv:22, sample 's000' of c/plain" in page
    refused = command("compare", folder, "--labels", tmp_path / "gone.csv")
    assert (refused.code, "gone.csv is no file" in refused.err) == (2, True)


def test_p_values_are_adjusted_over_one_table_or_over_all(command: Command, folder: Path) -> None:
    alone, together = (command("compare", folder, "--family", family, "--json").json for family in ("table", "all"))
    assert (alone["family"], together["family"]) == ("table", "all")
    least = min(pair["p"] for pair in together["pairs"])
    assert min(pair["p_holm"] for pair in together["pairs"]) == pytest.approx(min(1, 8 * least))
    assert all(one["p_holm"] <= all_["p_holm"] for one, all_ in zip(alone["pairs"], together["pairs"], strict=True))
    assert "adjusted for all 8 lines of all tables of pairs" in (folder / "compare.md").read_text()
    assert command("compare", folder, "--family", "none").code == 2


def test_the_same_run_gives_the_same_comparison(command: Command, folder: Path) -> None:
    first, again = command("compare", folder, "--json").out, command("compare", folder / "run.json", "--json").out
    assert json.loads(first)["pairs"] == json.loads(again)["pairs"]


def test_tables_and_notes_are_printed_and_are_those_of_the_file(command: Command, folder: Path) -> None:
    called = command("compare", folder)
    text = (folder / "compare.md").read_text()
    for title in (
        "Models: faces judged by x (made up)",
        "Models: faces judged by official (made up)",
        "Settings: faces judged by x (made up)",
        "Judges: faces",
        "Length of answer and score: faces judged by official (made up)",
    ):
        assert title in called.out
        headings = text.replace("\\", "").splitlines()
        assert {f"## {title}", f"## {title}, recall %"} & set(headings)
    for heading in ("diff.", "alpha", "bias", "95% interval"):
        assert heading in called.out
        assert heading in text
    assert str(folder / "compare.md") in called.out
    assert "nan" not in called.out + text


@pytest.mark.parametrize("by", ["model", "setting"])
def test_one_side_only(command: Command, folder: Path, by: str) -> None:
    assert {pair["by"] for pair in command("compare", folder, "--by", by, "--json").json["pairs"]} == {by}


def test_an_unknown_side_is_refused(command: Command, folder: Path) -> None:
    called = command("compare", folder, "--by", "judge")
    assert called.code == 2
    assert "dataset 'faces' has no column judge: it can be grouped by emotion" in called.err


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_single_cell_says_that_there_is_nothing_to_compare(command: Command, sweeps: Sweeps, is_asked: bool) -> None:
    folder = record(sweeps, ("a", "plain", "x"), is_asked=is_asked)
    called = command("compare", folder)
    assert called.code == 0
    assert "no pair is compared" in called.out
    assert "agreement is not known" in called.out


def test_a_folder_without_a_run_is_named(command: Command, tmp_path: Path) -> None:
    called = command("compare", tmp_path)
    assert called.code == 2
    assert "is no run" in called.err


def test_samples_are_compared_within_the_values_of_a_column(command: Command, folder: Path) -> None:  # noqa: ARG001
    found = command("compare", "--by", "model", "--by", "is_even", "--json").json
    assert {pair["by"] for pair in found["pairs"]} == {"model"}
    n = {pair["dataset"]: pair["n"] for pair in found["pairs"] if pair["judge"] == "x"}
    assert n == {"faces": 10, "faces (is_even=false)": 5, "faces (is_even=true)": 5}
    shown = command("compare", "--by", "third").out
    assert shown.index("faces (third=0)") < shown.index("faces (third=3)")


@pytest.mark.parametrize("name", ["compare", "report"])
def test_a_column_that_is_not_there_is_told_with_those_that_are(command: Command, folder: Path, name: str) -> None:  # noqa: ARG001
    refused = command(name, "--by", "feeling")
    assert refused.code == 2
    message = " ".join(refused.err.split())
    assert "dataset 'faces' has no column feeling: it can be grouped by emotion, source, third, is_even" in message


def test_a_report_has_the_groups_that_are_asked_for_and_leaves_the_runs_files(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    command("report")
    before = (folder / "leaderboard.csv").read_bytes()
    found = command("report", "--by", "third", "--by", "is_even", "--json").json
    assert found["files"] == []
    groups = found["rows"][0]["groups"]
    assert {value: found["n"] for value, found in groups["is_even"].items()} == {"false": 5, "true": 5}
    assert {value: found["n"] for value, found in groups["third"].items()} == {"0": 3, "1": 3, "2": 3, "3": 1}
    assert "--out FOLDER writes these" in command("report", "--by", "third").out
    assert (folder / "leaderboard.csv").read_bytes() == before
    assert command("report", "--by", "third", "--out", tmp_path / "by").code == 0
    assert "third=3" in (tmp_path / "by/leaderboard.csv").read_text()
    assert (folder / "leaderboard.csv").read_bytes() == before
