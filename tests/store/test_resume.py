"""Resuming: what the store has is not asked again, and what changed is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from eibench_ray.engines.engine import RowError
from eibench_ray.plan.slices import Slice, cut
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Request
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.results import Results
from eibench_ray.runs.resume import find_work

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps


def todo(sweep: PlannedSweep) -> set[tuple[str, int]]:
    """The slices that are left, as (step's name, index)."""
    return {(sweep.plan.steps[step].name, slice_.index) for step, left in sweep.work.items() for slice_ in left.todo}


def asked(engine: Scripted) -> list[str]:
    """Which samples an engine was asked for, and for what."""
    return sorted(
        f"{request.sample_id} {'verdict' if request.json_schema else 'answer'}" for request in engine.requests
    )


def fail_transiently(request: Request) -> str:
    if request.sample_id == "s005" and not request.json_schema:
        raise RowError(RowErrorKind.TIMEOUT, "no reply within 1 s")
    return "it rains"


def fail_for_good(request: Request) -> str:
    if request.sample_id == "s005" and not request.json_schema:
        raise RowError(RowErrorKind.PROMPT, "too long")
    return "it rains"


@pytest.mark.parametrize(
    ("num_rows", "slice_rows", "ranges"),
    [(0, 4, []), (3, 4, [(0, 3)]), (4, 4, [(0, 4)]), (9, 4, [(0, 4), (4, 8), (8, 9)])],
)
def test_a_step_is_cut_into_slices(num_rows: int, slice_rows: int, ranges: list[tuple[int, int]]) -> None:
    slices = list(cut("a", num_rows, slice_rows))
    assert slices == [Slice("a", index, start, stop) for index, (start, stop) in enumerate(ranges)]


def test_a_new_store_has_everything_to_do(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    assert todo(sweep) == {(name, index) for name in ("answer", "verdict") for index in range(3)}
    assert sweep.num_done == 0
    assert len(sweep.engines_to_load()) == 1


def test_a_complete_store_has_nothing_to_do(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan())
    sweep = sweeps.plan()
    assert sweep.is_complete
    assert sweep.num_done == sweep.plan.num_requests == 20
    assert sweep.engines_to_load() == []


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (("answer", 1), {("answer", 1), ("verdict", 1)}),
        (("verdict", 2), {("verdict", 2)}),
    ],
)
def test_a_deleted_slice_is_asked_again_with_what_depends_on_it(
    sweeps: Sweeps, lost: tuple[str, int], expected: set[tuple[str, int]]
) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    (step,) = (step for step in sweep.plan.steps.values() if step.name == lost[0])
    sweep.store.paths.slice(step.id, lost[1]).unlink()
    assert todo(sweeps.plan()) == expected


def test_the_same_answer_again_keeps_the_verdict(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    answers = next(iter(sweep.plan.steps.values())).id
    before = {sample_id: row.text or "" for sample_id, row in sweeps.rows(sweep, "answer").items()}
    sweep.store.paths.slice(answers, 1).unlink()
    engine = scripted(lambda request: before[request.sample_id])
    sweeps.ask(sweeps.plan(), engine)
    assert asked(engine) == [f"s{row:03d} answer" for row in (4, 5, 6, 7)]
    assert sweeps.plan().is_complete


def test_a_transient_error_is_asked_again_and_a_final_one_is_not(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan(), scripted(fail_transiently))
    sweep = sweeps.plan()
    assert todo(sweep) == {("answer", 1), ("verdict", 1)}
    engine = scripted(fail_for_good)
    sweeps.ask(sweep, engine)
    assert asked(engine) == ["s005 answer"]
    assert sweeps.rows(sweep, "answer")["s005"].error_kind == "prompt"
    assert sweeps.rows(sweep, "verdict")["s005"].error_kind == "upstream"
    again = sweeps.plan()
    assert again.is_complete
    assert sum(left.num_errors for left in again.work.values()) == 2


def test_an_error_that_is_mended_is_judged(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan(), scripted(fail_transiently))
    engine = scripted()
    sweeps.ask(sweeps.plan(), engine)
    assert asked(engine) == ["s005 answer", "s005 verdict"]
    assert sweeps.plan().is_complete


def test_a_changed_text_asks_its_row_alone(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan())
    sweeps.write_dataset(questions={5: "why does person 5 laugh?"})
    sweep = sweeps.plan()
    assert todo(sweep) == {("answer", 1), ("verdict", 1)}
    engine = scripted()
    reports = sweeps.ask(sweep, engine)
    assert asked(engine) == ["s005 answer", "s005 verdict"]
    assert [(report.num_new, report.num_kept) for report in reports] == [(1, 3), (1, 3)]
    assert sweeps.plan().is_complete


def test_a_changed_picture_asks_its_row_alone(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan())
    sweeps.write_dataset(images={2: None})
    engine = scripted()
    sweeps.ask(sweeps.plan(), engine)
    assert asked(engine) == ["s002 answer", "s002 verdict"]


def test_a_change_that_no_prompt_shows_asks_nothing(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan())
    sweeps.write_dataset(emotions={5: "angry"})
    engine = scripted()
    reports = sweeps.ask(sweeps.plan(), engine)
    assert engine.requests == []
    assert [(report.num_new, report.num_kept) for report in reports] == [(0, 4), (0, 4)]
    assert sweeps.plan().is_complete


def test_a_dataset_that_grew_at_its_end_asks_the_new_rows(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(range(10))
    sweeps.ask(sweeps.plan())
    sweeps.write_dataset(range(13))
    engine = scripted()
    sweeps.ask(sweeps.plan(), engine)
    assert asked(engine) == sorted(f"s{row:03d} {name}" for row in (10, 11, 12) for name in ("answer", "verdict"))
    assert sweeps.plan().is_complete


def test_a_dataset_that_lost_rows_and_then_changed_is_scored_from_its_newest_rows(
    sweeps: Sweeps, scripted: type[Scripted]
) -> None:
    sweeps.write_dataset(range(7))
    sweeps.ask(sweeps.plan())
    sweeps.write_dataset(range(1, 7))  # s004 moves from the second slice to the first
    sweeps.ask(sweeps.plan())
    sweeps.write_dataset(range(1, 7), questions={4: "why does person 4 laugh?"})
    sweeps.ask(sweeps.plan(), scripted(lambda request: f"new {request.sample_id}"))
    sweep = sweeps.plan()
    assert sweep.is_complete
    joined = list(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]))
    assert [row.sample.sample_id for row in joined] == [f"s{row:03d}" for row in range(1, 7)]
    assert all(row.answer is not None and row.replies != (None,) for row in joined)
    assert [row.answer.text for row in joined if row.sample.sample_id == "s004" and row.answer] == ["new s004"]


