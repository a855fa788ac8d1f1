"""The comparisons of a run as tables of words: one section per question and judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from eibench_ray.plan.graph import join_sources
from eibench_ray.plan.step_names import mark_of, with_mark
from eibench_ray.report.leaderboard_row import PARTIAL
from eibench_ray.scoring.paired_tests import is_below
from eibench_ray.scoring.rounding import NO_VALUE, digits_for, show_coefficient, show_interval, show_share

if TYPE_CHECKING:
    from eibench_ray.scoring.calibration import Calibration, Estimate
    from eibench_ray.scoring.cell_comparison import CellNoise, CellState, ComparedPair, Comparison, LengthBias
    from eibench_ray.scoring.cluster_mean import Interval
    from eibench_ray.scoring.judge_agreement import JudgePair, JudgePanel
    from eibench_ray.scoring.paired_tests import PairedDifference
    from eibench_ray.scoring.scorer import Metric
    from eibench_ray.scoring.self_preference import Preference
    from eibench_ray.scoring.tournament import Tournament

    _OfCell = TypeVar("_OfCell", CellNoise, LengthBias)
    _OfJudges = TypeVar("_OfJudges", JudgePair, Preference, Calibration)

MUTUAL = "+"  # after the number of other models
SELF_JUDGED = "*"  # after a name: "(self-judged)" beside two names leaves no room for the figures


@dataclass(frozen=True, slots=True)
class Section:
    """One table in words."""

    title: str
    head: tuple[str, ...]  # headings; the terminal breaks them where they have a line's end
    num_words: int  # columns that stand left
    lines: tuple[tuple[str, ...], ...]
    strong: frozenset[int] = frozenset()  # numbers of the lines that stand out


def to_sections(comparison: Comparison) -> Iterator[Section]:
    """The tables, in the order in which they are read."""
    level = name_level(comparison)

    def judge_on(dataset: str, judge: str) -> str:
        return with_mark(judge, comparison.judge_source(dataset, judge))

    for (_, dataset, judge), group in groupby(comparison.pairs, key=lambda pair: (pair.side, pair.dataset, pair.judge)):
        pairs = [MarkedPair.of(pair, comparison) for pair in group]
        title = f"{dataset} judged by {judge_on(dataset, judge)}, {pairs[0].pair.metric.heading}"
        yield _section_of_pairs(pairs, title, level, comparison.confidence)
    for tournament in comparison.tournaments:
        yield from _sections_of_tournament(tournament, comparison, level)
    panels = {(panel.dataset, panel.metric): panel for panel in comparison.panels}
    for (dataset, metric), judges in _by_metric(comparison.judges).items():
        yield _section_of_judges(dataset, metric, judges, panels.get((dataset, metric)), level, judge_on)
    for (dataset, metric), calibrations in _by_metric(comparison.calibrations).items():
        yield _section_of_calibrations(dataset, metric, calibrations, level, judge_on)
    for (dataset, metric), preferences in _by_metric(comparison.preferences).items():
        yield _section_of_preferences(dataset, metric, preferences, level, judge_on)
    for of, title in (("judge", "Repeats"), ("model", "Repeated answers")):
        for (dataset, judge), noises in _by_judge([one for one in comparison.noises if one.of == of]).items():
            marked = _mark_cells(noises, comparison)
            yield _section_of_noises(f"{title}: {dataset} judged by {judge_on(dataset, judge)}", marked)
    for (dataset, judge), lengths in _by_judge(comparison.lengths).items():
        title = f"Length of answer and score: {dataset} judged by {judge_on(dataset, judge)}"
        yield _section_of_lengths(title, _mark_cells(lengths, comparison), level)


@dataclass(frozen=True, slots=True)
class MarkedPair:
    """A pair with its names as they are shown."""

    pair: ComparedPair
    within: str
    first: str
    second: str
    is_comparable: bool  # whether both rest on all samples, and on words that somebody said

    @classmethod
    def of(cls, pair: ComparedPair, comparison: Comparison) -> MarkedPair:
        """The model is marked where it is its own judge, where it did not answer itself, and where it is partial."""
        states = comparison.states_of(pair)
        marks = [
            f"{SELF_JUDGED * is_self}{_mark(state)}"
            for model, is_self, state in zip(
                (pair.first, pair.second) if pair.side == "model" else (pair.within, pair.within),
                (pair.first_self_judged, pair.second_self_judged),
                states,
                strict=True,
            )
        ]
        is_comparable = all(state.is_comparable for state in states)
        if pair.side == "model":
            return cls(pair, pair.within, pair.first + marks[0], pair.second + marks[1], is_comparable)
        # Of one model: what both cells have in common stands beside it, what one has beside its setting.
        partial = [f" {PARTIAL}" * state.is_partial for state in states]
        shared = [mark.removesuffix(one) for mark, one in zip(marks, partial, strict=True)]
        return cls(
            pair, pair.within + max(shared, key=len), pair.first + partial[0], pair.second + partial[1], is_comparable
        )


def _mark(state: CellState) -> str:
    """Mark beside a model's name."""
    marks = (mark_of(state.answer_source), PARTIAL if state.is_partial else "")
    return "".join(f" {mark}" for mark in marks if mark)


