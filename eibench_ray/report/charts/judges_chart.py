"""Judges compared: how far two of them agree, which one gives more, and whether one favours its own family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from eibench_ray.report.charts.cell_labels import counted, scaled, show_value
from eibench_ray.report.charts.chart import Chart
from eibench_ray.report.charts.dot_plot import Dot, DotPlot, draw_dots
from eibench_ray.report.charts.look import cut_lines, make_chart
from eibench_ray.scoring.cell_comparison import Comparison
from eibench_ray.scoring.judge_agreement import JudgePair
from eibench_ray.scoring.paired_tests import PairedDifference
from eibench_ray.scoring.rounding import show_coefficient
from eibench_ray.scoring.scorer import Metric
from eibench_ray.scoring.self_preference import Preference
from eibench_ray.visible_text import in_line

T = TypeVar("T")

_ALPHA, _RHO, _CELLS = "alpha of the scores", "rho of the scores", "rho of the cells' means"


def draw_judges(comparison: Comparison) -> Iterator[Chart]:
    """Up to three pictures per metric: agreement, bias, own family."""
    metrics = list(dict.fromkeys(pair.metric for pair in comparison.judges))
    for number, metric in enumerate(metrics, 1):
        of_metric = in_line(f" ({metric.name})") if len(metrics) > 1 else ""
        pairs = [pair for pair in comparison.judges if pair.metric == metric]
        yield from _draw_agreement(f"agreement-{number}", f"Agreement of judges{of_metric}", pairs)
        named = _name_lines([(pair.dataset, f"{pair.first} minus {pair.second}", pair.bias) for pair in pairs])
        text = "A positive difference: the first judge of the line gives higher scores to the same answers."
        yield from _draw_differences(f"bias-{number}", f"Judges' bias{of_metric}", text, metric, named)
        favours = [(one.dataset, _name_preference(one), one.excess) for one in comparison.preferences]
        own = _name_lines(
            [one for one, found in zip(favours, comparison.preferences, strict=True) if found.metric == metric]
        )
        text = "A positive difference: the judge gives its own family's answers more than their quality lets expect."
        yield from _draw_differences(
            f"own-family-{number}", f"Judges and their own family{of_metric}", text, metric, own
        )


def _draw_agreement(name: str, title: str, pairs: Sequence[JudgePair]) -> Iterator[Chart]:
    lines = _name_lines([(pair.dataset, f"{pair.first}, {pair.second}", pair) for pair in pairs])
    shown, cut = cut_lines(lines)
    dots = [
        Dot(line, value, show_coefficient(value), n, series=series)
        for line, pair in shown
        for series, value, n in (
            (_ALPHA, pair.alpha, pair.over_samples.n),
            (_RHO, pair.over_samples.rho, pair.over_samples.n),
            (_CELLS, pair.over_cells.rho, pair.over_cells.n),
        )
        if value is not None
    ]
    if not dots:
        return
    series = [one for one in (_ALPHA, _RHO, _CELLS) if any(dot.series == one for dot in dots)]
    told = list(dict.fromkeys(dot.line for dot in dots))
    plot = DotPlot("agreement (1: full, 0: as by chance)", told, series, zero="as by chance", ends=(0.0, 1.0))
    alphas = [dot for dot in dots if dot.series == _ALPHA]
    text = f"Agreement of {counted(len(told), 'pair')} of judges on the same answers."
    if len(alphas) == 1:
        text += f" Krippendorff's alpha is {alphas[0].figure} ({alphas[0].line})."
    elif alphas:
        least, most = (choose(alphas, key=lambda dot: dot.value) for choose in (min, max))
        text += f" Krippendorff's alpha lies between {least.figure} ({least.line}) and {most.figure} ({most.line})."
    yield make_chart(name, title, text + cut, draw_dots(dots, plot))


def _draw_differences(
    name: str, title: str, text: str, metric: Metric, lines: Sequence[tuple[str, PairedDifference]]
) -> Iterator[Chart]:
    shown, cut = cut_lines([(line, paired) for line, paired in lines if paired.difference is not None])
    dots = []
    for line, paired in shown:
        assert paired.difference is not None
        figure = show_value(metric, paired.difference, paired.ci_low, paired.ci_high, "+")
        low, high = (None if end is None else scaled(metric, end) for end in (paired.ci_low, paired.ci_high))
        dots.append(Dot(line, scaled(metric, paired.difference), figure, paired.n, low, high))
    if dots:
        most = max(dots, key=lambda dot: abs(dot.value))
        unit = "percentage points" if metric.is_percent else metric.unit
        x = in_line(f"difference in {metric.name}" + (f", {unit}" if unit else ""))
        plot = DotPlot(x, [dot.line for dot in dots], zero="no difference")
        yield make_chart(name, title, f"{text} The largest: {most.figure} ({most.line}).{cut}", draw_dots(dots, plot))


def _name_preference(one: Preference) -> str:
    return f"{one.judge} (against {one.against})"


def _name_lines(lines: Sequence[tuple[str, str, T]]) -> list[tuple[str, T]]:
    """The lines with their names, behind them the dataset where there are several."""
    has_several = len({dataset for dataset, _, _ in lines}) > 1
    return [(in_line(f"{name}, {dataset}" if has_several else name), one) for dataset, name, one in lines]
