"""Page of a run's status: a heading, a grid of cells, a table of steps, where the GPU time went, what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eibench_ray.plan.engine_traits import describe_chosen
from eibench_ray.ratelimit.budget import Budget
from eibench_ray.rows.prices import format_usd
from eibench_ray.runs.failed_cells import describe_failed
from eibench_ray.schedule.replica_meter import UNHELD, TimeKind
from eibench_ray.scoring.rounding import show_share
from eibench_ray.terminal.fitting_table import Column, FittingTable
from eibench_ray.visible_text import count, in_line, in_page

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult


# Cells that take more lines are drawn in less room.
MOST_GRID_LINES = 40
# Of more steps, those that ask the same of the same are one line.
MAX_STEP_LINES = 40
_STATES = {
    "preempted": "ended early (a signal or its walltime)",
    "handed_over": "done with its GPUs; the rest needs none and is left to another run",
}
QUARANTINE = "quarantined; retry=quarantined asks again"


def render_status(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The status as a heading, a grid of cells, a table of steps, and what failed."""
    from rich.text import Text

    cost = facts["cost_usd"]
    paid = "" if cost is None else f", {Budget(facts['budget_usd'], cost)}"
    ended = ", ".join(f"{facts[name]:,} {name}" for name in ("truncated", "empty") if facts[name])
    yield (
        f"{in_line(facts['sweep'])} ({facts['id']}): {_STATES.get(facts['state'], facts['state'].replace('_', ' '))}. "
        f"{facts['requests_done']:,} of {facts['requests']:,} requests done, "
        f"{count(facts['errors'], 'error')}, {count(facts['loads'], 'load')}, {facts['tokens']:,} tokens{paid}."
    )
    if ended:
        yield f"Of the final answers: {ended} (truncated: cut off at the limit of tokens; empty: without a word)."
    yield from map(Text, facts["waits"])
    if facts["error"]:
        yield f"Ended by: {in_page(facts['error'])}"
    if facts["silent_s"] is not None:
        yield f"It has said nothing for {facts['silent_s'] / 60:,.0f} min, and its process cannot be seen from here."
    for change in facts["changes"]:
        yield f"Not as the run was: {in_line(change)}; rows that do not fit any more count as not done."
    yield from (Text(), _CellTable(facts["cells"]), Text())
    yield _render_steps(facts["steps"], has_price=bool(paid))
    yield from render_usage(facts["gpu_time"], {engine["name"]: engine for engine in facts["gpu_time"]["engines"]})
    for engine in facts["engines"]:
        named = in_line(f"{engine['node']} ({engine['fingerprint']})")
        auto = f", {describe_chosen(engine['chosen'])}" if engine["chosen"] else ""
        yield f"loaded {in_line(engine['name'])} in {engine['load_s']:.1f} s on {named}{auto}"
    yield from map(Text, map(in_line, facts["blocked"]))
    for step in facts["steps"]:
        if step["quarantined"]:
            dying = f"{in_line(step['title'])}: rows kill the engine of {in_line(step['model'])}"
            yield f"{dying}: {step['quarantined']} {QUARANTINE}"
    for model, reason in facts["failures"].items():
        yield f"{in_line(model)} failed: {in_page(reason)}"
    yield from map(Text, describe_failed(facts["failed_cells"], facts["failures"]))
    if facts["shortage"]:
        yield facts["shortage"]
    yield from facts["queue"]
    if facts["log_tail"]:
        yield f"Its log ({in_line(facts['log'])}) ends with:"
        yield from (Text(f"  {in_line(line)}") for line in facts["log_tail"])
    if facts["folder_is_gone"]:
        yield "Its folder is gone, or not to be seen from here."


