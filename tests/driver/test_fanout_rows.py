"""The rows of a fan-out: asked once per item, absent where there is no line, resumed to the row."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from eibench_ray.config.schema import RunConfig
from eibench_ray.engines.engine import RowError
from eibench_ray.rows.completion import ABSENT, RowErrorKind
from eibench_ray.rows.request import Request
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.results import Results

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

NUM_SAMPLES = 6


def num_questions(request: Request) -> int:
    """As many lines as a sample's number, up to three; the first has none."""
    return int(request.sample_id[1:]) % 4


def answer(request: Request) -> str:
    """Lines where questions are asked for, else the request's own words."""
    if "What else?" in request.user:
        listed = "\n".join(f"{number}. Why {number}?" for number in range(1, num_questions(request) + 1))
        return f"Here they are:\n{listed}"
    return f"<{request.user}>"


@pytest.fixture
def asking(sweeps: Sweeps) -> Callable[[], PlannedSweep]:
    """The plan of the setting that asks further, as often as it is asked for."""
    sweeps.write_dataset(range(NUM_SAMPLES))

    def plan() -> PlannedSweep:
        return sweeps.plan(sweeps.config("asking"))

    return plan


def asked(engine: Scripted, text: str) -> list[str]:
    """The samples that were asked something of this kind."""
    return sorted(request.sample_id for request in engine.requests if re.match(text, request.user))


def test_each_item_is_asked_and_what_follows_reads_them_all(
    sweeps: Sweeps, scripted: type[Scripted], asking: Callable[[], PlannedSweep]
) -> None:
    engine = scripted(answer)
    sweeps.ask(sweep := asking(), engine)
    assert sweeps.rows(sweep, "sides[2]")["s003"].text == "<right of source 3>"
    [asked_for] = [
        request for request in engine.requests if "What else?" in request.user and request.sample_id == "s003"
    ]
    assert asked_for.user == "left: <left of source 3>. right: <right of source 3>. What else?"
    assert asked_for.images == ()
    replies = "Why 1? <Look: Why 1?>; Why 2? <Look: Why 2?>; "
    assert sweeps.rows(sweep, "answer")["s003"].text == f"<{replies}So: why is person 3 so?>"
    assert sweeps.rows(sweep, "answer")["s000"].text == "<So: why is person 0 so?>"


def test_a_row_without_its_line_is_absent_and_costs_nothing(
    sweeps: Sweeps, scripted: type[Scripted], asking: Callable[[], PlannedSweep]
) -> None:
    engine = scripted(answer)
    reports = sweeps.ask(sweep := asking(), engine)
    assert asked(engine, r"Look: Why 1") == ["s001", "s002", "s003", "s005"]
    assert asked(engine, r"Look: Why 2") == ["s002", "s003"]
    rows = sweeps.rows(sweep, "replies[2]")
    assert len(rows) == NUM_SAMPLES
    absent = {sample_id for sample_id, row in rows.items() if row.is_absent}
    assert absent == {"s000", "s001", "s004", "s005"}
    row = rows["s000"]
    assert (row.text, row.error_kind, row.error, row.finish_reason) == (None, None, None, ABSENT)
    assert (row.attempt, row.prompt_tokens, row.completion_tokens, row.cost_usd) == (0, 0, 0, None)
    assert sum(report.num_absent for report in reports) == 2 + 4
    assert sum(report.num_new for report in reports) == len(engine.requests) == 7 * NUM_SAMPLES - 6
    assert sum(report.num_errors + report.num_kept for report in reports) == 0


def test_absent_rows_are_done_and_are_no_requests(
    sweeps: Sweeps, scripted: type[Scripted], asking: Callable[[], PlannedSweep]
) -> None:
    sweeps.ask(asking(), scripted(answer))
    sweep = asking()
    assert sweep.is_complete
    assert sum(left.num_requests for left in sweep.work.values()) == 7 * NUM_SAMPLES - 6
    assert sum(left.num_replied for left in sweep.work.values()) == 7 * NUM_SAMPLES - 6
    assert sum(left.num_errors for left in sweep.work.values()) == 0
    [cell] = sweep.plan.cells
    score = Results(sweep.plan, sweep.store).score(cell, sweep.config.score)
    assert (score.errors, score.score.overall.n) == (0, NUM_SAMPLES)


def test_a_question_that_changed_is_answered_again_and_no_other(
    sweeps: Sweeps, scripted: type[Scripted], asking: Callable[[], PlannedSweep]
) -> None:
    sweeps.ask(sweep := asking(), scripted(answer))
    forget(sweep, "questions", "s003")
    engine = scripted(lambda request: answer(request).replace("Why 2", "Who 2"))
    sweeps.ask(again := asking(), engine)
    assert [request.user for request in engine.requests if request.sample_id == "s003"][1:-1] == [
        "Look: Who 2?",
        "Why 1? <Look: Why 1?>; Who 2? <Look: Who 2?>; So: why is person 3 so?",
    ]
    assert {request.sample_id for request in engine.requests} == {"s003"}
    assert asking().is_complete
    assert again.plan == sweep.plan


