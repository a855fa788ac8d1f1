"""Cost of the rest of a plan, where tokens have a price."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.estimate.cost_estimate import add_up, describe_uncounted, estimate_costs
from eibench_ray.estimate.plan_json import plan_to_json
from eibench_ray.estimate.plan_page import render_plan
from eibench_ray.estimate.time_estimate import estimate_time
from eibench_ray.plan.expected_tokens import SHARE_OF_MAX_TOKENS, expected_prompt_tokens
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import Slice, StepWork
from eibench_ray.ratelimit.budget import Budget

if TYPE_CHECKING:
    from conftest import Planner

# A dollar per thousand tokens of a prompt, ten per thousand of a reply.
PRICE: dict[str, Any] = {"input": 1000.0, "output": 10_000.0}
ENDPOINT: dict[str, Any] = {"kind": "openai", "endpoint": "here", "base_url": "http://127.0.0.1:1/v1", "model": "eye"}
PAID: dict[str, Any] = {"model.engine": ENDPOINT | {"price": PRICE}, "setting.sampling.max_tokens": 100}
PAID_JUDGE: dict[str, Any] = {
    "judge.model.engine": ENDPOINT | {"model": "judge", "price": PRICE},
    "judge.sampling.max_tokens": 50,
}


def rows_left(plan: Plan, **left: int) -> dict[str, StepWork]:
    """So many of three rows left, by the step's name; all where none is named."""
    return {
        step.id: StepWork(3, 3 - left.get(step.name, 3), 0, (Slice(step.id, 0, 0, 3),)) for step in plan.steps.values()
    }


def test_rows_left_cost_their_prompt_and_their_reply(planner: Planner) -> None:
    plan = planner.plan(planner.config(PAID))
    answer = planner.step(plan, "answer")
    (cost,) = estimate_costs(plan, rows_left(plan, answer=2)).values()
    prompt = expected_prompt_tokens(plan, answer) / 1000
    assert cost.expected == pytest.approx(2 * (prompt + 10 * SHARE_OF_MAX_TOKENS * 100 / 1000))
    assert cost.most == pytest.approx(2 * (prompt + 10 * 100 / 1000))
    (nothing,) = estimate_costs(plan, rows_left(plan, answer=0)).values()
    assert (nothing.expected, nothing.most) == (0.0, 0.0)


def test_a_prompt_is_as_long_as_its_words_its_picture_and_what_it_reads(planner: Planner) -> None:
    plan = planner.plan(planner.config())
    answer, verdict = planner.step(plan, "answer"), planner.step(plan, "verdict")
    assert 1000 < expected_prompt_tokens(plan, answer) < 1100  # a picture, and a short question
    reading = [expected_prompt_tokens(plan, verdict, lambda *_, tokens=tokens: tokens) for tokens in (100.0, 500.0)]
    assert reading[1] - reading[0] == 400
    wordy = planner.plan(planner.config({"judge.prompt": "{{ answer }} of {{ targets }}" + 4000 * "x"}))
    longer = expected_prompt_tokens(wordy, planner.step(wordy, "verdict")) - expected_prompt_tokens(plan, verdict)
    assert longer == pytest.approx(1000, abs=1)


def test_a_reply_that_is_expected_shorter_costs_less_but_not_at_most(planner: Planner) -> None:
    costs = []
    for tokens in (1.0, 90.0):
        plan = planner.plan(planner.config(PAID | {"model.expect": {"tokens_per_row": tokens}}))
        costs += estimate_costs(plan, rows_left(plan)).values()
    assert costs[1].expected - costs[0].expected == pytest.approx(3 * 10 * 89 / 1000)
    assert costs[0].most == costs[1].most


def test_thinking_is_paid_for(planner: Planner) -> None:
    thinking = PAID | {"model.engine": PAID["model.engine"] | {"reasoning_tokens": 1000}}
    plain, deep = (planner.plan(planner.config(changes)) for changes in (PAID, thinking))
    (less,), (more,) = (estimate_costs(plan, rows_left(plan)).values() for plan in (plain, deep))
    assert more.most - less.most == pytest.approx(3 * 10 * 1000 / 1000)
    assert more.expected - less.expected == pytest.approx(3 * 10 * SHARE_OF_MAX_TOKENS * 1000 / 1000)


def test_an_endpoint_without_a_price_is_told_where_there_is_a_budget(planner: Planner) -> None:
    free = PAID | {"model.engine": ENDPOINT | {"price": {"input": 0.0, "output": 0.0}}}
    unpriced, priced, freed = (
        planner.plan(planner.config(changes)) for changes in ({"model.engine": ENDPOINT}, PAID, free)
    )
    assert describe_uncounted(unpriced, None) is None
    assert describe_uncounted(priced, 5.0) is None
    assert describe_uncounted(freed, 5.0) is None
    told = describe_uncounted(unpriced, 5.0)
    assert told is not None
    assert told.startswith(
        f"budget_usd does not count what {unpriced.engines[planner.step(unpriced, 'answer').engine].name} "
    )
    shown = "".join(map(str, render_plan(unpriced, rows_left(unpriced), "store", [], Budget(5.0))))
    assert told in shown