def test_a_limit_loses_nothing_and_asks_only_what_is_missing(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(range(12))
    asked_for = []
    for limit in (6, 3, 10, 5, None):
        engine = scripted()
        sweeps.ask(sweeps.plan(sweeps.config(limit=limit)), engine)
        asked_for.append(sorted({int(request.sample_id[1:]) for request in engine.requests}))
        assert sweeps.plan(sweeps.config(limit=limit)).is_complete
    assert asked_for == [[0, 1, 2, 3, 4, 5], [], [6, 7, 8, 9], [], [10, 11]]
    rows = sweeps.rows(sweeps.plan(), "answer")
    assert list(rows) == [f"s{row:03d}" for row in range(12)]


def test_a_row_beyond_the_limit_survives_when_its_slice_is_written_again(
    sweeps: Sweeps, scripted: type[Scripted]
) -> None:
    sweeps.write_dataset(range(8))
    sweeps.ask(sweeps.plan())
    sweeps.write_dataset(range(8), questions={4: "why does person 4 laugh?"})
    sweeps.ask(sweeps.plan(sweeps.config(limit=5)))
    engine = scripted()
    sweeps.ask(sweeps.plan(), engine)
    assert engine.requests == []


def test_the_rows_per_slice_of_a_known_step_stay(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(range(10))
    sweeps.ask(sweeps.plan(sweeps.config(limit=5, slice_rows=4)))
    sweep = sweeps.plan(sweeps.config(slice_rows=7))
    assert {(slice_.start, slice_.stop) for left in sweep.work.values() for slice_ in left.todo} == {(4, 8), (8, 10)}
    engine = scripted()
    sweeps.ask(sweep, engine)
    assert len(engine.requests) == 10
    assert sweeps.plan(sweeps.config(slice_rows=1)).is_complete


def test_steps_with_other_slices_than_what_they_read(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(10))
    sweeps.ask(sweeps.plan(sweeps.config(judge="first", slice_rows=4)))
    sweep = sweeps.plan(sweeps.config(judge="second", slice_rows=6))
    assert {slice_.stop for left in sweep.work.values() for slice_ in left.todo} == {6, 10}
    assert len(sweeps.ask(sweep)) == 2
    assert sweeps.plan(sweeps.config(judge="second")).is_complete
    answers = next(iter(sweep.plan.steps.values())).id
    sweep.store.paths.slice(answers, 1).unlink()  # rows 4 to 7: both slices of the second judge read some of them
    assert todo(sweeps.plan(sweeps.config(judge="second"))) == {("answer", 1), ("verdict", 0), ("verdict", 1)}


def test_another_prompt_of_the_judge_keeps_the_answers(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan(sweeps.config(judge="first")))
    sweep = sweeps.plan(sweeps.config(judge="second"))
    assert todo(sweep) == {("verdict", index) for index in range(3)}


def test_rows_made_from_an_older_answer_do_not_count(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    answers = next(iter(sweep.plan.steps.values())).id
    rows = list(sweep.store.read_slice(answers, 0).values())
    sweep.store.write_slice(answers, 0, [replace(rows[0], text="another answer"), *rows[1:]])
    again = sweeps.plan()
    assert todo(again) == {("verdict", 0)}
    joined = list(Results(again.plan, again.store).join(again.plan.cells[0]))
    assert [row.replies == (None,) for row in joined] == [True] + [False] * 9


def test_a_dataset_that_is_not_prepared_is_all_to_do(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    work = find_work(sweep.plan, {}, sweep.store, 4)
    assert [(left.num_done, len(left.todo)) for left in work.values()] == [(0, 3), (0, 3)]