def test_a_line_that_is_gone_makes_its_row_absent_and_one_that_came_is_asked(
    sweeps: Sweeps, scripted: type[Scripted], asking: Callable[[], PlannedSweep]
) -> None:
    sweeps.ask(sweep := asking(), scripted(answer))
    forget(sweep, "questions", "s001")
    forget(sweep, "questions", "s002")
    engine = scripted(lambda request: "Why 1?\nWhy 2?" if request.sample_id == "s001" else "Why 1?")
    sweeps.ask(asking(), engine)
    assert asked(engine, "Look: ") == ["s001"]
    rows = sweeps.rows(sweep, "replies[2]")
    assert (rows["s001"].is_absent, rows["s002"].is_absent) == (False, True)
    assert asking().is_complete


def test_an_interrupted_fan_out_goes_on_with_the_rows_that_are_missing(
    sweeps: Sweeps, scripted: type[Scripted], asking: Callable[[], PlannedSweep]
) -> None:
    whole = scripted(answer)
    sweeps.ask(sweep := asking(), whole)
    texts = {name: sweeps.rows(sweep, name)["s002"].text for name in ("replies[2]", "answer")}
    # As after a kill: a slice of the second line is gone, and of what follows.
    for name in ("replies[2]", "answer", "verdict"):
        step = next(step.id for step in sweep.plan.steps.values() if step.name == name)
        sweep.store.paths.slice(step, 0).unlink()
    engine = scripted(answer)
    reports = sweeps.ask(asking(), engine)
    assert asked(engine, "Look: ") == ["s002", "s003"]
    assert len(engine.requests) == sum(report.num_new for report in reports) == 2 + 4 + 4
    assert {name: sweeps.rows(sweep, name)["s002"].text for name in texts} == texts


@pytest.mark.parametrize(
    ("fails", "hit"),
    [("left of", {"sides[1]"}), ("What else", {"questions"}), ("Look: Why 2", {"replies[2]"})],
)
def test_an_error_anywhere_in_a_fan_out_is_one_of_what_reads_it(
    sweeps: Sweeps, scripted: type[Scripted], asking: Callable[[], PlannedSweep], fails: str, hit: set[str]
) -> None:
    def fail(request: Request) -> str:
        if request.sample_id == "s003" and request.user.startswith(("left", "Look")) and fails in request.user:
            raise RowError(RowErrorKind.PROMPT, "refused")
        if request.sample_id == "s003" and fails == "What else" and fails in request.user:
            raise RowError(RowErrorKind.PROMPT, "refused")
        return answer(request)

    sweeps.ask(sweep := asking(), scripted(fail))
    kinds = {step.name: sweeps.rows(sweep, step.name)["s003"].error_kind for step in sweep.plan.steps.values()}
    assert {name for name, kind in kinds.items() if kind == "prompt"} == hit
    assert kinds["answer"] == kinds["verdict"] == "upstream"
    assert (kinds["sides[2]"], kinds["replies[1]"]) == (None, None if hit == {"replies[2]"} else "upstream")
    others = [row for step in sweep.plan.steps.values() for row in sweeps.rows(sweep, step.name).values()]
    assert all(row.error_kind is None for row in others if row.sample_id != "s003")


def test_a_sample_without_a_reference_is_answered_and_not_judged(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(range(2), name="bare", triggers=())
    config: RunConfig = sweeps.config(dataset="bare")
    engine = scripted(answer)
    sweeps.ask(sweep := sweeps.plan(config), engine)
    assert [request.json_schema for request in engine.requests] == [None, None]
    assert [row.is_absent for row in sweeps.rows(sweep, "verdict").values()] == [True, True]
    row = Results(sweep.plan, sweep.store).score(sweep.plan.cells[0], config.score)
    assert (row.score.statuses, row.score.overall.value, row.errors) == ({"no_target": 2}, None, 0)
    assert sweeps.plan(config).is_complete


def forget(sweep: PlannedSweep, step_name: str, sample_id: str) -> None:
    """Takes a row out of the store."""
    step = next(step.id for step in sweep.plan.steps.values() if step.name == step_name)
    for index in sweep.store.slices_of(step, 0, NUM_SAMPLES):
        rows = sweep.store.read_slice(step, index)
        if rows.pop(sample_id, None):
            sweep.store.write_slice(step, index, list(rows.values()))
