"""A plan before anything runs, as one JSON object; `plan_page` writes it for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from eibench_ray.estimate.cost_estimate import CostEstimate, add_up, estimate_costs
from eibench_ray.estimate.time_tables import estimates_to_json
from eibench_ray.plan.blockers import describe_blocked, without_blocked
from eibench_ray.plan.expected_tokens import expected_tokens, most_tokens
from eibench_ray.plan.graph import EngineSpec, Plan, Step
from eibench_ray.plan.step_names import name_steps
from eibench_ray.ratelimit.budget import Budget

if TYPE_CHECKING:
    from eibench_ray.estimate.time_estimate import TimeEstimate
    from eibench_ray.plan.slices import StepWork

_NO_BUDGET = Budget()


def plan_to_json(
    plan: Plan, work: Mapping[str, StepWork], store: str, estimates: Sequence[TimeEstimate], budget: Budget = _NO_BUDGET
) -> dict[str, Any]:
    """The plan as plain values; `est_tokens` bounds what is left to generate: rows left x max_tokens.

    Where lines of earlier answers decide what is asked (`is_bounded`), `requests` and `rows` say how many at most.
    Blocked cells count in all figures; `blocked` says how many there are, and how many requests only they make.
    """
    costs = estimate_costs(plan, work)
    num_requests = sum(left.num_requests for left in work.values())
    engines = [_engine_to_json(plan, spec, work, estimates, costs) for spec in plan.engines.values()]
    blocked = [cell for cell in plan.cells if cell.blockers]
    runnable = without_blocked(plan).steps
    names = name_steps(plan)
    num_requests_blocked = sum(_left(left) for step, left in work.items() if step not in runnable)
    return {
        "sweep": plan.sweep,
        "store": store,
        "engines": engines,
        "steps": [
            _step_to_json(plan, step, work[step.id], costs) | {"title": names[step.id].title}
            for step in plan.steps.values()
        ],
        "cells": [
            {
                "model": cell.model,
                "setting": cell.setting,
                "dataset": cell.dataset,
                "judge": cell.judge,
                "scored_by": "judge" if cell.verdicts else "rule",
                "key": cell.key,
                "blocked": cell.blocked,
                "steps": list(cell.steps),
                "requests": sum(work[step].num_requests for step in cell.steps),
                "requests_done": sum(work[step].num_replied for step in cell.steps),
                "est_cost_usd": _cost_to_json(costs, cell.steps),
            }
            for cell in plan.cells
        ],
        "requests": num_requests,
        "requests_at_least": num_requests
        - sum(_left(work[step.id]) for step in plan.steps.values() if step.is_bounded),
        "requests_done": sum(left.num_replied for left in work.values()),
        "quarantined": sum(left.num_quarantined for left in work.values()),
        "blocked": {"cells": len(blocked), "requests": num_requests_blocked, "why": list(describe_blocked(blocked))},
        "expected_tokens": sum(engine["expected_tokens"] for engine in engines),
        "loads": sum(engine["loads"] for engine in engines),
        "est_cost_usd": _cost_to_json(costs, plan.steps),
        "cost_usd": budget.spent_usd if costs else None,
        "budget_usd": budget.budget_usd,
        "estimates": estimates_to_json(plan, estimates),
        "greedy_repeats": _greedy_repeats(plan),
        "left_out": list(plan.left_out),
        "unprepared_datasets": [name for name, spec in plan.datasets.items() if not spec.is_prepared],
    }


def _greedy_repeats(plan: Plan) -> list[str]:
    """Judges that are asked more than once, but greedily."""
    seats = (seat for cell in plan.cells for seat in zip(cell.seats, cell.verdicts, strict=False))
    return list(
        dict.fromkeys(name for (name, repeat), step in seats if repeat and not plan.steps[step].sampling.temperature)
    )


def _engine_to_json(
    plan: Plan,
    spec: EngineSpec,
    work: Mapping[str, StepWork],
    estimates: Sequence[TimeEstimate],
    costs: Mapping[str, CostEstimate],
) -> dict[str, Any]:
    steps = [step for step in plan.steps.values() if step.engine == spec.key]
    expected = estimates[0].engines.get(spec.key) if estimates else None
    return {
        "key": spec.key,
        "name": spec.name,
        "kind": spec.kind,
        "recorded": spec.traits.is_recorded,
        "endpoint": spec.traits.is_endpoint,
        "device": spec.device,
        "num_gpus": spec.num_gpus,
        "steps": len(steps),
        "requests": sum(work[step.id].num_requests for step in steps),
        "requests_left": sum(_left(work[step.id]) for step in steps),
        "loads": int(spec.is_load and any(work[step.id].todo for step in steps)),
        "est_replicas": expected.replicas if expected else 0,
        "expected_tokens": sum(_expected_tokens(plan, step, work[step.id]) for step in steps),
        "est_tokens": sum(_tokens(plan, step, work[step.id]) for step in steps),
        "est_cost_usd": _cost_to_json(costs, (step.id for step in steps)),
        "pinned": spec.traits.is_pinned,
        "memory": asdict(spec.memory) | {"fits": spec.memory.fits} if spec.memory else None,
    }


def _step_to_json(plan: Plan, step: Step, left: StepWork, costs: Mapping[str, CostEstimate]) -> dict[str, Any]:
    return {
        "id": step.id,
        "name": step.name,
        "engine": step.engine,
        "model": plan.model_of(step),
        "dataset": step.dataset,
        "prompt_source": "official" if step.prompt.is_official else "own",
        "image": step.prompt.image,
        "inputs": dict(step.inputs),
        "rows": left.num_requests,
        "rows_done": left.num_replied,
        "is_bounded": step.is_bounded and _left(left) > 0,
        "expected_tokens": _expected_tokens(plan, step, left),
        "est_tokens": _tokens(plan, step, left),
        "est_cost_usd": _cost_to_json(costs, (step.id,)),
    }


def _cost_to_json(costs: Mapping[str, CostEstimate], steps: Iterable[str]) -> dict[str, float] | None:
    cost = add_up(costs, steps)
    return asdict(cost) if cost else None


def _left(left: StepWork) -> int:
    return left.num_rows - left.num_done


def _tokens(plan: Plan, step: Step, left: StepWork) -> int:
    return _left(left) * most_tokens(step, plan.engines[step.engine])


def _expected_tokens(plan: Plan, step: Step, left: StepWork) -> int:
    """Tokens that are left to generate, as far as one can tell; recorded replies are only read."""
    spec = plan.engines[step.engine]
    return round(_left(left) * expected_tokens(step, spec)) if spec.recording is None else 0
