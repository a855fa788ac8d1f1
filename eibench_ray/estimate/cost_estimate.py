"""The expected cost of the rest of a plan, where its tokens have a price. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eibench_ray.plan.expected_tokens import expected_prompt_tokens, expected_tokens, most_tokens
from eibench_ray.plan.graph import Plan, Step
from eibench_ray.rows.prices import cost_usd

if TYPE_CHECKING:
    from eibench_ray.plan.slices import StepWork


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """US dollars.

    Attributes:
        most: with every reply at its limit, those that a prompt reads too, and as many attempts as a rule allows. The
            prompts' own words and pictures are estimates in both.
    """

    expected: float  # with replies as long as they are expected to be
    most: float


def estimate_costs(plan: Plan, work: Mapping[str, StepWork]) -> dict[str, CostEstimate]:
    """The cost of the rows that are left, by step id; only of steps whose engine has a price."""
    return {
        step.id: _estimate(plan, step, work[step.id].num_rows - work[step.id].num_done)
        for step in plan.steps.values()
        if plan.engines[step.engine].price is not None
    }


def add_up(costs: Mapping[str, CostEstimate], steps: Iterable[str]) -> CostEstimate | None:
    """The cost of some steps together; None where none of them has a price."""
    known = [costs[step] for step in steps if step in costs]
    return CostEstimate(sum(cost.expected for cost in known), sum(cost.most for cost in known)) if known else None


def describe_uncounted(plan: Plan, budget_usd: float | None) -> str | None:
    """A warning of endpoints that a budget cannot bound, since they have no price; None where there are none."""
    unpriced = [spec.name for spec in plan.engines.values() if spec.traits.is_endpoint and not spec.price]
    if budget_usd is None or not unpriced:
        return None
    return (
        f"budget_usd does not count what {', '.join(dict.fromkeys(unpriced))} costs, which has no price: set its "
        f"engine.price, to {{input: 0, output: 0}} where it costs nothing."
    )


def _estimate(plan: Plan, step: Step, rows: int) -> CostEstimate:
    spec = plan.engines[step.engine]
    assert spec.price is not None
    prompt, longest = expected_prompt_tokens(plan, step), expected_prompt_tokens(plan, step, most_tokens)
    expected = cost_usd(spec.price, prompt, 0, expected_tokens(step, spec), is_batch=spec.traits.is_batch)
    most = cost_usd(spec.price, longest, 0, most_tokens(step, spec), is_batch=spec.traits.is_batch)
    return CostEstimate(rows * expected, rows * most * (step.accept.attempts if step.accept else 1))
