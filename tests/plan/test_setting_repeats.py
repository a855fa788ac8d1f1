"""A setting that repeats: which steps are made again, which are shared, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.errors import PlanError
from eibench_ray.plan.step_names import titles

if TYPE_CHECKING:
    from conftest import Planner

    from eibench_ray.plan.graph import Plan

NOTE = {"name": "note", "role": "subject", "image": True, "prompt": "Note."}
ANSWER = {"name": "answer", "role": "subject", "image": False, "prompt": "{{ note }} {{ question }}"}
GREEDY = {"sampling": {"temperature": 0.0}}


def repeat(planner: Planner, number: int, changes: dict[str, Any] | None = None, setting: str = "look") -> Plan:
    keys = {"setting.repeats": number, "setting.sampling": {"temperature": 0.7}} | (changes or {})
    return planner.plan(planner.config(keys, setting=setting))


def names(plan: Plan) -> dict[str, int]:
    return dict(Counter(step.name for step in plan.steps.values()))


def test_further_repeats_leave_the_earlier_ones_as_they_are(planner: Planner) -> None:
    [once], [twice], [thrice] = (repeat(planner, number).cells for number in (1, 2, 3))
    assert (once.answers, once.verdicts, once.judge_repeats) == (thrice.answers[:1], thrice.verdicts[:1], 1)
    assert (twice.answers, twice.verdicts) == (thrice.answers[:2], thrice.verdicts[:2])
    assert len({*thrice.answers, *thrice.verdicts}) == 6
    assert set(thrice.steps) == {*thrice.answers, *thrice.verdicts}


def test_repeats_differ_by_their_seeds_and_each_is_judged(planner: Planner) -> None:
    plan = repeat(planner, 3, {"judge.repeats": 2, "seed": 9})
    [cell] = plan.cells
    assert plan.steps[cell.answer].seed == 9
    assert len({plan.steps[answer].seed for answer in cell.answers}) == 3
    judged = [plan.steps[step].inputs["answer"] for step in cell.verdicts]
    assert judged == [answer for answer in cell.answers for _ in range(2)]
    assert len({plan.steps[step].seed for step in cell.verdicts}) == 6
    assert cell.judge_repeats == 2
    assert plan.num_requests == (3 + 6) * 3


def test_the_subjects_calls_are_made_again_and_others_share_theirs(planner: Planner, echo: dict[str, Any]) -> None:
    plan = repeat(planner, 4, {"captioner": echo}, setting="told")
    assert names(plan) == {"caption": 1, "answer": 4, "verdict": 4}
    assert len(plan.cells[0].steps) == 9


def test_a_greedy_call_of_the_subject_is_made_once(planner: Planner) -> None:
    assert names(repeat(planner, 3, {"setting.calls": [NOTE | GREEDY, ANSWER]})) == {
        "note": 1,
        "answer": 3,
        "verdict": 3,
    }


def test_a_greedy_answer_to_what_differs_is_made_again(planner: Planner) -> None:
    assert names(repeat(planner, 3, {"setting.calls": [NOTE, ANSWER | GREEDY]})) == {
        "note": 3,
        "answer": 3,
        "verdict": 3,
    }


def test_greedy_repeats_are_refused(planner: Planner) -> None:
    with pytest.raises(PlanError, match=r"3 times at temperature 0.*setting.sampling.temperature.*setting.repeats=1"):
        repeat(planner, 3, {"setting.sampling": {"temperature": 0.0}})


def test_repeats_of_recorded_answers_are_refused(planner: Planner) -> None:
    (planner.folder / "faces.look.jsonl").write_text('{"id": "s0", "answer": "a"}\n')
    with pytest.raises(PlanError, match=r"recorded, the same each time"):
        repeat(planner, 2, {"model.engine": {"kind": "replay", "predictions": str(planner.folder)}})


def test_names_tell_the_repeats_apart(planner: Planner) -> None:
    plan = repeat(planner, 2, {"judge.repeats": 2, "setting.calls": [NOTE, ANSWER]})
    assert set(titles(plan).values()) == {
        "note by eye (look)",
        "answer by eye (look)",
        "note 2 by eye (look)",
        "answer 2 by eye (look)",
        "verdict by judge on eye (look)",
        "verdict 2 by judge on eye (look)",
        "verdict by judge on answer 2 of eye (look)",
        "verdict 2 by judge on answer 2 of eye (look)",
    }


def test_an_answer_rests_on_the_calls_of_its_own_repeat(planner: Planner) -> None:
    plan = repeat(planner, 2, {"setting.calls": [NOTE, ANSWER]})
    [cell] = plan.cells
    first, second = ({answer, plan.steps[answer].inputs["note"]} for answer in cell.answers)
    assert [plan.sources_of(answer) for answer in cell.answers] == [first, second]
    assert not first & second