def _mark_cells(of_cells: Sequence[_OfCell], comparison: Comparison) -> list[tuple[str, _OfCell]]:
    """Marks of single cells, with the model's name as it is shown; partial cells after the others."""
    states = [comparison.state(one.model, one.setting, one.dataset, one.judge) for one in of_cells]
    ordered = sorted(zip(of_cells, states, strict=True), key=lambda found: found[1].is_partial)
    return [(one.model + _mark(state), one) for one, state in ordered]


def _by_judge(of_cells: Sequence[_OfCell]) -> dict[tuple[str, str], list[_OfCell]]:
    """Marks of single cells, by dataset and judge, each in order of appearance."""
    found: dict[tuple[str, str], list[_OfCell]] = {}
    for one in of_cells:
        found.setdefault((one.dataset, one.judge), []).append(one)
    return found


def _by_metric(of_judges: Sequence[_OfJudges]) -> dict[tuple[str, Metric], list[_OfJudges]]:
    """Comparisons of two judges by dataset and metric, each in order of appearance."""
    found: dict[tuple[str, Metric], list[_OfJudges]] = {}
    for one in of_judges:
        found.setdefault((one.dataset, one.metric), []).append(one)
    return found


def _section_of_pairs(pairs: Sequence[MarkedPair], title: str, level: str, confidence: float) -> Section:
    side, shared = pairs[0].pair.side, "setting" if pairs[0].pair.side == "model" else "model"
    metric = pairs[0].pair.metric
    unit = "%" if metric.is_percent else "score"
    ordered = sorted(pairs, key=lambda pair: (not pair.is_comparable, pair.pair.within))
    digits = digits_for(metric, ((pair.pair.paired.ci_low, pair.pair.paired.ci_high) for pair in ordered))
    lines = tuple(
        (
            pair.within,
            pair.first,
            pair.second,
            _value(metric, pair.pair.paired.first, digits=digits),
            _value(metric, pair.pair.paired.second, digits=digits),
            *_difference(metric, pair.pair.paired, digits),
            show_p_value(pair.pair.paired.p_value),
            show_p_value(pair.pair.p_holm),
            str(pair.pair.paired.n),
            str(pair.pair.paired.num_clusters),
        )
        for pair in ordered
    )
    clear = (pair.is_comparable and is_below(pair.pair.p_holm, confidence) for pair in ordered)
    return Section(
        f"{side.capitalize()}s: {title}",
        (
            shared,
            "first",
            "second",
            f"first\n{unit}",
            f"second\n{unit}",
            "diff.",
            f"{level} interval",
            "p",
            "p\n(Holm)",
            "n",
            "clusters",
        ),
        3,
        lines,
        frozenset(number for number, is_clear in enumerate(clear) if is_clear),
    )


def _sections_of_tournament(tournament: Tournament, comparison: Comparison, level: str) -> Iterator[Section]:
    """A table per group of those whose strengths can be set against each other."""
    dataset = tournament.dataset
    judges = [judge for one in tournament.contestants.values() for judge in one.judges]
    judge = with_mark(tournament.judge, join_sources(comparison.judge_source(dataset, one) for one in judges))
    groups = tournament.standings.groups
    for number, group in enumerate(groups, start=1):
        lines = tuple(
            (
                _mark_contestant(one.player, tournament, comparison),
                f"{one.rating:.0f}",
                _show_ratings(one.rating_interval),
                str(one.n),
                str(one.num_clusters),
            )
            for one in group
        )
        which = f", group {number} of {len(groups)}" if len(groups) > 1 else ""
        title = f"Strengths (Bradley-Terry): {dataset} judged by {judge}{which}"
        yield Section(title, ("model", "rating", f"{level} interval", "n", "clusters"), 1, lines)


def _show_ratings(interval: Interval | None) -> str:
    return f"{interval.low:.0f} to {interval.high:.0f}" if interval else NO_VALUE


def _mark_contestant(name: str, tournament: Tournament, comparison: Comparison) -> str:
    """A contestant's name with the marks of the cells that hold its answers against others'."""
    one = tournament.contestants[name]
    states = [comparison.state(one.model, one.setting, tournament.dataset, judge) for judge in one.judges]
    return name + max(map(_mark, states), key=len, default="")


