"""Tables of pairs of cells, and of the strengths that follow from comparing answers with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eibench_ray.plan.graph import join_sources
from eibench_ray.plan.step_names import mark_of, with_mark
from eibench_ray.report.leaderboard_row import PARTIAL
from eibench_ray.report.table_section import Section, show_difference, show_p_value, show_value
from eibench_ray.scoring.paired_tests import is_below
from eibench_ray.scoring.rounding import NO_VALUE, digits_for

if TYPE_CHECKING:
    from eibench_ray.scoring.cell_comparison import CellState, ComparedPair, Comparison
    from eibench_ray.scoring.cluster_mean import Interval
    from eibench_ray.scoring.tournament import Tournament

SELF_JUDGED = "*"  # after a name: "(self-judged)" beside two names leaves no room for the figures


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
            f"{SELF_JUDGED * is_self}{mark_state(state)}"
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


def mark_state(state: CellState) -> str:
    """Mark beside a model's name."""
    marks = (mark_of(state.answer_source), PARTIAL if state.is_partial else "")
    return "".join(f" {mark}" for mark in marks if mark)


def section_of_pairs(pairs: Sequence[MarkedPair], title: str, level: str, confidence: float) -> Section:
    """Pairs of one question; those that can be compared come first."""
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
            show_value(metric, pair.pair.paired.first, digits=digits),
            show_value(metric, pair.pair.paired.second, digits=digits),
            *show_difference(metric, pair.pair.paired, digits),
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


def sections_of_tournament(tournament: Tournament, comparison: Comparison, level: str) -> Iterator[Section]:
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
    return name + max(map(mark_state, states), key=len, default="")
