"""A plan for people: one screen that begins with the answer, and everything behind it where all is asked for.

The answer is the time, the GPU-hours, the cost and what is blocked. Names and reasons are data: no markup is read in
them, and each stands on its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eibench_ray.estimate.cost_estimate import describe_uncounted
from eibench_ray.estimate.plan_json import plan_to_json
from eibench_ray.estimate.time_tables import ON_CORES, is_planned_for_cores, render_estimates, summarise_estimates
from eibench_ray.plan.blockers import count_cells, describe_blocked, group_blockers
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.plan.step_names import MADE_UP, with_mark
from eibench_ray.ratelimit.budget import Budget
from eibench_ray.rows.prices import format_usd
from eibench_ray.rows.token_counts import CHARS_PER_TOKEN
from eibench_ray.terminal.fitting_table import Column, FittingTable
from eibench_ray.visible_text import in_line, list_some

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from eibench_ray.estimate.time_estimate import TimeEstimate
    from eibench_ray.plan.slices import StepWork

_AT_MOST = "≤"  # before rows of which lines of earlier answers decide
_MOST_ENGINES = 6  # lines, on the one screen
_MOST_PROBLEMS = 4
_PROMPTS = {"own": "built-in", "official": "official"}
_NO_BUDGET = Budget()


def render_plan(
    plan: Plan,
    work: Mapping[str, StepWork],
    store: str,
    estimates: Sequence[TimeEstimate],
    budget: Budget = _NO_BUDGET,
    *,
    is_full: bool = False,
) -> Iterator[RenderableType]:
    """The plan in a screen: what it takes and costs, what is blocked, its engines; all else follows if `is_full`."""
    facts = plan_to_json(plan, work, store, estimates, budget)
    yield f"{in_line(plan.sweep)}: {count_cells(len(plan.cells))} (model x setting x dataset x judge)"
    yield _to_grid(_answer(plan, facts, estimates, budget))
    yield from _warn(plan, facts, estimates, budget)
    yield ""
    yield _engines_table(facts["engines"], most=None if is_full else _MOST_ENGINES)
    if not is_full:
        yield "--full shows all steps and cells, memory, and what the estimates rest on."
        return
    yield ""
    yield _steps_table(facts["steps"])
    yield ""
    yield _cells_table(plan, facts["cells"])
    yield ""
    yield from render_estimates(plan, estimates)
    yield from _costs(facts)
    yield from describe_blocked(plan.cells)


def _answer(
    plan: Plan, facts: Mapping[str, Any], estimates: Sequence[TimeEstimate], budget: Budget
) -> Iterator[tuple[str, str]]:
    """The answer in words, by headings: time, cost, blockers, requests."""
    yield from summarise_estimates(plan, estimates)
    if (total := facts["est_cost_usd"]) is not None:
        expected, most = _amounts(total)
        yield "API cost", f"${expected} expected, ${most} at most; spent so far: {budget}"
    if (num_blocked := facts["blocked"]["cells"]) > 0:
        yield (
            "Blocked",
            f"{num_blocked:,} of {count_cells(len(plan.cells))}, {facts['blocked']['requests']:,} requests: a run "
            f"leaves them out; the figures here count them",
        )
        problems = list(_problems(plan.cells))
        yield from (("", problem) for problem in problems[:_MOST_PROBLEMS])
        if len(problems) > _MOST_PROBLEMS:
            yield "", f"{len(problems) - _MOST_PROBLEMS} more reasons"
    requests = f"{facts['requests']:,}"
    if facts["requests_at_least"] < facts["requests"]:
        requests = f"at most {requests} (lines of answers decide; at least {facts['requests_at_least']:,})"
    yield (
        "Requests",
        f"{requests}, {facts['requests_done']:,} of them in the store; about {facts['expected_tokens']:,} tokens to "
        f"come",
    )
    loads = facts["loads"]
    yield "Work", f"{len(plan.steps):,} steps, {loads:,} {'engine' if loads == 1 else 'engines'} to load"
    if rules := dict.fromkeys(cell.judge for cell in plan.cells if not cell.verdicts):
        yield "Judges", f"{', '.join(rules)}: scored by rule, nobody is asked"
    yield "Store", facts["store"]


def _problems(cells: Sequence[Cell]) -> Iterator[str]:
    """A line per problem: how many cells it blocks, of whom, and what to do."""
    for problem, found in group_blockers(cells).items():
        models = list(dict.fromkeys(blocker.model for blocker, _ in found))
        named = list_some(models, 3)
        remedy = "; ".join(dict.fromkeys(blocker.remedy for blocker, _ in found))
        yield f"{count_cells(len({cell.name for _, cell in found}))}: {problem} ({named}): {remedy}"


def _to_grid(lines: Iterator[tuple[str, str]]) -> Table:
    """Headings, and beside each what belongs to it, its further lines below each other."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for heading, words in lines:
        grid.add_row(Text(heading, style="bold"), Text(in_line(words)))
    return grid