def _section_of_judges(
    dataset: str,
    metric: Metric,
    pairs: Sequence[JudgePair],
    panel: JudgePanel | None,
    level: str,
    judge_on: Callable[[str, str], str],
) -> Section:
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
            *_difference(metric, pair.bias, digits),
        )
        for pair in pairs
    ]
    if panel:
        blank = (NO_VALUE,) * 4
        lines.append((f"all {len(panel.judges)}", "", NO_VALUE, str(panel.n), show_coefficient(panel.alpha), *blank))
    head = ("first", "second", "cells", "n", "alpha", "rho\nsamples", "rho\ncells", "bias", f"{level} interval")
    return Section(f"Judges: {dataset}, {metric.heading}", head, 2, tuple(lines))


def _section_of_calibrations(
    dataset: str, metric: Metric, calibrations: Sequence[Calibration], level: str, judge_on: Callable[[str, str], str]
) -> Section:
    digits = digits_for(metric, ((one.bias.ci_low, one.bias.ci_high) for one in calibrations))
    lines = tuple(
        (
            judge_on(dataset, one.judge),
            one.model or "all",
            *_estimate(one.accuracy, show_share),
            *_estimate(one.alpha, show_coefficient),
            _value(metric, one.bias.first, digits=digits),
            _value(metric, one.bias.second, digits=digits),
            *_difference(metric, one.bias, digits),
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


def _section_of_preferences(
    dataset: str, metric: Metric, preferences: Sequence[Preference], level: str, judge_on: Callable[[str, str], str]
) -> Section:
    digits = digits_for(metric, ((one.excess.ci_low, one.excess.ci_high) for one in preferences))
    lines = tuple(
        (
            judge_on(dataset, one.judge),
            judge_on(dataset, one.against),
            one.family or NO_VALUE,
            str(len(one.own)),
            f"{len(one.others)}{MUTUAL * one.is_mutual}",
            _value(metric, one.excess.first, digits=digits),
            _value(metric, one.excess.second, digits=digits),
            *_difference(metric, one.excess, digits),
            show_p_value(one.excess.p_value),
            str(one.excess.n or NO_VALUE),
        )
        for one in preferences
    )
    models, scores = ("own\nmodels", "other\nmodels"), ("own\nscore", "expected\nscore")
    head = ("judge", "against", "family", *models, *scores, "diff.", f"{level} interval", "p", "n")
    return Section(f"Judges and their own family: {dataset}, {metric.heading}", head, 3, lines)


def _section_of_noises(title: str, noises: Sequence[tuple[str, CellNoise]]) -> Section:
    lines = tuple(
        (
            model,
            one.setting,
            str(one.noise.repeats),
            _value(one.metric, one.noise.sd, digits=one.metric.digits + 1),
            show_share(one.noise.differ),
            show_share(one.noise.variance_share),
            str(one.noise.n),
        )
        for model, one in noises
    )
    return Section(title, ("model", "setting", "repeats", "sd", "differ\n%", "noise\n%", "n"), 2, lines)


def _section_of_lengths(title: str, lengths: Sequence[tuple[str, LengthBias]], level: str) -> Section:
    lines = tuple(
        (
            model,
            one.setting,
            show_coefficient(one.correlation.rho),
            _span(one.correlation.ci_low, one.correlation.ci_high, show_coefficient),
            str(one.correlation.n),
        )
        for model, one in lengths
    )
    return Section(title, ("model", "setting", "rho", f"{level} interval", "n"), 2, lines)


def name_level(comparison: Comparison) -> str:
    """The confidence of the intervals, e.g. "95%"."""
    return f"{100 * comparison.confidence:g}%"


def _value(metric: Metric, value: float | None, sign: str = "", digits: int | None = None) -> str:
    return NO_VALUE if value is None else metric.show(value, sign, digits)


def _difference(metric: Metric, paired: PairedDifference, digits: int) -> tuple[str, str]:
    """A difference and its interval."""
    span = show_interval(metric, paired.ci_low, paired.ci_high, "+", digits)
    return _value(metric, paired.difference, "+", digits), span


def _estimate(estimate: Estimate | None, write: Callable[[float], str]) -> tuple[str, str]:
    """A figure and its interval."""
    if estimate is None:
        return NO_VALUE, NO_VALUE
    return write(estimate.value), _span(estimate.ci_low, estimate.ci_high, write)


def show_p_value(p_value: float | None) -> str:
    """A p-value with two significant digits, below a millionth its bound.

    >>> show_p_value(0.05), show_p_value(0.00123), show_p_value(2e-9)
    ('0.050', '0.0012', '<1e-6')
    """
    if p_value is None:
        return NO_VALUE
    return "<1e-6" if p_value < 1e-6 else f"{p_value:#.2g}"


def _span(low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    return NO_VALUE if low is None or high is None else f"{write(low)} to {write(high)}"
