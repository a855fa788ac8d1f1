"""The comparisons of a run as tables of words: one section per question and judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from eibench_ray.score.agreement import JudgePair, JudgePanel
    from eibench_ray.score.comparison import ComparedPair, Comparison, JudgeNoise, LengthBias
    from eibench_ray.score.preference import Preference

    _OfCell = TypeVar("_OfCell", JudgeNoise, LengthBias)

NO_VALUE = "-"
MUTUAL = "+"  # after the number of other models
SELF_JUDGED = "*"  # after a name: "(self-judged)" beside two names leaves no room for the figures


@dataclass(frozen=True, slots=True)
class Section:
    """One table in words.

    Attributes:
        head: headings; the terminal breaks them where they have a line's end.
        num_words: columns that stand left.
        strong: numbers of the lines that stand out.
    """

    title: str
    head: tuple[str, ...]
    num_words: int
    lines: tuple[tuple[str, ...], ...]
    strong: frozenset[int] = frozenset()


def to_sections(comparison: Comparison) -> Iterator[Section]:
    """The tables, in the order in which they are read."""
    level = name_level(comparison)
    for _, pairs in groupby(comparison.pairs, key=lambda pair: (pair.side, pair.dataset, pair.judge)):
        yield _section_of_pairs(list(pairs), level, 1 - comparison.confidence)
    panels = {panel.dataset: panel for panel in comparison.panels}
    for dataset, judges in groupby(comparison.judges, key=lambda pair: pair.dataset):
        yield _section_of_judges(dataset, list(judges), panels.get(dataset), level)
    for dataset, preferences in groupby(comparison.preferences, key=lambda one: one.dataset):
        yield _section_of_preferences(dataset, list(preferences), level)
    for (dataset, judge), noises in _by_judge(comparison.noises).items():
        yield _section_of_noises(f"Repeats: {dataset} judged by {judge}", noises)
    for (dataset, judge), lengths in _by_judge(comparison.lengths).items():
        yield _section_of_lengths(f"Length of answer and score: {dataset} judged by {judge}", lengths, level)


def _by_judge(of_cells: Sequence[_OfCell]) -> dict[tuple[str, str], list[_OfCell]]:
    """What is said of single cells, by dataset and judge, each in order of appearance."""
    found: dict[tuple[str, str], list[_OfCell]] = {}
    for one in of_cells:
        found.setdefault((one.dataset, one.judge), []).append(one)
    return found


def _section_of_pairs(pairs: Sequence[ComparedPair], level: str, alpha: float) -> Section:
    side, shared = pairs[0].side, "setting" if pairs[0].side == "model" else "model"
    ordered = sorted(pairs, key=lambda pair: pair.within)
    lines = tuple(
        (
            *_names(pair),
            _percent(pair.paired.first),
            _percent(pair.paired.second),
            _points(pair.paired.difference),
            _span(pair.paired.ci_low, pair.paired.ci_high, _points),
            _chance(pair.paired.p_value),
            _chance(pair.p_holm),
            str(pair.paired.n),
        )
        for pair in ordered
    )
    return Section(
        f"{side.capitalize()}s: {pairs[0].dataset} judged by {pairs[0].judge}",
        (shared, "first", "second", "first\n%", "second\n%", "diff.", f"{level} interval", "p", "p\n(Holm)", "n"),
        3,
        lines,
        frozenset(n for n, pair in enumerate(ordered) if pair.p_holm is not None and pair.p_holm < alpha),
    )


def _names(pair: ComparedPair) -> tuple[str, str, str]:
    """What a pair shares and what differs; the model is marked where it is its own judge."""
    first, second = SELF_JUDGED * pair.first_self_judged, SELF_JUDGED * pair.second_self_judged
    if pair.side == "setting":
        return pair.within + (first or second), pair.first, pair.second
    return pair.within, pair.first + first, pair.second + second


def _section_of_judges(dataset: str, pairs: Sequence[JudgePair], panel: JudgePanel | None, level: str) -> Section:
    lines = [
        (
            pair.first,
            pair.second,
            str(pair.num_cells),
            str(pair.over_samples.n),
            _coefficient(pair.alpha),
            _coefficient(pair.over_samples.rho),
            _coefficient(pair.over_cells.rho),
            _points(pair.bias.difference),
            _span(pair.bias.ci_low, pair.bias.ci_high, _points),
        )
        for pair in pairs
    ]
    if panel:
        blank = (NO_VALUE,) * 4
        lines.append((f"all {len(panel.judges)}", "", NO_VALUE, str(panel.n), _coefficient(panel.alpha), *blank))
    head = ("first", "second", "cells", "n", "alpha", "rho\nsamples", "rho\ncells", "bias", f"{level} interval")
    return Section(f"Judges: {dataset}", head, 2, tuple(lines))


def _section_of_preferences(dataset: str, preferences: Sequence[Preference], level: str) -> Section:
    lines = tuple(
        (
            one.judge,
            one.against,
            one.family or NO_VALUE,
            str(len(one.own)),
            f"{len(one.others)}{MUTUAL * one.is_mutual}",
            _points(one.bias.first),
            _points(one.bias.second),
            _points(one.bias.difference),
            _span(one.bias.ci_low, one.bias.ci_high, _points),
            _chance(one.bias.p_value),
            str(one.bias.n),
        )
        for one in preferences
    )
    models, biases = ("own\nmodels", "other\nmodels"), ("bias\nown", "bias\nother")
    head = ("judge", "against", "family", *models, *biases, "diff.", f"{level} interval", "p", "n")
    return Section(f"Judges and their own family: {dataset}", head, 3, lines)


def _section_of_noises(title: str, noises: Sequence[JudgeNoise]) -> Section:
    lines = tuple(
        (
            one.model,
            one.setting,
            str(one.noise.repeats),
            NO_VALUE if one.noise.sd is None else f"{100 * one.noise.sd:.2f}",
            _percent(one.noise.differ),
            _percent(one.noise.variance_share),
            str(one.noise.n),
        )
        for one in noises
    )
    return Section(title, ("model", "setting", "repeats", "sd", "differ\n%", "noise\n%", "n"), 2, lines)


def _section_of_lengths(title: str, lengths: Sequence[LengthBias], level: str) -> Section:
    lines = tuple(
        (
            one.model,
            one.setting,
            _coefficient(one.correlation.rho),
            _span(one.correlation.ci_low, one.correlation.ci_high, _coefficient),
            str(one.correlation.n),
        )
        for one in lengths
    )
    return Section(title, ("model", "setting", "rho", f"{level} interval", "n"), 2, lines)


def name_level(comparison: Comparison) -> str:
    """The confidence of the intervals, e.g. "95%"."""
    return f"{100 * comparison.confidence:g}%"


def _percent(share: float | None) -> str:
    return NO_VALUE if share is None else f"{100 * share:.1f}"


def _points(difference: float | None) -> str:
    return NO_VALUE if difference is None else f"{100 * difference:+.1f}"


def _coefficient(value: float | None) -> str:
    return NO_VALUE if value is None else f"{value:+.2f}"


def _chance(p_value: float | None) -> str:
    if p_value is None:
        return NO_VALUE
    return "<0.0001" if p_value < 0.0001 else f"{p_value:.4f}"


def _span(low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    return NO_VALUE if low is None or high is None else f"{write(low)} to {write(high)}"
