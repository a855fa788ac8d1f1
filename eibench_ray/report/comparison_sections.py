"""The comparisons of a run as tables of words: one section per question and judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from eibench_ray.plan.step_names import with_mark
from eibench_ray.report.judge_sections import section_of_calibrations, section_of_judges, section_of_preferences
from eibench_ray.report.pair_sections import MarkedPair, mark_state, section_of_pairs, sections_of_tournament
from eibench_ray.report.table_section import Section, show_span, show_value
from eibench_ray.scoring.rounding import show_coefficient, show_share

if TYPE_CHECKING:
    from eibench_ray.scoring.calibration import Calibration
    from eibench_ray.scoring.cell_comparison import CellNoise, Comparison, LengthBias
    from eibench_ray.scoring.judge_agreement import JudgePair
    from eibench_ray.scoring.scorer import Metric
    from eibench_ray.scoring.self_preference import Preference

    _OfCell = TypeVar("_OfCell", CellNoise, LengthBias)
    _OfJudges = TypeVar("_OfJudges", JudgePair, Preference, Calibration)


def to_sections(comparison: Comparison) -> Iterator[Section]:
    """The tables, in the order in which they are read."""
    level = name_level(comparison)

    def judge_on(dataset: str, judge: str) -> str:
        return with_mark(judge, comparison.judge_source(dataset, judge))

    for (_, dataset, judge), group in groupby(comparison.pairs, key=lambda pair: (pair.side, pair.dataset, pair.judge)):
        pairs = [MarkedPair.of(pair, comparison) for pair in group]
        title = f"{dataset} judged by {judge_on(dataset, judge)}, {pairs[0].pair.metric.heading}"
        yield section_of_pairs(pairs, title, level, comparison.confidence)
    for tournament in comparison.tournaments:
        yield from sections_of_tournament(tournament, comparison, level)
    panels = {(panel.dataset, panel.metric): panel for panel in comparison.panels}
    for (dataset, metric), judges in _by_metric(comparison.judges).items():
        yield section_of_judges(dataset, metric, judges, panels.get((dataset, metric)), level, judge_on)
    for (dataset, metric), calibrations in _by_metric(comparison.calibrations).items():
        yield section_of_calibrations(dataset, metric, calibrations, level, judge_on)
    for (dataset, metric), preferences in _by_metric(comparison.preferences).items():
        yield section_of_preferences(dataset, metric, preferences, level, judge_on)
    for of, title in (("judge", "Repeats"), ("model", "Repeated answers")):
        for (dataset, judge), noises in _by_judge([one for one in comparison.noises if one.of == of]).items():
            marked = _mark_cells(noises, comparison)
            yield _section_of_noises(f"{title}: {dataset} judged by {judge_on(dataset, judge)}", marked)
    for (dataset, judge), lengths in _by_judge(comparison.lengths).items():
        title = f"Length of answer and score: {dataset} judged by {judge_on(dataset, judge)}"
        yield _section_of_lengths(title, _mark_cells(lengths, comparison), level)


def _mark_cells(of_cells: Sequence[_OfCell], comparison: Comparison) -> list[tuple[str, _OfCell]]:
    """Marks of single cells, with the model's name as it is shown; partial cells after the others."""
    states = [comparison.state(one.model, one.setting, one.dataset, one.judge) for one in of_cells]
    ordered = sorted(zip(of_cells, states, strict=True), key=lambda found: found[1].is_partial)
    return [(one.model + mark_state(state), one) for one, state in ordered]


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


def _section_of_noises(title: str, noises: Sequence[tuple[str, CellNoise]]) -> Section:
    lines = tuple(
        (
            model,
            one.setting,
            str(one.noise.repeats),
            show_value(one.metric, one.noise.sd, digits=one.metric.digits + 1),
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
            show_span(one.correlation.ci_low, one.correlation.ci_high, show_coefficient),
            str(one.correlation.n),
        )
        for model, one in lengths
    )
    return Section(title, ("model", "setting", "rho", f"{level} interval", "n"), 2, lines)


def name_level(comparison: Comparison) -> str:
    """The confidence of the intervals, e.g. "95%"."""
    return f"{100 * comparison.confidence:g}%"
