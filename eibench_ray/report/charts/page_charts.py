"""All pictures of a page, in the order in which they are read; one that nothing is known for is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eibench_ray.report.charts.chart import Chart
from eibench_ray.report.charts.effort_charts import draw_costs, draw_gpu_hours, draw_lengths
from eibench_ray.report.charts.endings_charts import draw_endings
from eibench_ray.report.charts.gpu_time_charts import draw_gpu_time
from eibench_ray.report.charts.heat_map import draw_heat_maps
from eibench_ray.report.charts.judges_chart import draw_judges
from eibench_ray.report.charts.published_chart import PublishedFigure, draw_published
from eibench_ray.report.charts.settings_chart import draw_settings
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.schedule.gpu_usage import GpuUsage
from eibench_ray.scoring.cell_comparison import Comparison


@dataclass(frozen=True, slots=True)
class ChartFigures:
    """Figures that the pictures are drawn from.

    Attributes:
        published: published figures beside measured ones.
        usages: the account of GPU time of each run, by the run's letter; a single run has none, ``.
        gpu_seconds: cell -> its part of what the replicas held, in the account's unit.
    """

    rows: Sequence[LeaderboardRow]
    comparison: Comparison
    published: Sequence[PublishedFigure] = ()
    usages: Mapping[str, GpuUsage] = field(default_factory=dict)
    gpu_seconds: Mapping[str, float] = field(default_factory=dict)


def draw_charts(figures: ChartFigures) -> list[Chart]:
    """The pictures; names are unique among them."""
    units = {usage.unit for usage in figures.usages.values()}
    return [
        *draw_published(figures.published),
        *draw_heat_maps(figures.rows),
        *draw_settings(figures.rows, figures.comparison),
        *draw_judges(figures.comparison),
        *draw_lengths(figures.rows, figures.comparison),
        *draw_costs(figures.rows),
        *(draw_gpu_hours(figures.rows, figures.gpu_seconds, *units) if len(units) == 1 else ()),
        *draw_endings(figures.rows),
        *(chart for letter, usage in figures.usages.items() for chart in draw_gpu_time(usage, letter)),
    ]
