"""Scores are kept in the store, and count only while all that they were made from is as it was."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.errors import StoreError
from eibench_ray.runs.cell_scorer import score_cells
from eibench_ray.runs.results import Results
from eibench_ray.runs.unneeded import find_unneeded
from eibench_ray.scoring import scorer_registry
from eibench_ray.store.slice_store import Store
from eibench_ray.store.store_check import check_store, repair

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.report.leaderboard_row import LeaderboardRow
    from eibench_ray.runs.planning import PlannedSweep

LONG = """
from dataclasses import dataclass
from eibench_ray.scoring.scorer import Metric, Score, Scorer

@dataclass(frozen=True)
class Long(Scorer):
    most: int = 5
    metrics = (Metric("long", is_binary=True), Metric("letters", low=None, high=None, format=".1f"))

    def read(self, sample, answer, reply):
        return Score(sample.sample_id, {"long": float(len(answer) > MOST), "letters": float(len(answer))})
"""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each time that columns were made from rows: of how many cells."""
    numbers: list[int] = []

    def watch(plan, store, dataset, cells, readers):  # type: ignore[no-untyped-def]
        numbers.append(len(cells))
        return score_cells(plan, store, dataset, cells, readers)

    monkeypatch.setattr("eibench_ray.runs.column_reader.score_cells", watch)
    return numbers


@pytest.fixture
def sweep(sweeps: Sweeps) -> PlannedSweep:
    """Two judges on the same answers, asked."""
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("noted"), sweeps.config("noted", "official"))
    sweeps.ask(sweep)
    return sweep


def score(sweep: PlannedSweep, root: Path | None = None, *, anew: bool = False) -> list[LeaderboardRow]:
    results = Results(sweep.plan, Store(root or sweep.store.root))
    return [row for _, row in results.score_all(sweep.plan.cells, sweep.config.score, group_by=["emotion"], anew=anew)]


def files(sweep: PlannedSweep) -> list[Path]:
    return sorted(Path(sweep.store.root, "scores").iterdir())


def test_what_was_kept_gives_the_same_figures_to_the_bit(sweep: PlannedSweep, made: list[int]) -> None:
    first = score(sweep)
    assert [score(sweep), made] == [first, [2]]
    assert len(files(sweep)) == 2


def test_all_that_a_row_says_comes_back(sweeps: Sweeps, made: list[int]) -> None:
    sweeps.write_dataset(range(6))
    sweep = sweeps.plan(sweeps.config("noted"))
    sweeps.ask(sweep)
    step = sweep.plan.cells[0].answer
    rows = list(sweep.store.read_slice(step, 0).values())
    rows[0] = replace(rows[0], finish_reason="length", cost_usd=0.125, mean_logprob=-0.5)
    rows[1] = replace(rows[1], text=None, error_kind="prompt", error="too long")
    sweep.store.write_slice(step, 0, rows)
    (first,) = score(sweep)
    assert (first.truncated, first.errors, first.cost_usd, first.mean_logprob) == (1, 1, 0.125, -0.5)
    assert first.endings == {"whole": 4, "truncated": 1, "prompt error": 1}
    assert score(sweep) == [first]
    assert made == [1]


def test_a_slice_that_was_written_again_is_read(sweep: PlannedSweep, made: list[int]) -> None:
    score(sweep)
    step = sweep.plan.cells[0].verdicts[0]
    sweep.store.write_slice(step, 0, [replace(row, cost_usd=0.5) for row in sweep.store.read_slice(step, 0).values()])
    assert [row.cost_usd for row in score(sweep)] == [2.0, None]  # four rows of one judge
    assert made == [2, 1]
    sweep.store.storage.remove(sweep.store.paths.slice(step, 1))
    assert [row.is_partial for row in score(sweep)] == [True, False]


