"""Draws a run's view in a terminal's lines: totals, the grid of cells, the engines, what is waited for.

Values in, lines out: nothing here knows a clock, a run or a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from eibench_ray.driver.run_events import EngineProgress
from eibench_ray.estimate.time_tables import show_span, show_time
from eibench_ray.runs.cell_field import UNICODE, Glyphs, bar, cut
from eibench_ray.runs.cell_grid import count_states, render_grid
from eibench_ray.runs.run_view import EngineView, RunView
from eibench_ray.scoring.rounding import NO_VALUE, show_share
from eibench_ray.visible_text import in_line

# The last line is left free: what is written into it makes a terminal scroll.
_SPARE = 1
_LEAST_GRID, _LEAST_ENGINES, _MOST_WAITS = 4, 3, 3


def draw_view(view: RunView, width: int, height: int, glyphs: Glyphs = UNICODE) -> list[Text]:
    """The view in at most `height - 1` lines of at most `width` characters."""
    lines = [*_render_totals(view, width, glyphs), Text()]
    waits = list(_render_waits(view.waits, width, glyphs))
    room = height - _SPARE - len(lines) - len(waits) - (1 if waits else 0)
    # People look at the grid first: of the engines those that work keep their lines, the others have what is left.
    busy = sum(bool(one.progress.ready or one.progress.starting or one.progress.failed) for one in view.engines)
    kept = min(1 + busy + (busy < len(view.engines)), max(room // 3, _LEAST_ENGINES))
    grid = render_grid(view.cells, width, max(room - kept - 1, _LEAST_GRID), glyphs)
    lines += [*grid, Text(), *_render_engines(view.engines, width, max(room - len(grid) - 1, kept), glyphs)]
    if waits:
        lines += [Text(), *waits]
    del lines[max(height - _SPARE, 1) :]
    for line in lines:
        line.no_wrap = True
        line.rstrip()
        line.truncate(width)
    return lines


def describe_view(view: RunView) -> str:
    """The run's rows, rates, errors, cost, time left, replicas and waits in one line."""
    done = view.done + view.in_flight
    words = [f"{done:,} of {view.rows:,} rows ({show_share(done / max(view.rows, 1), 0)}%)", *_rates(view)]
    if done < view.rows:
        words.append("time left not known yet" if view.left_s is None else f"about {show_span(view.left_s)} left")
    ready = sum(engine.progress.ready for engine in view.engines)
    starting = sum(engine.progress.starting for engine in view.engines)
    words.append(f"{ready} replica{'' if ready == 1 else 's'} ready{f', {starting} starting' if starting else ''}")
    waits = list(view.waits[:_MOST_WAITS])
    if (num_more := len(view.waits) - _MOST_WAITS) > 0:
        waits.append(f"and {num_more} more")
    return "; ".join([", ".join(words), *waits])


def _rates(view: RunView) -> list[str]:
    """Rates, trouble and cost, each in words."""
    words = [f"{_rate(view.rows_per_s)} rows/s", f"{_rate(view.tokens_per_s)} tokens/s"]
    words.append(f"{view.errors:,} error{'' if view.errors == 1 else 's'}")
    return [*words, view.paid] if view.paid else words


def _render_totals(view: RunView, width: int, glyphs: Glyphs) -> Iterator[Text]:
    """The run's name and time, a bar of its rows, its rates, trouble and cost, and its cells by state."""
    is_going_on = view.state == "running"
    age = f"{view.state.replace('_', ' ')} {show_time(view.elapsed_s)}"
    if is_going_on:
        age += f", left {show_span(view.left_s) if view.left_s is not None else NO_VALUE}"
    if view.silent_s is not None:
        age += f" (as of {show_time(view.silent_s)} ago)"
    name = Text.assemble((in_line(view.sweep), "bold"), (f" {in_line(view.id)}", "dim"))
    name.truncate(max(width - len(age) - 1, 1))
    yield Text.assemble(name, " " * (width - name.cell_len - len(age)), age)
    done = view.done + view.in_flight
    counts = f"{done:,} of {view.rows:,} rows  {show_share(done / max(view.rows, 1), 0)}%"
    size = max(width - cell_len(counts) - 2, 1)
    yield Text.assemble(bar(view.done, view.in_flight, view.rows, size, "green", glyphs), "  ", counts)
    line = Text("   ".join(_rates(view)))
    cells = f"cells: {', '.join(count_states(view.cells))}"
    if line.cell_len + 3 + len(cells) <= width:
        yield Text.assemble(line, " " * (width - line.cell_len - len(cells)), (cells, "dim"))
    else:
        yield from (line, Text(cells, style="dim"))


