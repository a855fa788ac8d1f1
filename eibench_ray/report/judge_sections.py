"""Tables of judges beside each other, beside labels, and of their own family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eibench_ray.report.table_section import Section, show_difference, show_estimate, show_p_value, show_value
from eibench_ray.scoring.rounding import NO_VALUE, digits_for, show_coefficient, show_share

if TYPE_CHECKING:
    from eibench_ray.scoring.calibration import Calibration
    from eibench_ray.scoring.judge_agreement import JudgePair, JudgePanel
    from eibench_ray.scoring.scorer import Metric
    from eibench_ray.scoring.self_preference import Preference

MUTUAL = "+"  # after the number of other models


def section_of_judges(
    dataset: str,
    metric: Metric,
    pairs: Sequence[JudgePair],
    panel: JudgePanel | None,
    level: str,
    judge_on: Callable[[str, str], str],
) -> Section:
    """Pairs of judges over the same answers; at last all of them together."""
    digits = digits_for(metric, ((pair.bias.ci_low, pair.bias.ci_high) for pair in pairs))
    lines = [
        (
            judge_on(dataset, pair.first),
            judge_on(dataset, pair.second),
            str(pair.num_cells),
            str(pair.over_samples.n),
            show_coefficient(pair.alpha),
            show_coefficient(pair.over_samples.rho),
            show_coefficient(pair.over_cells.rho),
            *show_difference(metric, pair.bias, digits),
        )
        for pair in pairs
    ]
    if panel:
        blank = (NO_VALUE,) * 4
        lines.append((f"all {len(panel.judges)}", "", NO_VALUE, str(panel.n), show_coefficient(panel.alpha), *blank))
    head = ("first", "second", "cells", "n", "alpha", "rho\nsamples", "rho\ncells", "bias", f"{level} interval")
    return Section(f"Judges: {dataset}, {metric.heading}", head, 2, tuple(lines))


def section_of_calibrations(
    dataset: str, metric: Metric, calibrations: Sequence[Calibration], level: str, judge_on: Callable[[str, str], str]
) -> Section:
    """Judges against the labels that people gave."""
    digits = digits_for(metric, ((one.bias.ci_low, one.bias.ci_high) for one in calibrations))
    lines = tuple(
        (
            judge_on(dataset, one.judge),
            one.model or "all",
            *show_estimate(one.accuracy, show_share),
            *show_estimate(one.alpha, show_coefficient),
            show_value(metric, one.bias.first, digits=digits),
            show_value(metric, one.bias.second, digits=digits),
            *show_difference(metric, one.bias, digits),
            str(one.num_labels),
            str(one.bias.n),
            str(one.bias.num_clusters),
        )
        for one in calibrations
    )
    interval = f"{level} interval"
    agreement = ("accuracy\n%", interval, "alpha", interval)
    head = ("judge", "model", *agreement, "score", "label", "bias", interval, "labels", "n", "clusters")
    return Section(f"Judges against labels: {dataset}, {metric.heading}", head, 2, lines)


def section_of_preferences(
    dataset: str, metric: Metric, preferences: Sequence[Preference], level: str, judge_on: Callable[[str, str], str]
) -> Section:
    """Scores that judges give to models of their own family, against those that others expect."""
    digits = digits_for(metric, ((one.excess.ci_low, one.excess.ci_high) for one in preferences))
    lines = tuple(
        (
            judge_on(dataset, one.judge),
            judge_on(dataset, one.against),
            one.family or NO_VALUE,
            str(len(one.own)),
            f"{len(one.others)}{MUTUAL * one.is_mutual}",
            show_value(metric, one.excess.first, digits=digits),
            show_value(metric, one.excess.second, digits=digits),
            *show_difference(metric, one.excess, digits),
            show_p_value(one.excess.p_value),
            str(one.excess.n or NO_VALUE),
        )
        for one in preferences
    )
    models, scores = ("own\nmodels", "other\nmodels"), ("own\nscore", "expected\nscore")
    head = ("judge", "against", "family", *models, *scores, "diff.", f"{level} interval", "p", "n")
    return Section(f"Judges and their own family: {dataset}, {metric.heading}", head, 3, lines)
