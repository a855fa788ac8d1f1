"""Settings paired: each model's figures in all of its settings on one line, and the difference on the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from eibench_ray.report.charts.cell_labels import (
    by_table,
    counted,
    name_table,
    scaled,
    show_figure,
    show_value,
    title_axis,
)
from eibench_ray.report.charts.chart import Chart
from eibench_ray.report.charts.dot_plot import MOST_SERIES, Dot, DotPlot, draw_dots
from eibench_ray.report.charts.look import cut_lines, make_chart
from eibench_ray.report.leaderboard_row import LeaderboardRow, sort_rows
from eibench_ray.scoring.cell_comparison import ComparedPair, Comparison
from eibench_ray.scoring.paired_tests import is_below
from eibench_ray.scoring.scorer import Metric
from eibench_ray.visible_text import in_line


def draw_settings(rows: Sequence[LeaderboardRow], comparison: Comparison) -> Iterator[Chart]:
    """A picture per dataset and judge under which some model was asked in several settings."""
    tables = by_table(sort_rows(rows))
    for number, ((dataset, judge, metric), found) in enumerate(tables.items(), 1):
        models: dict[str, list[LeaderboardRow]] = {}
        for row in found:
            models.setdefault(row.model, []).append(row)
        models = {model: cells for model, cells in models.items() if len(cells) > 1}
        if models:
            title = f"Settings of the same model{name_table(dataset, judge, tables)}"
            pairs = [
                pair
                for pair in comparison.pairs
                if pair.side == "setting" and (pair.dataset, pair.judge) == (dataset, found[0].judge)
            ]
            yield _draw(f"settings-{number}", title, metric, models, pairs, comparison.confidence)


def _draw(
    name: str,
    title: str,
    metric: Metric,
    models: Mapping[str, Sequence[LeaderboardRow]],
    pairs: Sequence[ComparedPair],
    confidence: float,
) -> Chart:
    shown, cut = cut_lines(list(models))
    settings = list(dict.fromkeys(row.setting for model in models.values() for row in model))
    if len(settings) > MOST_SERIES:
        cut += f" The first {MOST_SERIES} of {len(settings)} settings are drawn."
        settings = settings[:MOST_SERIES]
    dots = [
        Dot(
            in_line(model),
            scaled(metric, row.score.overall.value),
            show_figure(metric, row.score.overall),
            row.score.overall.n,
            series=in_line(row.setting),
        )
        for model in shown
        for row in models[model]
        if row.setting in settings and row.score.overall.value is not None
    ]
    told = [pair for pair in pairs if pair.within in shown and pair.paired.difference is not None]
    notes = {in_line(pair.within): _describe(pair, confidence) for pair in told} if len(settings) == 2 else {}
    signs = {in_line(f"; at the right: {pair.first} minus {pair.second}") for pair in told if notes}
    x = title_axis(metric) + (signs.pop() if len(signs) == 1 else "")
    plot = DotPlot(x, list(map(in_line, shown)), list(map(in_line, settings)), joins=True, notes=notes)
    text = f"{title_axis(metric)} of {counted(len(shown), 'model')} in {len(settings)} settings."
    if told:
        most = max(told, key=lambda pair: abs(pair.paired.difference or 0.0))
        text += (
            f" The largest difference on the same samples: {most.first} minus {most.second} of {most.within}, "
            f"{_describe(most, confidence)}; a star marks differences that are hardly chance (Holm)."
        )
    return make_chart(name, in_line(title), in_line(text + cut), draw_dots(dots, plot))


def _describe(pair: ComparedPair, confidence: float) -> str:
    """The difference on the same samples with its interval, and a star where it is hardly chance."""
    paired = pair.paired
    assert paired.difference is not None
    star = " *" if is_below(pair.p_holm, confidence) else ""
    return show_value(pair.metric, paired.difference, paired.ci_low, paired.ci_high, "+") + star
