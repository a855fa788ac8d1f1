"""Figures for the pictures of a page: what benchmarks published beside what runs measured, and where GPU time went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from eibench_ray.benchmarks.benchmark_registry import load_all
from eibench_ray.plan.blockers import without_blocked
from eibench_ray.report.charts.page_charts import ChartFigures
from eibench_ray.report.charts.published_chart import PublishedFigure
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.runs.cell_names import RunCell, letter_of
from eibench_ray.runs.find_run import FoundRun
from eibench_ray.runs.results import open_run
from eibench_ray.schedule.gpu_usage import GpuUsage, share_cells
from eibench_ray.scoring.cell_comparison import Comparison


def collect_figures(
    runs: Sequence[FoundRun],
    rows: Sequence[LeaderboardRow],
    comparison: Comparison | None,
    usages: Sequence[GpuUsage],
    cells: Sequence[RunCell],
) -> ChartFigures:
    """All that is drawn of some runs.

    Args:
        runs: in the page's order.
        rows: their leaderboard.
        comparison: of their cells; None where there is none.
        usages: GPU time of each run.
        cells: all that are not blocked.

    Raises:
        EibenchError: a store cannot be read.
    """
    letters = [letter_of(number) if len(runs) > 1 else "" for number in range(len(runs))]
    published = [
        replace(one, names=(*one.names, letter)) if letter else one
        for run, letter in zip(runs, letters, strict=True)
        for one in _list_published(run)
    ]
    shares = [
        {
            share.cell.name: sum(share.seconds.values())
            for share in share_cells(usage, without_blocked(run.manifest.plan))
        }
        for run, usage in zip(runs, usages, strict=True)
    ]
    return ChartFigures(
        rows,
        comparison or Comparison((), (), (), (), runs[0].manifest.score.confidence),
        published,
        dict(zip(letters, usages, strict=True)),
        {one.cell.name: sum(shares[run].get(one.own_name, 0.0) for run in one.runs) for one in cells},
    )


def _list_published(run: FoundRun) -> Iterator[PublishedFigure]:
    opened = open_run(run.manifest, run.store, run.status.failures)
    for benchmark in load_all().values():
        if benchmark.published is not None:
            yield from benchmark.published(opened)