def _warn(
    plan: Plan, facts: Mapping[str, Any], estimates: Sequence[TimeEstimate], budget: Budget
) -> Iterator[RenderableType]:
    """Warnings of what may not be as it was meant."""
    if uncounted := describe_uncounted(plan, budget.budget_usd):
        yield uncounted
    total = facts["est_cost_usd"]
    if total is not None and budget.left_usd is not None and total["expected"] > budget.left_usd:
        yield (
            f"budget_usd leaves ${format_usd(budget.left_usd)}: the run will stop before its end, and go on when it is "
            f"started again with a higher one."
        )
    if judges := facts["greedy_repeats"]:
        yield (
            f"Repeats of {in_line(', '.join(judges))} are asked at temperature 0: greedy replies do not depend on the "
            f"seed, so they show no noise but the engine's own. Set judge.sampling.temperature to measure the judge's."
        )
    if names := facts["left_out"]:
        yield (
            f"Left out, since they would compare a model's answers with themselves: {in_line(', '.join(names))}. Such "
            f"a win rate is 50% by definition."
        )
    if facts["quarantined"]:
        yield f"{facts['quarantined']:,} requests kill their engine and stand as errors; retry=quarantined asks again."
    if names := facts["unprepared_datasets"]:
        are = "is" if len(names) == 1 else "are"
        yield f"{in_line(', '.join(names))} {are} not prepared yet: the numbers of rows are what is expected."
    if any("made_up" in (plan.answer_source(cell), plan.judge_source(cell)) for cell in plan.cells):
        yield f"{MADE_UP}: words that no model says: where such answer or judge, the figures mean nothing."
    if is_planned_for_cores(plan, estimates):
        yield ON_CORES


def _engines_table(engines: Sequence[Mapping[str, Any]], most: int | None) -> FittingTable:
    """A line per engine, those with most left to ask first; the recordings of one model together, with their number."""
    alike: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for engine in engines:
        same = engine["name"] if engine["recorded"] else engine["key"]
        alike.setdefault((engine["kind"], same), []).append(engine)
    groups = sorted(alike.values(), key=lambda group: -_sum(group, "requests_left"))
    rest = groups[most - 1 :] if most is not None and len(groups) > most else []
    shown = groups[: len(groups) - len(rest)]
    names = [group[0]["name"] + (f" x {len(group)}" if len(group) > 1 else "") for group in shown]
    kinds = [group[0]["kind"] for group in shown]
    if rest:
        names.append(f"{len(rest)} more")
        kinds.append("")
        shown.append([engine for group in rest for engine in group])
    columns = [
        Column("engine", list(map(in_line, names)), is_name=True),
        Column("runs by", kinds, is_name=True, rank=1),
        Column(
            "GPUs of\none replica",
            ["" if kind == "" else f"{group[0]['num_gpus']:,}" for kind, group in zip(kinds, shown, strict=True)],
        ),
        Column("replicas", [f"{sum(map(_num_replicas, group)):,}" for group in shown]),
        Column("requests", [f"{_sum(group, 'requests'):,}" for group in shown]),
        Column("left", [f"{_sum(group, 'requests_left'):,}" for group in shown]),
        Column("tokens\nto come", [f"{_sum(group, 'expected_tokens'):,}" for group in shown]),
        Column("tokens\nat most", [f"{_sum(group, 'est_tokens'):,}" for group in shown], rank=2),
    ]
    return FittingTable(columns, title="Engines")


