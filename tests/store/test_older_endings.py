"""What an older version took for an answer although a failure ended it: an error, that can be asked again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from older_stores import end_otherwise

from eibench_ray.records import Retry
from eibench_ray.store.fsck import Repair, check_store, repair
from eibench_ray.store.resume import StepWork
from eibench_ray.sweep.planning import PlannedSweep
from eibench_ray.sweep.results import Results

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps


@pytest.fixture
def sweep(sweeps: Sweeps) -> PlannedSweep:
    """A store that is whole: ten answers and ten verdicts in slices of four."""
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan())
    return sweeps.plan()


def slice_of(sweep: PlannedSweep, step_name: str) -> Path:
    """The second slice of a step: s004 to s007."""
    (step,) = (step for step in sweep.plan.steps.values() if step.name == step_name)
    return Path(sweep.store.paths.slice(step.id, 1))


def work_of(sweep: PlannedSweep, step_name: str) -> StepWork:
    (step,) = (step for step in sweep.plan.steps.values() if step.name == step_name)
    return sweep.work[step.id]


def asked(engine: Scripted) -> list[str]:
    return sorted(f"{one.sample_id} {'verdict' if one.json_schema else 'answer'}" for one in engine.requests)


def again(sweeps: Sweeps, retry: Retry) -> PlannedSweep:
    return sweeps.plan(sweeps.config(retry=retry))


def test_a_store_whose_answers_ended_as_such_is_complete_as_before(sweeps: Sweeps, sweep: PlannedSweep) -> None:
    for name in ("answer", "verdict"):
        end_otherwise(slice_of(sweep, name), {"s004": "length", "s005": "content_filter"})
    assert sweeps.plan().is_complete


@pytest.mark.parametrize("word", ["abort", "error", "network_error"])
def test_a_failure_that_was_stored_as_an_answer_is_an_error_and_asked_again(
    sweeps: Sweeps, sweep: PlannedSweep, scripted: type[Scripted], word: str
) -> None:
    end_otherwise(slice_of(sweep, "answer"), {"s005": word})
    row = sweeps.rows(sweep, "answer")["s005"]
    assert (row.text, row.error_kind, row.finish_reason) == (None, "engine", None)
    assert row.error is not None
    assert row.error.startswith(f"the reply ended with '{word}', which is not how an answer ends: '")
    scored = Results(sweep.plan, sweep.store).score(sweep.plan.cells[0], sweep.config.score)
    assert (scored.errors, scored.score.overall.num_scored) == (1, 9)
    left = sweeps.plan()
    assert (work_of(left, "answer").num_done, work_of(left, "verdict").num_done) == (9, 9)
    engine = scripted()
    sweeps.ask(left, engine)
    assert asked(engine) == ["s005 answer", "s005 verdict"]
    assert sweeps.plan().is_complete
    assert sweeps.rows(sweep, "answer")["s005"].text


def test_a_failed_verdict_is_asked_again_alone(sweeps: Sweeps, sweep: PlannedSweep, scripted: type[Scripted]) -> None:
    end_otherwise(slice_of(sweep, "verdict"), {"s006": "abort"})
    engine = scripted()
    sweeps.ask(sweeps.plan(), engine)
    assert asked(engine) == ["s006 verdict"]


def test_without_a_retry_a_failure_stands_as_an_error(sweeps: Sweeps, sweep: PlannedSweep) -> None:
    end_otherwise(slice_of(sweep, "answer"), {"s005": "abort"})
    work = work_of(again(sweeps, "none"), "answer")
    assert (work.num_done, work.num_errors) == (10, 1)


def test_what_is_doubtful_is_an_answer_until_it_is_asked_again(
    sweeps: Sweeps, sweep: PlannedSweep, scripted: type[Scripted]
) -> None:
    end_otherwise(slice_of(sweep, "answer"), {"s005": "unknown", "s007": "a new word"})
    assert sweeps.rows(sweep, "answer")["s005"].text
    assert sweeps.plan().is_complete
    engine = scripted()
    left = again(sweeps, "doubtful")
    assert work_of(left, "answer").num_done == 8
    sweeps.ask(left, engine)
    assert asked(engine) == [f"{name} {what}" for name in ("s005", "s007") for what in ("answer", "verdict")]
    assert again(sweeps, "doubtful").is_complete


def test_doubtful_rows_of_a_slice_that_was_written_anew_are_still_found(
    sweeps: Sweeps, sweep: PlannedSweep, scripted: type[Scripted]
) -> None:
    end_otherwise(slice_of(sweep, "answer"), {"s004": "abort", "s005": "unknown"})
    sweeps.ask(sweeps.plan(), scripted())
    assert sweeps.plan().is_complete
    assert work_of(again(sweeps, "doubtful"), "answer").num_done == 9


def test_fsck_names_them_and_marks_failures_as_errors_without_losing_the_file(
    sweeps: Sweeps, sweep: PlannedSweep
) -> None:
    path = slice_of(sweep, "answer")
    end_otherwise(path, {"s004": "abort", "s005": "error", "s006": "unknown"})
    before, text = path.read_bytes(), pq.read_table(path)["text"][0].as_py()
    assert text
    checked = check_store(sweep.store, lambda *_: None)
    failed, doubtful = checked.findings
    assert failed.what == "2 answers that ended with abort, error (of 's004', 's005')"
    assert (failed.is_problem, failed.repair, Path(failed.where)) == (True, Repair.MARK, path)
    assert "errors of kind engine, which the next run asks again" in failed.remedy
    assert doubtful.what == "1 answers that ended with unknown (of 's006')"
    assert (doubtful.is_problem, doubtful.repair) == (False, None)
    assert "retry=doubtful" in doubtful.remedy
    work = {retry: work_of(again(sweeps, retry), "answer").num_done for retry in ("none", "errors", "doubtful")}
    assert repair(sweep.store, checked.findings) == [failed]
    assert Path(sweep.store.paths.damaged(path.parent.name, path.name)).read_bytes() == before
    (left,) = check_store(sweep.store, lambda *_: None).findings
    assert left.what == doubtful.what
    assert (
        {retry: work_of(again(sweeps, retry), "answer").num_done for retry in work}
        == work
        == {
            "none": 10,
            "errors": 8,
            "doubtful": 7,
        }
    )
