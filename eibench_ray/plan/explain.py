"""What a plan says before anything runs: for people as tables, for programs as one object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from eibench_ray.endpoints.funds import Funds
from eibench_ray.endpoints.prices import format_usd
from eibench_ray.endpoints.tokens import CHARS_PER_TOKEN
from eibench_ray.plan.blocked import describe_blocked, without_blocked
from eibench_ray.plan.costs import CostEstimate, add_up, describe_uncounted, estimate_costs
from eibench_ray.plan.expect import expected_tokens, most_tokens
from eibench_ray.plan.graph import EngineSpec, Plan, Step
from eibench_ray.plan.outlook import foresight_to_json, render_foresight
from eibench_ray.plan.tables import counts, empty_table, texts
from eibench_ray.visible import in_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from eibench_ray.plan.foresee import Foresight
    from eibench_ray.store.resume import StepWork

_TOKENS = ["tokens", "at most"]
_STEP_COUNTS = ("rows", "rows_done", "expected_tokens", "est_tokens")
_AT_MOST = "≤"  # before rows of which lines of earlier answers decide
_ENGINE_COUNTS = ("loads", "steps", "requests", "requests_left", "expected_tokens", "est_tokens")
MAX_STEP_LINES = 60
_NO_FUNDS = Funds()


def plan_to_json(
    plan: Plan, work: Mapping[str, StepWork], store: str, outlook: Sequence[Foresight], funds: Funds = _NO_FUNDS
) -> dict[str, Any]:
    """The plan as plain values; `est_tokens` bounds what is left to generate: rows left x max_tokens.

    Where lines of earlier answers decide what is asked (`is_bounded`), `requests` and `rows` say how many at most.
    Blocked cells count in all figures; `blocked` says how many there are, and how many requests only they make.

    Args:
        plan: the sweep.
        work: how far its steps are.
        store: the store's folder.
        outlook: what the rest would take, on the cluster that is expected and on others beside it.
        funds: what it may cost and has cost.
    """
    costs = estimate_costs(plan, work)
    num_requests = sum(left.num_requests for left in work.values())
    engines = [_engine_to_json(plan, spec, work, outlook, costs) for spec in plan.engines.values()]
    blocked = [cell for cell in plan.cells if cell.obstacles]
    runnable = without_blocked(plan).steps
    num_requests_blocked = sum(_left(left) for step, left in work.items() if step not in runnable)
    return {
        "sweep": plan.sweep,
        "store": store,
        "engines": engines,
        "steps": [_step_to_json(plan, step, work[step.id], costs) for step in plan.steps.values()],
        "cells": [
            {
                "model": cell.model,
                "setting": cell.setting,
                "dataset": cell.dataset,
                "judge": cell.judge,
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
        "cost_usd": funds.spent_usd if costs else None,
        "budget_usd": funds.budget_usd,
        "foresight": foresight_to_json(plan, outlook),
        "greedy_repeats": _greedy_repeats(plan),
        "unprepared_datasets": [name for name, spec in plan.datasets.items() if not spec.is_prepared],
    }


def render_plan(
    plan: Plan, work: Mapping[str, StepWork], store: str, outlook: Sequence[Foresight], funds: Funds = _NO_FUNDS
) -> Iterator[RenderableType]:
    """The plan as tables: engines, steps, cells, what they would take and cost, and a line of totals."""
    from rich.text import Text

    facts = plan_to_json(plan, work, store, outlook, funds)
    yield _engines_table(facts["engines"])
    yield _steps_table(facts["steps"])
    cells = empty_table("Cells", ["model", "setting", "dataset", "judge", "steps"], [])
    for cell in facts["cells"]:
        used = " ".join(step[:8] for step in cell["steps"])
        cells.add_row(*texts(cell | {"steps": used}, "model", "setting", "dataset", "judge", "steps"))
    yield cells
    yield from render_foresight(plan, outlook)
    yield from _costs(facts, funds)
    if uncounted := describe_uncounted(plan, funds.budget_usd):
        yield uncounted
    if judges := facts["greedy_repeats"]:
        yield (
            f"Repeats of {in_line(', '.join(judges))} are asked at temperature 0: greedy replies do not depend on the "
            f"seed, so they show no noise but the engine's own. Set judge.sampling.temperature to measure the judge's."
        )
    if (blocked := facts["blocked"])["cells"]:
        yield from map(Text, map(in_line, blocked["why"]))
        yield (
            f"A run leaves the blocked cells out, {blocked['requests']:,} requests in all, until what they lack is "
            f"there; the figures above count them."
        )
    if facts["quarantined"]:
        yield f"{facts['quarantined']:,} requests kill their engine and stand as errors; retry=quarantined asks again."
    for name in facts["unprepared_datasets"]:
        yield f"{in_line(name)} is not prepared yet: its rows are what the configuration expects."
    requests = f"{facts['requests']:,} requests"
    if facts["requests_at_least"] < facts["requests"]:
        requests = f"at most {requests} (lines of answers decide; at least {facts['requests_at_least']:,})"
    yield (
        f"{len(plan.cells)} cells, {len(plan.steps)} steps, {requests}, {facts['requests_done']:,} "
        f"of them in the store, {facts['loads']} loads. About {facts['expected_tokens']:,} tokens to come. "
        f"Store: {in_line(store)}"
    )


def _greedy_repeats(plan: Plan) -> list[str]:
    """Judges that are asked more than once, but greedily."""
    greedy = (cell.judge for cell in plan.cells if cell.repeats and not plan.steps[cell.verdict].sampling.temperature)
    return list(dict.fromkeys(greedy))


def _engines_table(engines: Iterable[Mapping[str, Any]]) -> Table:
    """A line per engine; the recordings of one model together, with their number."""
    table = empty_table(
        "Engines", ["engine", "kind", "device"], ["GPUs", "loads", "steps", "requests", "left", *_TOKENS]
    )
    alike: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for engine in engines:
        same = engine["name"] if engine["kind"] == "replay" else engine["key"]
        alike.setdefault((engine["kind"], same), []).append(engine)
    for group in alike.values():
        total = {name: sum(engine[name] for engine in group) for name in _ENGINE_COUNTS}
        times = f" x {len(group)}" if len(group) > 1 else ""
        shown = dict(group[0]) | total | {"name": group[0]["name"] + times}
        table.add_row(*texts(shown, "name", "kind", "device"), *counts(shown, "num_gpus", *_ENGINE_COUNTS))
    return table


def _costs(facts: Mapping[str, Any], funds: Funds) -> Iterator[RenderableType]:
    """What the requests that are left cost, by engine where several have a price, and what there is for them."""
    from rich.text import Text

    if (total := facts["est_cost_usd"]) is None:
        return
    table = empty_table("Cost of requests ($)", ["engine"], ["requests left", "expected", "at most"])
    priced = [engine for engine in facts["engines"] if engine["est_cost_usd"]]
    for engine in priced:
        table.add_row(
            Text(in_line(engine["name"])), *counts(engine, "requests_left"), *_amounts(engine["est_cost_usd"])
        )
    if len(priced) > 1:
        table.add_row("all", f"{sum(engine['requests_left'] for engine in priced):,}", *_amounts(total))
    yield table
    yield (
        f"Prompts of {CHARS_PER_TOKEN} characters a token, and engine.picture_tokens a picture; at most: every reply "
        f"at its limit. Spent so far: {funds}."
    )
    if funds.left_usd is not None and total["expected"] > funds.left_usd:
        yield (
            f"budget_usd leaves ${format_usd(funds.left_usd)}: the run will stop before its end, and go on when it is "
            f"started again with a higher one."
        )


def _amounts(cost: Mapping[str, float]) -> Iterator[str]:
    return (format_usd(cost[name]) for name in ("expected", "most"))


def _steps_table(steps: Sequence[Mapping[str, Any]]) -> Table:
    """A line per step; where they are too many to read, one per engine, call, dataset and wording."""
    words = ["what", "engine", "dataset", "wording"]
    columns = ["rows", "stored", *_TOKENS]
    if len(steps) <= MAX_STEP_LINES:
        table = empty_table("Steps", ["step", *words, "reads"], columns)
        for step in steps:
            reads = " ".join(source[:8] for source in step["inputs"].values())
            shown = dict(step) | {"reads": reads, "id": step["id"][:8]}
            names = texts(shown, "id", "name", "model", "dataset", "wording", "reads")
            table.add_row(*names, *_counts(step))
        return table
    table = empty_table(f"Steps ({len(steps)}, alike ones together)", words, ["steps", *columns])
    alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for step in steps:
        alike.setdefault(tuple(step[name] for name in ("name", "model", "dataset", "wording")), []).append(step)
    for group in alike.values():
        total = {name: sum(step[name] for step in group) for name in (*_STEP_COUNTS, "is_bounded")}
        names = texts(group[0], "name", "model", "dataset", "wording")
        table.add_row(*names, f"{len(group):,}", *_counts(total))
    return table


def _counts(step: Mapping[str, Any]) -> Iterator[Text]:
    """A step's numbers; its rows with a mark where they are known only at most."""
    from rich.text import Text

    rows, *others = counts(step, *_STEP_COUNTS)
    yield Text(_AT_MOST) + rows if step["is_bounded"] else rows
    yield from others


