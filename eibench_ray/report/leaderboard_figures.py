"""The leaderboard's figures in words, its columns that only some sweeps have, and its notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter

from eibench_ray.benchmarks.eibench.claims import MIN_COVERAGE
from eibench_ray.benchmarks.eibench.coherence_text import describe_coherence, format_coherence
from eibench_ray.plan.step_names import ECHO, REPLAYED
from eibench_ray.report.leaderboard_row import (
    BLOCKED,
    FAILED,
    PARTIAL,
    SAME_FAMILY,
    SELF_JUDGED,
    TEXT_ONLY,
    LeaderboardRow,
)
from eibench_ray.rows.prices import format_usd
from eibench_ray.scoring.cell_score import MetricSummary

NO_VALUE = "-"


def endings_of(rows: Sequence[LeaderboardRow], *, is_file: bool) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns of how answers and replies ended, by their headings; in a file the first two are always there."""
    found: dict[str, Callable[[LeaderboardRow], int]] = {
        "truncated": attrgetter("truncated"),
        "empty": attrgetter("empty"),
        "judge truncated": attrgetter("judge_truncated"),
        "judge fallbacks": attrgetter("judge_fallbacks"),
        "calls truncated": attrgetter("calls_truncated"),
    }
    always = ("truncated", "empty", "judge truncated") if is_file else ()
    kept = {name: count for name, count in found.items() if name in always or any(map(count, rows))}
    return {name: partial(_count, count) for name, count in kept.items()}


def _count(count: Callable[[LeaderboardRow], int], row: LeaderboardRow) -> str:
    return str(count(row))


def noises_of(rows: Sequence[LeaderboardRow]) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns that only repeats of a judge fill, by their headings; none where there were none."""
    if all(row.score.noise is None for row in rows):
        return {}
    return {
        "repeat sd": lambda row: in_percent(row.score.noise.sd, 2) if row.score.noise else NO_VALUE,
        "differ %": lambda row: in_percent(row.score.noise.differ) if row.score.noise else NO_VALUE,
    }


def bills_of(rows: Sequence[LeaderboardRow]) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns that only endpoints fill, by their headings; none where there was none."""
    bills: dict[str, Callable[[LeaderboardRow], str]] = {}
    if any(row.refused for row in rows):
        bills["refused"] = lambda row: str(row.refused)
    if any(row.cost_usd is not None for row in rows):
        bills["cost $"] = lambda row: NO_VALUE if row.cost_usd is None else format_usd(row.cost_usd)
    return bills


def coherence_of(rows: Sequence[LeaderboardRow], gap: str) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns of the answers' coherence, the interval after the gap; none where it was not measured."""
    if not any(row.coherence for row in rows):
        return {}
    return {
        f"coherence{gap}{level_of(rows)} CI": lambda row: format_coherence(row.coherence, gap),
        "measured": lambda row: str(row.coherence.num_measured) if row.coherence else NO_VALUE,
    }


def notes_of(rows: Sequence[LeaderboardRow]) -> list[str]:
    """Notes for a reader of these rows."""
    if not rows:
        return ["no cell has been scored yet"]
    notes = [f"recall: mean over the samples with a verdict; {level_of(rows)} bootstrap interval, clustered by image"]
    if any(row.score.overall.is_open for row in rows):
        notes.append("coverage: share of the samples with a verdict; bounds: were every missing verdict 0, or 1")
        if any(row.score.noise for row in rows):
            notes[-1] += "; single repeats that are missing lower no coverage, but open the bounds"
    if noises := [row.score.noise for row in rows if row.score.noise]:
        times = "/".join(str(number) for number in sorted({noise.repeats for noise in noises}))
        notes.append(
            f"repeats: the judge was asked {times} times; recall: mean over the repeats; repeat sd: standard deviation "
            f"of the mean recall between repeats, in points; differ: share of the samples whose verdicts do"
        )
    if any(row.truncated or row.empty for row in rows):
        notes.append(
            "truncated: answers cut off at their limit of tokens (sampling.max_tokens); empty: answers without a word; "
            "both are judged as they are"
        )
    if any(row.judge_truncated for row in rows):
        notes.append("judge truncated: replies of the judge cut off at their limit (judge.sampling.max_tokens)")
    if any(row.judge_fallbacks for row in rows):
        notes.append("judge fallbacks: verdicts that stand in for replies none of which could be used")
    if any(row.calls_truncated for row in rows):
        notes.append("calls truncated: answers to earlier calls of the setting that were cut off at their limit")
    if any(row.is_partial for row in rows):
        notes.append(
            f"{PARTIAL}: not all samples are asked yet, or fewer than {MIN_COVERAGE:.0%} have a verdict; such rows "
            f"stand after the others"
        )
    notes += source_notes((row.answer_source, row.judge_source) for row in rows)
    if any(row.failed for row in rows):
        notes.append(f"{FAILED}: it has no figure, or lacks one that was asked for; the reason is below")
    if not all(row.sees_image for row in rows):
        notes.append(f"{TEXT_ONLY}: does not see the picture")
    if any(row.blocked for row in rows):
        notes.append(f"{BLOCKED}: what is missing cannot be asked here")
    if any(row.self_judged for row in rows):
        notes.append(f"{SELF_JUDGED}: the model judges its own answers")
    if any(row.kinship == SAME_FAMILY for row in rows):
        notes.append(f"{SAME_FAMILY}: the judge is another model of its family; `compare` shows what it favours")
    if any(row.refused for row in rows):
        notes.append("refused: answers that the endpoint refused or filtered; they are judged as they are")
    if any(row.cost_usd is not None for row in rows):
        notes.append("cost: of all requests that a cell rests on; those that cells share count in each of them")
    if measures := sorted({row.coherence.measure for row in rows if row.coherence}):
        notes.append(describe_coherence(measures))
    return notes


def level_of(rows: Iterable[LeaderboardRow]) -> str:
    """The confidence of the rows' intervals, e.g. "95%"; several are named side by side."""
    return "/".join(f"{100 * level:g}%" for level in sorted({row.score.confidence for row in rows}))


def in_percent(share: float | None, digits: int = 1) -> str:
    return NO_VALUE if share is None else f"{100 * share:.{digits}f}"


def interval_of(recall: MetricSummary, digits: int = 1) -> str:
    return _range(recall.ci_low, recall.ci_high, digits) if recall.recall is not None else NO_VALUE


def _range(low: float | None, high: float | None, digits: int = 1) -> str:
    return f"{in_percent(low, digits)}-{in_percent(high, digits)}"


def coverage_of(recall: MetricSummary) -> str:
    """In percent, rounded down: only a full coverage reads 100."""
    return f"{recall.num_scored * 1000 // recall.n / 10:.1f}"


def bounds_of(recall: MetricSummary) -> str:
    return _range(recall.bound_low, recall.bound_high) if recall.is_open else ""


def source_notes(sources: Iterable[tuple[str | None, str | None]]) -> list[str]:
    """The notes on figures that no model made here, given what gave the answers and the verdicts of each row."""
    found = {source for both in sources for source in both}
    notes = []
    if "echo" in found:
        notes.append(f"echo, or {ECHO}: words that no model said, to try a sweep out; the figures mean nothing")
    if "replay" in found:
        notes.append(f"{REPLAYED}: recorded answers, which no model was asked for here")
    return notes