def test_a_picture_costs_what_its_endpoint_counts_for_it(planner: Planner) -> None:
    dear = PAID | {"model.engine": PAID["model.engine"] | {"picture_tokens": 36_000}}
    plans = [planner.plan(planner.config(changes)) for changes in (PAID, dear)]
    (less,), (more,) = (estimate_costs(plan, rows_left(plan)).values() for plan in plans)
    assert more.expected - less.expected == pytest.approx(3 * (36_000 - 1000) / 1000)


def test_a_limit_among_the_args_is_the_limit(planner: Planner) -> None:
    short = PAID["model.engine"] | {"args": {"max_tokens": 40}}
    engines = (PAID["model.engine"], short, short | {"reasoning_tokens": 1000})
    plans = [planner.plan(planner.config(PAID | {"model.engine": engine})) for engine in engines]
    (more,), (less,), (thinking,) = (estimate_costs(plan, rows_left(plan)).values() for plan in plans)
    assert more.most - less.most == pytest.approx(3 * 10 * (100 - 40) / 1000)
    assert thinking.most == pytest.approx(less.most), "what it thinks is within the limit"


def test_the_batch_endpoint_costs_its_share(planner: Planner) -> None:
    batch = PAID | {"model.engine": PAID["model.engine"] | {"mode": "batch"}}
    online, half = (planner.plan(planner.config(changes)) for changes in (PAID, batch))
    (full,), (less,) = (estimate_costs(plan, rows_left(plan)).values() for plan in (online, half))
    assert (less.expected, less.most) == pytest.approx((full.expected / 2, full.most / 2))


def test_a_judge_that_may_be_asked_again_may_cost_as_often(official: Planner) -> None:
    changes = {"judge.kind": "official", "judge.prompt": "{{ record }}"} | PAID_JUDGE
    plan = official.plan(official.config(changes))
    verdict = official.step(plan, "verdict")
    assert verdict.accept is not None
    (cost,) = estimate_costs(plan, rows_left(plan)).values()
    assert cost.most > 0.9 * verdict.accept.attempts * cost.expected > 0


def test_what_has_no_price_has_no_cost(planner: Planner) -> None:
    plan = planner.plan(planner.config({"model.engine": ENDPOINT}))
    costs = estimate_costs(plan, rows_left(plan))
    assert costs == {}
    assert add_up(costs, plan.steps) is None
    facts = plan_to_json(plan, rows_left(plan), "/store", [])
    assert facts["est_cost_usd"] is facts["cost_usd"] is facts["cells"][0]["est_cost_usd"] is None
    assert "Cost" not in shown(plan, Budget())


def test_the_json_says_what_engines_steps_and_cells_cost(planner: Planner) -> None:
    plan = planner.plan(planner.config(PAID), planner.config(PAID | {"judge.name": "second", "judge.system": "Add."}))
    facts = plan_to_json(plan, rows_left(plan), "/store", [], Budget(5.0, 1.5))
    (cost,) = estimate_costs(plan, rows_left(plan)).values()
    as_json = {"expected": cost.expected, "most": cost.most}
    assert [engine["est_cost_usd"] for engine in facts["engines"]] == [as_json, None]
    assert [step["est_cost_usd"] for step in facts["steps"]] == [as_json, None, None]
    assert [cell["est_cost_usd"] for cell in facts["cells"]] == [as_json, as_json]  # they share their answers
    assert (facts["est_cost_usd"], facts["cost_usd"], facts["budget_usd"]) == (as_json, 1.5, 5.0)


def shown(plan: Plan, budget: Budget) -> str:
    """The printed text, in a terminal of 100 columns, its words one blank apart."""
    out = io.StringIO()
    console = Console(file=out, width=100)
    work = rows_left(plan)
    estimates = estimate_time(plan, work, ClusterConfig(name="local"), 2)
    for part in render_plan(plan, work, "/store", estimates, budget, is_full=True):
        console.print(part, markup=False)
    assert max(map(len, out.getvalue().splitlines())) <= 100
    return " ".join(out.getvalue().split())


def test_people_read_the_cost_of_each_engine_and_what_is_left_for_it(planner: Planner) -> None:
    plan = planner.plan(planner.config(PAID | PAID_JUDGE))
    text = shown(plan, Budget(5.0, 1.5))
    assert "Cost of requests ($) engine requests left expected at most" in text
    assert "eye 3 4.31 6.11 judge_model 3 0.98 2.06 all 6 5.29 8.17" in text
    assert "spent so far: $1.50 of $5.00" in text
    assert "budget_usd leaves $3.50: the run will stop before its end" in text
    assert "the run will stop" not in shown(plan, Budget(50.0, 1.5))
    assert "spent so far: $0.00" in shown(plan, Budget())
    assert "Engines to load" not in text  # of which an endpoint has none