def test_a_damaged_file_is_found_out_and_made_again(sweep: PlannedSweep, made: list[int]) -> None:
    first = score(sweep)
    for place in (3, 20, -30):  # in the digest, the columns, and what is said of them
        content = bytearray(files(sweep)[0].read_bytes())
        content[place] ^= 1
        files(sweep)[0].write_bytes(bytes(content))
        assert score(sweep) == first
    files(sweep)[1].write_bytes(b"")
    assert score(sweep) == first
    assert made == [2, 1, 1, 1, 1]
    assert score(sweep) == first
    assert made == [2, 1, 1, 1, 1]


def test_another_cells_file_is_no_ones(sweep: PlannedSweep, made: list[int]) -> None:
    first = score(sweep)
    files(sweep)[0].write_bytes(files(sweep)[1].read_bytes())
    assert score(sweep) == first
    assert made == [2, 1]


def test_fsck_names_what_is_damaged_and_gc_what_no_run_needs(sweep: PlannedSweep) -> None:
    score(sweep)
    files(sweep)[0].write_bytes(files(sweep)[0].read_bytes()[:-1])
    found = [one for one in check_store(sweep.store, lambda *_: None).findings if one.is_problem]
    assert [one.path.name for one in found] == [files(sweep)[0].name]
    assert repair(sweep.store, found) == found
    assert len(files(sweep)) == 1
    assert [one.what for one in find_unneeded(sweep.store)].count("kept scores") == 1


def test_rescoring_reads_the_rows(sweep: PlannedSweep, made: list[int]) -> None:
    assert score(sweep) == score(sweep, anew=True)
    assert made == [2, 2]


def test_a_store_that_cannot_be_written_is_scored_all_the_same(
    sweep: PlannedSweep, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(type(sweep.store.storage), "write", refuse)
    assert score(sweep) == score(sweep)
    assert made == [2, 2]


@pytest.mark.parametrize("changed", ["file", "option", "dataset"])
def test_another_scorer_option_or_sample_is_scored_anew(
    sweeps: Sweeps, made: list[int], tmp_path: Path, changed: str
) -> None:
    sweeps.write_dataset()
    file = tmp_path / f"kept_{changed}.py"
    file.write_text(LONG.replace("MOST", "5"))
    scorer_registry.add_scorer_files({f"kept_{changed}": str(file)})
    judge = {"name": "rule", "kind": f"kept_{changed}"}
    sweep = sweeps.plan(sweeps.config(judge=judge))
    sweeps.ask(sweep)
    (first,) = score(sweep)
    assert (score(sweep), made) == ([first], [1])
    if changed == "file":
        file.write_text(LONG.replace("MOST", "1000"))
        scorer_registry._load.cache_clear()
    elif changed == "option":
        sweep = sweeps.plan(sweeps.config(judge={**judge, "most": 6}))
    else:
        sweeps.write_dataset(emotions={2: "sadness"})
    (second,) = score(sweep)
    assert made == [1, 1]
    assert (second.score.overall.value != first.score.overall.value) == (changed == "file")
    assert ("sadness" in second.score.groups["emotion"]) == (changed == "dataset")


def test_what_a_scorer_fails_on_is_not_kept(sweeps: Sweeps, made: list[int], tmp_path: Path) -> None:
    sweeps.write_dataset()
    file = tmp_path / "kept_failing.py"
    file.write_text(LONG.replace("MOST", "int(open('nowhere').read())"))
    scorer_registry.add_scorer_files({"kept_failing": str(file)})
    sweep = sweeps.plan(sweeps.config(judge={"name": "rule", "kind": "kept_failing"}))
    sweeps.ask(sweep)
    assert "nowhere" in str(score(sweep)[0].scorer_error)
    score(sweep)
    assert made == [1, 1]


def test_a_copy_of_a_store_is_read_anew_and_gives_the_same(
    sweep: PlannedSweep, made: list[int], tmp_path: Path
) -> None:
    first = score(sweep)
    shutil.copytree(sweep.store.root, tmp_path / "copy")
    assert score(sweep, tmp_path / "copy") == first
    assert made == [2, 2]