def _engine_to_json(
    plan: Plan,
    spec: EngineSpec,
    work: Mapping[str, StepWork],
    outlook: Sequence[Foresight],
    costs: Mapping[str, CostEstimate],
) -> dict[str, Any]:
    steps = [step for step in plan.steps.values() if step.engine == spec.key]
    foreseen = outlook[0].engines.get(spec.key) if outlook else None
    return {
        "key": spec.key,
        "name": spec.name,
        "kind": spec.config.kind,
        "device": spec.device,
        "num_gpus": spec.num_gpus,
        "steps": len(steps),
        "requests": sum(work[step.id].num_requests for step in steps),
        "requests_left": sum(_left(work[step.id]) for step in steps),
        "loads": int(spec.is_load and any(work[step.id].todo for step in steps)),
        "est_replicas": foreseen.replicas if foreseen else 0,
        "expected_tokens": sum(_expected_tokens(plan, step, work[step.id]) for step in steps),
        "est_tokens": sum(_tokens(plan, step, work[step.id]) for step in steps),
        "est_cost_usd": _cost_to_json(costs, (step.id for step in steps)),
        "memory": asdict(spec.memory) | {"fits": spec.memory.fits} if spec.memory else None,
    }


def _step_to_json(plan: Plan, step: Step, left: StepWork, costs: Mapping[str, CostEstimate]) -> dict[str, Any]:
    return {
        "id": step.id,
        "name": step.name,
        "engine": step.engine,
        "model": plan.engines[step.engine].name,
        "dataset": step.dataset,
        "wording": "official" if step.prompt.is_official else "own",
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
    """What is left to generate, as far as one can tell; recorded replies are only read."""
    spec = plan.engines[step.engine]
    return round(_left(left) * expected_tokens(step, spec)) if spec.recording is None else 0