def _num_replicas(engine: Mapping[str, Any]) -> int:
    """Replicas that are loaded; recorded answers are only read, endpoints only asked."""
    return 0 if engine["recorded"] or engine["endpoint"] else int(engine["est_replicas"])


def _sum(parts: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(part[name] for part in parts)


def _steps_table(steps: Sequence[Mapping[str, Any]]) -> FittingTable:
    """A line per step."""
    columns = [
        Column("step", [in_line(step["title"]) for step in steps], is_name=True),
        Column("prompt", [_PROMPTS[step["prompt_source"]] for step in steps], is_name=True, rank=1),
        Column("rows", [f"{_AT_MOST if step['is_bounded'] else ''}{step['rows']:,}" for step in steps]),
        Column("stored", [f"{step['rows_done']:,}" for step in steps]),
        Column("tokens", [f"{step['expected_tokens']:,}" for step in steps]),
        Column("at most", [f"{step['est_tokens']:,}" for step in steps], rank=2),
        Column("digest", [step["id"][:8] for step in steps], is_name=True, rank=3),
    ]
    return FittingTable(columns, title=f"Steps ({len(steps)})")


def _cells_table(plan: Plan, cells: Sequence[Mapping[str, Any]]) -> FittingTable:
    """A line per cell."""
    marked = [
        (with_mark(cell.model, plan.answer_source(cell)), with_mark(cell.judge, plan.judge_source(cell)))
        for cell in plan.cells
    ]
    columns = [
        Column("model", [in_line(model) for model, _ in marked], is_name=True),
        Column("setting", [in_line(cell["setting"]) for cell in cells], is_name=True),
        Column("dataset", [in_line(cell["dataset"]) for cell in cells], is_name=True),
        Column("judge", [in_line(judge) for _, judge in marked], is_name=True),
        Column("requests", [f"{cell['requests']:,}" for cell in cells]),
        Column("stored", [f"{cell['requests_done']:,}" for cell in cells]),
        Column("blocked", ["yes" if cell["blocked"] else "" for cell in cells]),
    ]
    return FittingTable(columns, title=f"Cells ({len(cells)})")


def _costs(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The cost of the requests that are left, by engine."""
    if (total := facts["est_cost_usd"]) is None:
        return
    priced = [engine for engine in facts["engines"] if engine["est_cost_usd"]]
    names = [in_line(engine["name"]) for engine in priced]
    left = [engine["requests_left"] for engine in priced]
    amounts = [tuple(_amounts(engine["est_cost_usd"])) for engine in priced]
    if len(priced) > 1:
        names, left, amounts = [*names, "all"], [*left, sum(left)], [*amounts, tuple(_amounts(total))]
    yield FittingTable(
        [
            Column("engine", names, is_name=True),
            Column("requests left", [f"{number:,}" for number in left]),
            Column("expected", [expected for expected, _ in amounts]),
            Column("at most", [most for _, most in amounts]),
        ],
        title="Cost of requests ($)",
    )
    yield (
        f"Prompts of {CHARS_PER_TOKEN} characters a token, and engine.picture_tokens a picture; at most: every reply "
        f"at its limit."
    )


def _amounts(cost: Mapping[str, float]) -> Iterator[str]:
    return (format_usd(cost[name]) for name in ("expected", "most"))
