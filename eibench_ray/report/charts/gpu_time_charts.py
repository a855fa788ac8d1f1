"""GPU time: who had which GPU when, and each model's sum by kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from eibench_ray.report.charts.cell_labels import counted
from eibench_ray.report.charts.chart import Chart
from eibench_ray.report.charts.look import cut_lines, make_chart
from eibench_ray.report.charts.stacked_bars import draw_bars
from eibench_ray.report.gantt import COLOURS, draw_lanes
from eibench_ray.schedule.gpu_usage import GpuUsage
from eibench_ray.schedule.replica_meter import TimeKind
from eibench_ray.scoring.rounding import show_share
from eibench_ray.visible_text import in_line

_NOBODY = "held by no replica"


def draw_gpu_time(usage: GpuUsage, run: str = "") -> Iterator[Chart]:
    """Both pictures of a run; none where its ledger tells of no replica.

    Args:
        usage: the account.
        run: the run's letter, where a page has several; names and titles have it then.
    """
    seconds = usage.seconds()
    if not usage.replicas or not (total := sum(seconds.values())):
        return
    name, unit_s = ("hours", 3600.0) if total >= 3600 else ("seconds", 1.0)
    kinds = ", ".join(f"{show_share(part / total)}% {kind.label}" for kind, part in seconds.items())
    sizes = f"{counted(len(usage.replicas), 'replica')} and {counted(usage.num_gpus, 'GPU')}"
    given_back = f"; {usage.given_back_s / unit_s:,.1f} more were given back" if usage.given_back_s else ""
    text = f"{total / unit_s:,.1f} {usage.unit}-{name} of {sizes}: {kinds}{given_back}."
    mark, of_run = (f"-{run}", f" of run {run}") if run else ("", "")
    yield make_chart(f"gantt{mark}", f"Use of the {usage.unit}s over time{of_run}", text, draw_lanes(usage))
    lines: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for replica in usage.replicas:
        for kind, spent in replica.seconds.items():
            lines[in_line(replica.model)][kind.label] += spent * usage.weight(replica) / unit_s
    for unheld in usage.unheld:
        if unheld.span.kind in seconds:
            lines[_NOBODY][unheld.span.kind.label] += unheld.seconds / unit_s
    shown, cut = cut_lines(sorted(lines, key=lambda line: (line == _NOBODY, -sum(lines[line].values()))))
    sums = {line: lines[line] for line in shown}
    drawn = draw_bars(
        sums,
        {kind.label: COLOURS[kind] for kind in TimeKind},
        f"{usage.unit}-{name}",
        lambda _, amount: f"{amount:,.2f} {usage.unit}-{name} ({show_share(amount * unit_s / total)}% of all)",
    )
    most = max(sums, key=lambda line: sum(sums[line].values()))
    text = f"{usage.unit}-{name} by model and use; the most has {most}, {sum(sums[most].values()):,.1f}.{cut}"
    yield make_chart(f"gpu-time{mark}", f"{usage.unit} time by model{of_run}", text, drawn)
