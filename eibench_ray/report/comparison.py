"""The comparisons of a run as terminal tables and as Markdown.

Terminal and Markdown show the same sections: words first, then figures, in percent and points where they are recalls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from eibench_ray.report.comparison_values import to_json
from eibench_ray.report.markdown import format_table
from eibench_ray.store.files import replacing, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from eibench_ray.score.agreement import JudgePair, JudgePanel
    from eibench_ray.score.comparison import ComparedPair, Comparison, JudgeNoise, LengthBias
    from eibench_ray.score.preference import Preference

    _OfCell = TypeVar("_OfCell", JudgeNoise, LengthBias)

_NO_VALUE = "-"
_MUTUAL = "+"
_SELF_JUDGED = "*"  # after a name: "(self-judged)" beside two names leaves no room for the figures


@dataclass(frozen=True, slots=True)
class _Section:
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


def render_comparison(comparison: Comparison) -> Table:
    """The comparisons for a terminal of 110 columns or more, the notes below."""
    from rich.table import Table
    from rich.text import Text

    page = Table.grid()
    for section in _sections(comparison):
        page.add_row(Text(section.title, style="bold"))
        page.add_row(_render_section(section))
        page.add_row()
    for note in _notes(comparison):
        page.add_row(Text(note, style="dim"))
    return page


def render_comparison_markdown(comparison: Comparison) -> str:
    """The comparisons as GitHub Markdown with their notes, ending in a newline."""
    lines = ["# Comparisons", ""]
    for section in _sections(comparison):
        head = [heading.replace("\n", " ") for heading in section.head]
        lines += [f"## {section.title}", "", *format_table([head, *section.lines], section.num_words), ""]
    return "\n".join([*lines, *(f"- {note}" for note in _notes(comparison)), ""])


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """The files written: compare.md and compare.json, each whole or not at all.

    Raises:
        StoreError: the folder cannot be written.
    """
    markdown, values = folder / "compare.md", folder / "compare.json"
    with replacing(markdown) as draft:
        draft.write_text(render_comparison_markdown(comparison), encoding="utf-8")
    write_json(values, to_json(comparison))
    return [markdown, values]


def _render_section(section: _Section) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(section.head):
        is_word = number < section.num_words
        table.add_column(Text(heading), justify="left" if is_word else "right", overflow="fold", no_wrap=not is_word)
    for number, line in enumerate(section.lines):
        table.add_row(*map(Text, line), style="bold" if number in section.strong else "")
    return table


def _sections(comparison: Comparison) -> Iterator[_Section]:
    level = _level(comparison)
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


def _section_of_pairs(pairs: Sequence[ComparedPair], level: str, alpha: float) -> _Section:
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
    return _Section(
        f"{side.capitalize()}s: {pairs[0].dataset} judged by {pairs[0].judge}",
        (shared, "first", "second", "first\n%", "second\n%", "diff.", f"{level} interval", "p", "p\n(Holm)", "n"),
        3,
        lines,
        frozenset(n for n, pair in enumerate(ordered) if pair.p_holm is not None and pair.p_holm < alpha),
    )


def _names(pair: ComparedPair) -> tuple[str, str, str]:
    """What a pair shares and what differs; the model is marked where it is its own judge."""
    first, second = _SELF_JUDGED * pair.first_self_judged, _SELF_JUDGED * pair.second_self_judged
    if pair.side == "setting":
        return pair.within + (first or second), pair.first, pair.second
    return pair.within, pair.first + first, pair.second + second


def _section_of_judges(dataset: str, pairs: Sequence[JudgePair], panel: JudgePanel | None, level: str) -> _Section:
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
        blank = (_NO_VALUE,) * 4
        lines.append((f"all {len(panel.judges)}", "", _NO_VALUE, str(panel.n), _coefficient(panel.alpha), *blank))
    head = ("first", "second", "cells", "n", "alpha", "rho\nsamples", "rho\ncells", "bias", f"{level} interval")
    return _Section(f"Judges: {dataset}", head, 2, tuple(lines))


def _section_of_preferences(dataset: str, preferences: Sequence[Preference], level: str) -> _Section:
    lines = tuple(
        (
            one.judge,
            one.against,
            one.family or _NO_VALUE,
            str(len(one.own)),
            f"{len(one.others)}{_MUTUAL * one.is_mutual}",
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
    return _Section(f"Judges and their own family: {dataset}", head, 3, lines)


def _section_of_noises(title: str, noises: Sequence[JudgeNoise]) -> _Section:
    lines = tuple(
        (
            one.model,
            one.setting,
            str(one.noise.repeats),
            _NO_VALUE if one.noise.sd is None else f"{100 * one.noise.sd:.2f}",
            _percent(one.noise.differ),
            _percent(one.noise.variance_share),
            str(one.noise.n),
        )
        for one in noises
    )
    return _Section(title, ("model", "setting", "repeats", "sd", "differ\n%", "noise\n%", "n"), 2, lines)


def _section_of_lengths(title: str, lengths: Sequence[LengthBias], level: str) -> _Section:
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
    return _Section(title, ("model", "setting", "rho", f"{level} interval", "n"), 2, lines)


def _notes(comparison: Comparison) -> list[str]:
    """What a reader of these tables must know."""
    level = _level(comparison)
    notes = ["n: samples that both sides have; no others are compared"]
    if comparison.pairs:
        notes += [
            f"diff.: recall of the first minus that of the second, in points; {level} bootstrap interval, clustered by "
            f"image",
            "p: sign-flip test, clustered by image; p (Holm): adjusted for all lines of its table, so that the chance "
            f"of any line below {1 - comparison.confidence:.2g} (bold) without a true difference is at most that",
        ]
    else:
        notes.append(
            "no pair is compared: it takes two models in one setting, or two settings of one model, on one dataset "
            "under one judge"
        )
    if any(pair.first_self_judged or pair.second_self_judged for pair in comparison.pairs):
        notes.append(f"{_SELF_JUDGED}: self-judged, the model judges its own answers")
    if comparison.judges:
        notes += [
            "alpha: Krippendorff's, interval level, over samples; rho: Spearman's, of the two recalls of each sample, "
            "and of the two means of each cell",
            f"bias: recall by the first judge minus that by the second, in points; {level} interval, clustered by "
            f"image",
        ]
    else:
        notes.append("no two judges graded the same answers: agreement is not known")
    if comparison.preferences:
        notes.append(
            "own family: bias against the other judge on the answers of the judge's own family, or of itself, minus "
            "that on others' answers; positive where it favours its own; p: sign-flip test, not adjusted"
        )
    if any(one.is_mutual for one in comparison.preferences):
        notes.append(f"{_MUTUAL}: the others are the other judge's own family, whose preference is in the figure, too")
    if comparison.noises:
        notes.append(
            "repeats: the same judge again, with other seeds; sd: standard deviation of the mean recall between "
            "repeats, in points; differ: share of the samples whose verdicts do; noise: share of the variance of "
            "single verdicts that lies within samples (1 - ICC)"
        )
    return [
        *notes,
        "length: Spearman's rho of recall and the answer's number of words, clustered by image; an answer that names "
        "more causes is longer, too: rho alone is no proof of a bias",
        f"{_NO_VALUE}: cannot be said (no sample; fewer than two pictures for an interval; fewer than three samples or "
        "equal values only for rho; equal values only for alpha)",
    ]


def _level(comparison: Comparison) -> str:
    return f"{100 * comparison.confidence:g}%"


def _percent(share: float | None) -> str:
    return _NO_VALUE if share is None else f"{100 * share:.1f}"


def _points(difference: float | None) -> str:
    return _NO_VALUE if difference is None else f"{100 * difference:+.1f}"


def _coefficient(value: float | None) -> str:
    return _NO_VALUE if value is None else f"{value:+.2f}"


def _chance(p_value: float | None) -> str:
    if p_value is None:
        return _NO_VALUE
    return "<0.0001" if p_value < 0.0001 else f"{p_value:.4f}"


def _span(low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    return _NO_VALUE if low is None or high is None else f"{write(low)} to {write(high)}"
