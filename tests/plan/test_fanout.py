"""Calls that go over several texts, or over the lines of an answer, as steps of a plan."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from eibench_ray.errors import PlanError
from eibench_ray.estimate.plan_json import plan_to_json
from eibench_ray.estimate.plan_page import render_plan
from eibench_ray.plan.expected_tokens import expected_prompt_tokens, most_tokens
from eibench_ray.plan.fanout import Item, ItemAnswer, read_parts
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import Slice, StepWork

if TYPE_CHECKING:
    from conftest import Planner

Call = dict[str, Any]

SIDES: Call = {"name": "sides", "role": "subject", "image": True, "each": ["left", "right"], "prompt": "{{ item }}?"}
LIST: Call = {"name": "list", "role": "asker", "image": False, "prompt": "More on {{ question }}?"}
MORE: Call = {
    "name": "more",
    "role": "subject",
    "image": True,
    "each": {"call": "list", "lines": 3},
    "prompt": "{{ item }}!",
}
SUM: Call = {
    "name": "answer",
    "role": "subject",
    "image": False,
    "prompt": "{% for part in sides %}{{ part.item }}{% endfor %}{% for part in more %}{{ part.answer }}{% endfor %}",
}
ASKER = {"name": "asker", "engine": {"kind": "echo"}, "sees_image": False}
CALLS = [SIDES, LIST, MORE, SUM]


def plan_of(planner: Planner, *settings: list[Call], asker: Any = ASKER) -> Plan:
    configs = [
        planner.config({"setting.calls": calls, "setting.name": f"s{number}", "asker": asker})
        for number, calls in enumerate(settings)
    ]
    return planner.plan(*configs)


def names(plan: Plan) -> list[str]:
    return [step.name for step in plan.steps.values()]


def test_each_text_and_each_line_is_a_step(planner: Planner) -> None:
    plan = plan_of(planner, CALLS)
    sides, more = ["sides[1]", "sides[2]"], ["more[1]", "more[2]", "more[3]"]
    assert names(plan) == [*sides, "list", *more, "answer", "verdict"]
    assert [step.item for step in plan.steps.values() if step.name in sides] == [Item("left"), Item("right")]
    asked = planner.step(plan, "list").id
    for number, name in enumerate(more, start=1):
        step = planner.step(plan, name)
        assert (step.item, step.inputs) == (Item(source="list", line=number), {"list": asked})
    assert list(planner.step(plan, "answer").inputs) == [*sides, "list", *more], "lines are read with their answers"
    assert plan.cells[0].steps == tuple(plan.steps)
    assert {spec.name for spec in plan.engines.values()} == {"eye", "asker", "judge_model"}


def test_what_a_prompt_does_not_read_is_no_input(planner: Planner) -> None:
    plan = plan_of(planner, [SIDES, LIST, MORE, SUM | {"prompt": "{{ sides | length }}"}])
    assert list(planner.step(plan, "answer").inputs) == ["sides[1]", "sides[2]"]


def test_a_text_is_shared_with_settings_that_ask_about_it_too(planner: Planner) -> None:
    other = SIDES | {"each": ["right", "above"]}  # in another place there
    plan = plan_of(planner, [SIDES, SUM | {"prompt": "{{ sides }}"}], [other, SUM | {"prompt": "{{ sides }}"}])
    assert sum(name.startswith("sides") for name in names(plan)) == 3
    right = next(step for step in plan.steps.values() if step.item == Item("right"))
    assert [right.id in cell.steps for cell in plan.cells] == [True, True]
    answers = [plan.steps[cell.answer] for cell in plan.cells]
    assert [answer.inputs["sides[2]"] == right.id for answer in answers] == [True, False]
    assert [answer.lists["sides"] for answer in answers] == [
        (Item("left"), Item("right")),
        (Item("right"), Item("above")),
    ]


def test_more_lines_leave_the_steps_of_the_first_ones_as_they_were(planner: Planner) -> None:
    longer = [SIDES, LIST, MORE | {"each": {"call": "list", "lines": 5}}, SUM]
    before, after = plan_of(planner, CALLS), plan_of(planner, longer)
    assert [step for step in before.steps if step not in after.steps] == [
        before.cells[0].answer,
        before.cells[0].verdicts[0],
    ]


def test_an_item_with_braces_is_no_template(planner: Planner) -> None:
    plan = plan_of(planner, [SIDES | {"each": ["{{ question }}"]}, SUM | {"prompt": "{{ sides }}"}])
    step = planner.step(plan, "sides[1]")
    assert (step.item, step.prompt.user) == (Item("{{ question }}"), "{{ item }}?")


def test_a_list_is_read_without_what_is_absent() -> None:
    items = (Item(source="list", line=1), Item(source="list", line=2), Item("own"))
    answers = {"list": "1. Why?", "more[1]": "So.", "more[2]": "To a line that is gone.", "more[3]": "It is."}
    assert read_parts("more", items, answers) == [ItemAnswer("Why?", "So."), ItemAnswer("own", "It is.")]
    del answers["more[2]"]
    assert read_parts("more", items, answers) == [ItemAnswer("Why?", "So."), ItemAnswer("own", "It is.")]


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (
            [SIDES | {"prompt": "Same?"}, SUM | {"prompt": "."}],
            r"call 'sides' of setting 's0' asks the same for each item",
        ),
        ([SUM | {"prompt": "{{ item }}"}], "reads item, which neither"),
        ([SIDES, SUM | {"prompt": "{{ more }}"}], "reads more, which neither"),
        (
            [SIDES, LIST | {"image": True}, SUM | {"prompt": "."}],
            "asker 'asker' sees no picture: choose another with model@asker",
        ),
    ],
)
def test_what_cannot_be_asked_is_told(planner: Planner, calls: list[Call], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        plan_of(planner, calls)


def test_an_asker_that_nobody_chose_is_missed(planner: Planner) -> None:
    said = r"^call 'list' of setting 's0' needs the sweep's asker: choose one with model@asker=MODEL$"
    with pytest.raises(PlanError, match=said):
        plan_of(planner, CALLS, asker=None)


def test_lines_of_a_caption_that_a_column_stands_in_for_are_told(planner: Planner) -> None:
    caption = {"name": "caption", "role": "captioner", "image": True, "column": "caption", "prompt": "Describe."}
    over = MORE | {"each": {"call": "caption", "lines": 2}}
    with pytest.raises(
        PlanError, match=r"goes over the lines of caption, .* choose who makes it with model@captioner=MODEL"
    ):
        plan_of(planner, [caption, over, SUM | {"prompt": "."}])


def test_counts_are_exact_but_where_lines_decide(planner: Planner) -> None:
    plan = plan_of(planner, CALLS)
    new = {step.id: StepWork(3, 0, 0, (Slice(step.id, 0, 0, 3),)) for step in plan.steps.values()}
    facts = plan_to_json(plan, new, "/store", [])
    assert (facts["requests"], facts["requests_at_least"]) == (8 * 3, 5 * 3)
    assert {step["name"] for step in facts["steps"] if step["is_bounded"]} == {"more[1]", "more[2]", "more[3]"}
    # Asked and found: the second line was there for two samples, the third for none.
    num_absent = {"more[2]": 1, "more[3]": 3}
    done = {step.id: StepWork(3, 3, 0, (), num_absent.get(step.name, 0)) for step in plan.steps.values()}
    facts = plan_to_json(plan, done, "/store", [])
    assert (facts["requests"], facts["requests_at_least"], facts["requests_done"]) == (20, 20, 20)
    assert facts["cells"][0]["requests"] == facts["cells"][0]["requests_done"] == 20
    assert not any(step["is_bounded"] for step in facts["steps"])


def test_the_words_of_a_plan_say_at_most(planner: Planner) -> None:
    plan = plan_of(planner, CALLS)
    new = {step.id: StepWork(3, 0, 0, (Slice(step.id, 0, 0, 3),)) for step in plan.steps.values()}
    out = io.StringIO()
    for part in render_plan(plan, new, "/store", [], is_full=True):
        Console(file=out, width=120).print(part, markup=False)
    assert out.getvalue().count("≤3 ") == 3
    assert "at most 24 (lines of answers decide; at least 15), 0 of them in the store" in out.getvalue()


def test_a_prompt_that_reads_a_list_is_as_long_as_what_it_reads(planner: Planner) -> None:
    plan = plan_of(planner, CALLS)
    answer, bare = (
        planner.step(plan, "answer"),
        planner.step(plan_of(planner, [SUM | {"prompt": SUM["prompt"][:0]}]), "answer"),
    )
    read = sum(
        most_tokens(plan.steps[source], plan.engines[plan.steps[source].engine]) for source in answer.inputs.values()
    )
    template = expected_prompt_tokens(plan, bare, most_tokens)
    assert template + read <= expected_prompt_tokens(plan, answer, most_tokens) <= template + read + 60
