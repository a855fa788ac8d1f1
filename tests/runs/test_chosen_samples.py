"""Tests of sweeps that ask a choice of a dataset's samples: what is asked, what is kept, and what is scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.config.schema import DatasetConfig, RunConfig, StoreConfig
from eibench_ray.errors import PlanError
from eibench_ray.runs.introduction import introduce
from eibench_ray.runs.pinned_inputs import check_unchanged, count_rows
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_record import new_manifest, new_status
from eibench_ray.runs.run_status import _count_endings
from eibench_ray.runs.run_summary import _find_unanswered
from eibench_ray.store.store_check import check_store

if TYPE_CHECKING:
    from conftest import Sweeps

ODD = {"filter": {"is_even": False}}


def config(sweeps: Sweeps, setting: str = "plain", **dataset: Any) -> RunConfig:
    """A cell of the small dataset with keys of its own."""
    return sweeps.config(setting, dataset=dataset)


@pytest.fixture
def faces(sweeps: Sweeps) -> Sweeps:
    """Sweeps over a dataset of thirty samples."""
    sweeps.write_dataset(range(30), emotions=dict.fromkeys(range(20), "sad"))
    return sweeps


def asked(sweeps: Sweeps, sweep: PlannedSweep) -> list[str]:
    """Ids of the samples that the sweep asks now, of all steps."""
    engine = sweeps.scripted()
    reports = sweeps.ask(sweep, engine)
    assert all(report.is_whole and not report.num_errors for report in reports)
    return [request.sample_id for request in engine.requests]


def names(*numbers: int) -> list[str]:
    return [f"s{number:03d}" for number in numbers]


def test_only_the_chosen_samples_are_asked_and_scored(faces: Sweeps) -> None:
    sweep = faces.plan(config(faces, "noted", **ODD))
    assert asked(faces, sweep) == names(*range(1, 30, 2)) * 3
    assert faces.plan(config(faces, "noted", **ODD)).is_complete
    results = Results(sweep.plan, sweep.store)
    assert [sample.sample_id for sample in results.samples("faces")] == names(*range(1, 30, 2))
    (cell,) = sweep.plan.cells
    rows = list(results.join(cell))
    assert [row.sample.sample_id for row in rows] == names(*range(1, 30, 2))
    assert all(row.answer is not None and None not in row.replies for row in rows)
    assert results.row(cell, 7).sample.sample_id == "s007"


def test_a_sample_is_asked_once_whatever_chose_it(faces: Sweeps) -> None:
    seen: list[str] = []
    choices = [{"limit": 5}, ODD, {"limit": 8, "sample": "random"}, {"filter": {"emotion": "happy"}}, ODD, {}]
    for choice in choices:
        seen += asked(faces, faces.plan(config(faces, **choice)))
    assert len(seen) == len(set(seen)) * 2 == 60  # the answer and its verdict
    for choice in choices:
        assert faces.plan(config(faces, **choice)).is_complete
    assert check_store(faces.plan().store, lambda *_: None).findings == ()


def test_ids_and_digests_are_those_of_the_whole_dataset(faces: Sweeps) -> None:
    part, whole = faces.plan(config(faces, **ODD)), faces.plan(config(faces))
    assert part.plan.steps.keys() == whole.plan.steps.keys()
    faces.ask(part)
    before = faces.rows(part, "answer")
    faces.ask(faces.plan(config(faces)))
    after = faces.rows(part, "answer")
    assert {name: after[name] for name in before} == before


def test_a_slice_that_another_choice_wrote_is_looked_at_row_by_row(faces: Sweeps) -> None:
    """Equal answers and equal numbers of rows in each slice: only the rows tell the choices apart."""
    even = {"filter": {"is_even": True}}
    for choice in (ODD, even, ODD):
        sweep = faces.plan(config(faces, **choice))
        faces.ask(sweep, faces.scripted(lambda _: "the same"))
    for choice in (ODD, even):
        sweep = faces.plan(config(faces, **choice))
        assert sweep.is_complete
        assert [left.num_done for left in sweep.work.values()] == [15, 15]
    faces.write_dataset(range(30), emotions=dict.fromkeys(range(20), "sad"), questions={3: "and now?"})
    sweep = faces.plan(config(faces, **even))
    assert sweep.is_complete
    assert [left.num_done for left in faces.plan(config(faces, **ODD)).work.values()] == [14, 14]


def test_the_filter_may_go_with_a_limit_and_a_sample(faces: Sweeps) -> None:
    choice = {"filter": {"is_even": True}, "limit": 6, "sample": "stratified", "stratify_by": ["emotion"]}
    sweep = faces.plan(config(faces, **choice))
    (spec,) = sweep.plan.datasets.values()
    assert [row % 2 for row in spec.rows] == [0] * 6
    assert [row < 20 for row in spec.rows] == [True] * 4 + [False] * 2
    assert list(introduce(sweep, "run", Path("runs")))[2] == (
        "plan: 6 samples of faces (stratified by emotion, seed 0; is_even: true)"
    )


def test_the_sweeps_seed_draws_where_the_sample_has_none(faces: Sweeps) -> None:
    def rows(seed: int, **own: int) -> list[int]:
        section = {"limit": 9, "sample": "random", **own}
        (spec,) = faces.plan(faces.config(dataset=section, seed=seed)).plan.datasets.values()
        return list(spec.rows)

    assert rows(0) != rows(1)
    assert rows(0) == rows(1, sample_seed=0)


def test_two_choices_under_one_name_are_refused(faces: Sweeps) -> None:
    with pytest.raises(PlanError, match=r"'faces' appears with two values of filter .*another dataset\.name"):
        faces.plan(config(faces, **ODD), config(faces, "brief"))


def test_a_run_is_scored_by_the_rows_that_it_asked(faces: Sweeps, tmp_path: Path) -> None:
    first = config(faces, **ODD)
    sweep = faces.plan(first)
    faces.ask(sweep)
    manifest = new_manifest(sweep.plan, tmp_path / "run", StoreConfig(root=sweep.store.root), first.score)
    status = new_status(manifest, sweep.store)
    status.done = count_rows(sweep.plan, sweep.store)
    assert set(status.done.values()) == {15}
    faces.ask(faces.plan(config(faces)))
    check_unchanged(manifest, status, sweep.store)
    assert len(list(Results(manifest.plan, sweep.store).samples("faces"))) == 15


def test_endings_and_errors_are_those_of_the_chosen_rows(faces: Sweeps) -> None:
    faces.ask(
        faces.plan(config(faces)), faces.scripted(lambda request: "" if request.sample_id in names(3, 4) else "yes")
    )
    sweep = faces.plan(config(faces, **ODD))
    (cell,) = sweep.plan.cells
    (spec,) = sweep.plan.datasets.values()
    assert _count_endings(sweep.plan.steps[cell.answer], spec, sweep.store) == (0, 1)
    assert _find_unanswered(sweep)[0].total() == 0


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"sample": "stratified"}, "name their columns in dataset.stratify_by or group_by"),
        ({"filter": {"emotion": []}}, "at least 1 item"),
        ({"sample": "some"}, "'first', 'random' or 'stratified'"),
    ],
)
def test_a_choice_that_says_nothing_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DatasetConfig.model_validate({"name": "a", "path": "b"} | section)