def _render_engines(engines: Sequence[EngineView], width: int, height: int, glyphs: Glyphs) -> Iterator[Text]:
    """A line per engine: those that work first, then those that wait; of the others how many there are."""
    ordered = sorted(engines, key=_rank)
    shown = ordered if len(ordered) < height else ordered[: max(height - 2, 0)]
    names = min(max([cell_len(in_line(one.name)) for one in shown] + [6]), max(width // 3, 8))
    rows = [f"{one.done:,}/{one.rows:,}" for one in shown]
    rates = [_rate(one.progress.tokens_per_s) if one.progress.ready else NO_VALUE for one in shown]
    rows_width, rates_width = max(map(len, [*rows, "rows"])), max(map(len, [*rates, "tokens/s"]))
    room = max(width - names - rows_width - rates_width - 6, 1)
    heads = ("engine".ljust(names), "rows".rjust(rows_width), "tokens/s".rjust(rates_width), "replicas")
    yield Text("  ".join(heads), "dim")
    for one, own, rate in zip(shown, rows, rates, strict=True):
        doing, style = _describe(one)
        name, told = cut(in_line(one.name), names, glyphs), cut(in_line(doing), room, glyphs).rstrip()
        yield Text.assemble(f"{name}  {own.rjust(rows_width)}  {rate.rjust(rates_width)}  ", (told, style))
    if hidden := ordered[len(shown) :]:
        ends = [one.is_done for one in hidden]
        counts = [(ends.count(True), "done"), (ends.count(False), "not done")]
        told = ", ".join(f"{number} {what}" for number, what in counts if number)
        yield Text(f"not shown: {len(hidden)} more engine{'s' if len(hidden) > 1 else ''} ({told})", style="dim")


def _rank(engine: EngineView) -> int:
    """Place of an engine in the list."""
    progress = engine.progress
    if progress.failed:
        return 1
    return 0 if progress.ready or progress.starting else 3 if engine.is_done else 2


def _describe(engine: EngineView) -> tuple[str, str]:
    """The doings of an engine's replicas in words, and the style of the words."""
    progress = engine.progress
    if progress.failed:
        return f"given up: {progress.failed}", "red"
    words = list(_count_replicas(progress))
    if not words:
        words = ["done" if engine.is_done else "waiting"]
    if progress.lost:
        words.append(f"{progress.lost:,} lost")
    style = "" if progress.ready or progress.starting else "green" if engine.is_done else "bright_black"
    return ", ".join(words), style


def _count_replicas(progress: EngineProgress) -> Iterator[str]:
    named = {
        "generating": progress.generating,
        "judging": progress.judging,
        "idle": progress.idle,
        "loading": progress.loading,
        "waiting for a place": progress.placing,
    }
    for doing, number in named.items():
        if number:
            yield f"{number:,} {doing}"


def _render_waits(waits: Sequence[str], width: int, glyphs: Glyphs) -> Iterator[Text]:
    for wait in waits[:_MOST_WAITS]:
        yield Text(cut(in_line(wait), width, glyphs).rstrip(), style="yellow")
    if (num_more := len(waits) - _MOST_WAITS) > 0:
        yield Text(f"and {num_more} more", style="yellow")


def _rate(value: float | None) -> str:
    """A rate in as many digits as it has; a dash where it is not known."""
    if value is None:
        return NO_VALUE
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