class _CellTable:
    """The cells as a grid, of those that have been scored how many samples have a score."""

    def __init__(self, cells: Sequence[Mapping[str, Any]]) -> None:
        self._cells = cells

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The grid in the console's columns, and what its fields say."""
        from rich.text import Text

        from eibench_ray.runs.cell_field import glyphs_of
        from eibench_ray.runs.cell_grid import render_grid
        from eibench_ray.runs.run_view import CellPhase, CellView

        views = [
            CellView(
                cell["model"],
                cell["setting"],
                cell["dataset"],
                cell["judge"],
                state=CellPhase(cell["state"]),
                rows=cell["requests"],
                done=cell["requests_done"],
                asking=0,
                errors=cell["errors"],
                word="" if cell["n"] is None else f"{cell['scored']:,}/{cell['n']:,}",
            )
            for cell in self._cells
        ]
        yield from render_grid(views, options.max_width, MOST_GRID_LINES, glyphs_of(console))
        if clusters := [cell["clusters"] for cell in self._cells if cell["n"] is not None]:
            of = f"{min(clusters):,}" + (f" to {max(clusters):,}" if max(clusters) > min(clusters) else "")
            yield Text(f"of a cell: samples with a score / samples asked for; {of} clusters in each", style="dim")


def _render_steps(steps: Sequence[Mapping[str, Any]], *, has_price: bool) -> FittingTable:
    """A line per step; where they are too many to read, one per call and whoever is asked."""
    if len(steps) > MAX_STEP_LINES:
        alike: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for step in steps:
            alike.setdefault((step["what"].partition("[")[0], step["asked"]), []).append(step)
        titles = [f"{what} by {asked} ({len(group)} steps)" for (what, asked), group in alike.items()]
        groups = list(alike.values())
    else:
        titles, groups = [step["title"] for step in steps], [[step] for step in steps]
    columns = [Column("step", list(map(in_line, titles)), is_name=True)]
    for heading, name in (("done", "rows_done"), ("rows", "rows"), ("errors", "errors")):
        columns.append(Column(heading, [f"{_sum(group, name):,}" for group in groups]))
    for name in ("truncated", "empty"):
        if any(step[name] for step in steps):
            columns.append(Column(name, [f"{_sum(group, name):,}" for group in groups]))
    if has_price:
        costs = [[step["cost_usd"] for step in group if step["cost_usd"] is not None] for group in groups]
        columns.append(Column("cost $", [format_usd(sum(paid)) if paid else "-" for paid in costs], rank=1))
    return FittingTable(columns)


def _sum(steps: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(step[name] for step in steps)


def render_usage(gpu_time: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Renders GPU time: a row for all, one per named part, and why GPUs were free; nothing where none passed."""
    if not (total := gpu_time["seconds"]):
        return
    kinds = [kind for kind in TimeKind if kind in gpu_time["kinds"] and kind not in UNHELD]
    unit, unit_s = ("hours", 3600) if total >= 3600 else ("seconds", 1)
    everything = {kind: part["seconds"] for kind, part in gpu_time["kinds"].items()}
    rows = {"all": {"seconds": total, "kinds": everything}} | dict(parts)
    columns = [
        Column("where the time went", list(map(in_line, rows)), is_name=True),
        Column(f"{gpu_time['unit']}-\n{unit}", [f"{part['seconds'] / unit_s:,.1f}" for part in rows.values()]),
        Column("share", [f"{show_share(part['seconds'] / total)}%" for part in rows.values()]),
    ]
    for kind in kinds:
        shares = [f"{show_share(part['kinds'].get(kind, 0.0) / total)}%" for part in rows.values()]
        columns.append(Column(kind.label.replace(" ", "\n"), shares, rank=1))
    yield FittingTable(columns)
    if free := [
        f"{show_share(part['share'])}% {TimeKind(kind).label}"
        for kind, part in gpu_time["kinds"].items()
        if kind in UNHELD
    ]:
        yield f"GPUs that no replica held: {', '.join(free)}"
    if given_back_s := gpu_time["given_back_s"]:
        yield f"Given back, and not counted: {given_back_s / unit_s:,.1f} GPU-{unit} in which no GPU was needed"
