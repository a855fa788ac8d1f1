"""Published figures against measured ones: a line each, the measured one with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eibench_ray.report.charts.cell_labels import counted, drop_common, scaled, show_figure, title_axis
from eibench_ray.report.charts.chart import Chart
from eibench_ray.report.charts.dot_plot import Dot, DotPlot, draw_dots
from eibench_ray.report.charts.look import cut_lines, make_chart
from eibench_ray.scoring.metric_summary import MetricSummary
from eibench_ray.scoring.scorer import Metric
from eibench_ray.visible_text import in_line

_PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """A figure that somebody published, and what a run has measured.

    Attributes:
        names: of its cell and of its group of samples, for every figure in the same order.
        verdict: what the benchmark says of it, in a word or two.
        is_main: whether it belongs to the main comparison of its source.
    """

    names: tuple[str, ...]
    metric: Metric
    published: float
    n: int  # of the published figure
    measured: MetricSummary
    verdict: str
    is_main: bool = True

    @property
    def difference(self) -> float:
        """Measured minus published; 0 where nothing was measured."""
        return 0.0 if self.measured.value is None else self.measured.value - self.published


def draw_published(figures: Sequence[PublishedFigure]) -> Iterator[Chart]:
    """A picture of the main figures and one of the others, per metric; those farthest apart come first."""
    for number, metric in enumerate(dict.fromkeys(one.metric for one in figures), 1):
        for is_main, name, title in (
            (True, "published", "Published and measured"),
            (False, "published-others", "Published and measured: other settings and groups"),
        ):
            found = [
                one
                for one in figures
                if one.metric == metric and one.is_main is is_main and one.measured.value is not None
            ]
            if found:
                yield _draw(f"{name}-{number}", title, metric, found)


def _draw(name: str, title: str, metric: Metric, figures: Sequence[PublishedFigure]) -> Chart:
    farthest = sorted(figures, key=lambda one: -abs(one.difference))
    shown, cut = cut_lines(farthest)
    labels = [in_line(", ".join(names)) for names in drop_common([one.names for one in shown])]
    dots = []
    for label, one in zip(labels, shown, strict=True):
        found = one.measured
        assert found.value is not None
        low, high = (None if end is None else scaled(metric, end) for end in (found.ci_low, found.ci_high))
        figure = show_figure(metric, found)
        dots.append(Dot(label, scaled(metric, one.published), metric.show(one.published), one.n, series=_PUBLISHED))
        dots.append(Dot(label, scaled(metric, found.value), figure, found.n, low, high, f"measured: {one.verdict}"))
    verdicts = list(dict.fromkeys(dot.series for dot in dots if dot.series != _PUBLISHED))
    plot = DotPlot(title_axis(metric), labels, [_PUBLISHED, *sorted(verdicts)], joins=True)
    counts = {verdict: sum(one.verdict == verdict for one in figures) for verdict in {one.verdict for one in figures}}
    words = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(counts.items()))
    most, label = shown[0], labels[0]
    text = (
        f"{counted(len(figures), 'published figure')} beside what was measured: {words}. The farthest apart: {label}, "
        f"published {metric.show(most.published)}, measured {show_figure(metric, most.measured)}."
    )
    return make_chart(name, title, in_line(text + cut), draw_dots(dots, plot))
