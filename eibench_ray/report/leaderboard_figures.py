"""The leaderboard's figures in words, its columns that only some sweeps have, and its notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from eibench_ray.plan.step_names import MADE_UP, RECORDED
from eibench_ray.report.leaderboard_row import (
    BASELINE_JUDGES,
    BLOCKED,
    FAILED,
    PARTIAL,
    SAME_FAMILY,
    SELF_JUDGED,
    TEXT_ONLY,
    LeaderboardRow,
)
from eibench_ray.rows.prices import format_usd
from eibench_ray.scoring.cell_columns import MIN_COVERAGE
from eibench_ray.scoring.cluster_mean import FEW_CLUSTERS
from eibench_ray.scoring.metric_summary import MetricSummary
from eibench_ray.scoring.repeat_noise import RepeatNoise
from eibench_ray.scoring.rounding import NO_VALUE, digits_for, show_coefficient, show_interval, show_share
from eibench_ray.scoring.sample_groups import order_groups
from eibench_ray.scoring.scorer import Metric, ScoreStatus

# What an interval is about.
SCOPE = (
    "over pictures like these, with fresh answers and fresh verdicts of this judge; what the judge always gets wrong "
    "is not in it"
)


def endings_of(rows: Sequence[LeaderboardRow], *, is_file: bool) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns of how answers and replies ended, by their headings; in a file the first three are always there."""
    found: dict[str, Callable[[LeaderboardRow], int]] = {
        "truncated": attrgetter("truncated"),
        "empty": attrgetter("empty"),
        "cut while thinking": attrgetter("cut_while_thinking"),
        "judge truncated": attrgetter("judge_truncated"),
        "judge fallbacks": attrgetter("judge_fallbacks"),
        "calls truncated": attrgetter("calls_truncated"),
    }
    kept = {name for name, count in found.items() if any(map(count, rows))}
    if is_file:
        kept |= {"truncated", "empty", "judge truncated"}
    elif kept & {"truncated", "empty"}:  # a terminal has one below the other
        kept |= {"truncated", "empty"}
    return {name: partial(_count, count) for name, count in found.items() if name in kept}


def _count(count: Callable[[LeaderboardRow], int], row: LeaderboardRow) -> str:
    return str(count(row))


def noises_of(rows: Sequence[LeaderboardRow]) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns that only repeats of a judge or of a model fill, by their headings; none where there were none."""
    noises: dict[str, Callable[[LeaderboardRow], str]] = {}
    if any(row.score.noise for row in rows):
        noises |= {
            "repeat sd": lambda row: _show_sd(row, row.score.noise),
            "differ %": lambda row: show_share(row.score.noise.differ) if row.score.noise else NO_VALUE,
        }
    if any(row.score.model_noise for row in rows):
        noises |= {
            "model sd": lambda row: _show_sd(row, row.score.model_noise),
            "model noise %": lambda row: (
                show_share(row.score.model_noise.variance_share) if row.score.model_noise else NO_VALUE
            ),
        }
    return noises


def _show_sd(row: LeaderboardRow, noise: RepeatNoise | None) -> str:
    return show(row.score.metric, noise.sd if noise else None, row.score.metric.digits + 1)


def agreement_of(rows: Sequence[LeaderboardRow]) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The column that only juries fill, by its heading; none where there was none."""
    if all(row.agreement is None for row in rows):
        return {}
    return {"alpha": lambda row: show_coefficient(row.agreement and row.agreement.alpha)}


def bills_of(rows: Sequence[LeaderboardRow]) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns that only endpoints fill, by their headings; none where there was none."""
    bills: dict[str, Callable[[LeaderboardRow], str]] = {}
    if any(row.refused for row in rows):
        bills["refused"] = lambda row: str(row.refused)
    if any(row.cost_usd is not None for row in rows):
        bills["cost $"] = lambda row: NO_VALUE if row.cost_usd is None else format_usd(row.cost_usd)
    return bills


def further_of(rows: Iterable[LeaderboardRow]) -> list[Metric]:
    """The metrics beside the headline."""
    return list(dict.fromkeys(one.metric for row in rows for one in row.score.metrics[1:]))


def mean_of(row: LeaderboardRow, metric: Metric) -> MetricSummary | None:
    """A further metric over all samples; None where the row's judge has no such metric."""
    return next((one.overall for one in row.score.metrics[1:] if one.metric == metric), None)


@dataclass(frozen=True, slots=True)
class GroupColumn:
    """The samples of one value of a column."""

    column: str
    name: str
    heading: str  # the value, with its column where rows are grouped by several
    means: tuple[MetricSummary | None, ...]  # the headline over them, of each row; None where it has no such sample

    @property
    def n(self) -> str:
        """The number of such samples; several are named side by side."""
        return "/".join(str(number) for number in sorted({mean.n for mean in self.means if mean}))


def groups_of(rows: Sequence[LeaderboardRow]) -> list[GroupColumn]:
    """The groups that any row has."""
    names: dict[str, set[str]] = {}
    for row in rows:
        for column, groups in row.score.groups.items():
            names.setdefault(column, set()).update(groups)
    return [
        GroupColumn(
            column,
            name,
            name if len(names) == 1 else f"{column}: {name}",
            tuple(row.score.groups.get(column, {}).get(name) for row in rows),
        )
        for column in sorted(names)
        for name in order_groups(names[column])
    ]


def notes_of(rows: Sequence[LeaderboardRow]) -> list[str]:
    """Notes for a reader of these rows."""
    if not rows:
        return ["no cell has been scored yet"]
    aggregates = "/".join(sorted({one.metric.aggregate for row in rows for one in row.score.metrics}))
    notes = [
        f"score: {aggregates} over the samples that have one; n: samples that were asked for; clusters: different "
        f"pictures among the scored ones, and samples without a picture",
        f"{level_of(rows)} interval: of the mean {SCOPE}",
    ]
    intervals = [found for row in rows for found in _summaries(row)]
    if any(0 < found.num_clusters < FEW_CLUSTERS for found in intervals):
        notes.append(
            f"few clusters: some figures, here or of groups, rest on fewer than {FEW_CLUSTERS} of them: their "
            f"intervals are rough"
        )
    if any(found.value is not None and found.ci_low is None for found in intervals):
        notes.append(
            f"{NO_VALUE} for an interval: the samples are of one cluster, or their values are all the same, so that "
            f"nothing tells how sure the score is"
        )
    notes += [
        f"{heading}: lower is better"
        for heading in dict.fromkeys(
            one.metric.heading for row in rows for one in row.score.metrics if one.metric.direction == "lower"
        )
    ]
    if any(row.score.overall.is_open for row in rows):
        notes.append(
            f"coverage: share of the samples with a score; bounds: {level_of(rows)} interval of the mean over all "
            f"samples, were every missing score the lowest, or the highest; the interval of the score itself says "
            f"nothing of the samples without one"
        )
        if any(row.score.noise for row in rows):
            notes[-1] += "; single repeats that are missing lower no coverage, but open the bounds"
    if noises := [row.score.noise for row in rows if row.score.noise]:
        times = "/".join(str(number) for number in sorted({noise.repeats for noise in noises}))
        notes.append(
            f"repeats: the judge was asked {times} times; scores: mean over the repeats; repeat sd: standard deviation "
            f"of a cell's mean between single repeats, that of the mean over all being smaller by the root of their "
            f"number; differ: share of the answers whose scores do"
        )
    if noises := [row.score.model_noise for row in rows if row.score.model_noise]:
        times = "/".join(str(number) for number in sorted({noise.repeats for noise in noises}))
        notes.append(
            f"repeated answers: each sample was asked {times} times; scores: mean over its answers; model sd: standard "
            f"deviation of a cell's mean between single repeats; model noise: share of the variance of single answers "
            f"that lies within samples, between repeats (the judge's noise is in it)"
        )
    if any(row.score.model_noise and row.score.metric.is_binary for row in rows):
        notes.append(
            "pass@k: chance that one of k answers is right, over samples; majority@k: share of the samples for which "
            "what most of the answers say is right"
        )
    if juries := [row for row in rows if row.agreement]:
        notes.append(
            "alpha: agreement of a jury's members (Krippendorff's, interval level), over the answers that at least two "
            "of them gave a score"
        )
        notes += [
            f"{row.cell}: member {name} has a score for {show_share(share)}% of the answers"
            for row in juries
            if row.agreement
            for name, share in row.agreement.coverage.items()
            if share < 1
        ]
    if any(row.truncated or row.empty for row in rows):
        notes.append(
            "truncated: answers cut off at their limit of tokens (sampling.max_tokens); empty: answers without a word; "
            "both are judged as they are"
        )
    if any(row.cut_while_thinking for row in rows):
        notes.append(
            "cut while thinking: empty answers, since thinking used up the limit of tokens: raise sampling.max_tokens, "
            "or give the model room of its own (engine.reasoning_tokens)"
        )
    if any(row.judge_truncated for row in rows):
        notes.append("judge truncated: replies of the judge cut off at their limit (judge.sampling.max_tokens)")
    if any(row.judge_fallbacks for row in rows):
        notes.append("judge fallbacks: replies of a rule that stand in for a judge's own, none of which could be used")
    if any(row.calls_truncated for row in rows):
        notes.append("calls truncated: answers to earlier calls of the setting that were cut off at their limit")
    if any(row.is_partial for row in rows):
        notes.append(
            f"{PARTIAL}: not all samples are asked yet, or fewer than {MIN_COVERAGE:.0%} have a score; such rows "
            f"stand after the others, and are never bold"
        )
    notes += source_notes((row.answer_source, row.judge_source) for row in rows)
    if any(row.failed for row in rows):
        notes.append(f"{FAILED}: it has no figure, or lacks one that was asked for; the reason is below")
    if any(row.is_text_only for row in rows):
        notes.append(f"{TEXT_ONLY}: does not see the picture")
    if any(row.blocked for row in rows):
        notes.append(f"{BLOCKED}: what is missing cannot be asked here")
    if any(row.self_judged for row in rows):
        notes.append(f"{SELF_JUDGED}: the model judges its own answers")
    if any(row.kinship == BASELINE_JUDGES for row in rows):
        notes.append(f"{BASELINE_JUDGES}: it compares answers with its own, and may favour these")
    if any(row.kinship == SAME_FAMILY for row in rows):
        notes.append(f"{SAME_FAMILY}: the judge is another model of its family; `compare` shows what it favours")
    if any(row.refused for row in rows):
        notes.append("refused: answers that the endpoint refused or filtered; they are judged as they are")
    if any(row.cost_usd is not None for row in rows):
        notes.append("cost: of all requests that a cell rests on; those that cells share count in each of them")
    if any(row.score.num_unparsed and row.judge_source == "rule" for row in rows):
        notes.append("unparsed: answers in which the rule found nothing to score; wrong, unless judge.unparsed=missing")
    elif any(row.score.num_unparsed for row in rows):
        notes.append("unparsed: replies of the judge in which no score could be read; their samples have none")
    notes += [f"{row.cell}: {row.scorer_error}" for row in rows if row.scorer_error and not row.failed]
    if untargeted := sum(row.score.statuses.get(ScoreStatus.NO_TARGET, 0) for row in rows):
        notes.append(f"{untargeted:,} samples have no target that their judge can read: they have no score")
    return notes


def _summaries(row: LeaderboardRow) -> Iterator[MetricSummary]:
    """All figures of a row that have an interval."""
    for one in row.score.metrics:
        yield one.overall
    for groups in row.score.groups.values():
        yield from groups.values()


def level_of(rows: Iterable[LeaderboardRow]) -> str:
    """The confidence of the rows' intervals, e.g. "95%"; several are named side by side."""
    return "/".join(f"{100 * level:g}%" for level in sorted({row.score.confidence for row in rows}))


def show(metric: Metric, value: float | None, digits: int | None = None) -> str:
    """A value as its metric is written; a dash where there is none."""
    return NO_VALUE if value is None else metric.show(value, digits=digits)


@dataclass(frozen=True, slots=True)
class ShownMean:
    """A mean in words, all figures with the digits of its column."""

    value: str
    interval: str
    bounds: str  # with their sampling error; empty where no value is missing


def show_means(metric: Metric, means: Sequence[MetricSummary | None]) -> list[ShownMean]:
    """The means of one column in words; of one that a row does not have, empty ones."""
    digits = digits_for(metric, [(mean.ci_low, mean.ci_high) for mean in means if mean])
    return [
        ShownMean(
            show(metric, mean.value, digits),
            show_interval(metric, mean.ci_low, mean.ci_high, digits=digits),
            show_interval(metric, mean.bound_ci_low, mean.bound_ci_high, digits=digits) if mean.is_open else "",
        )
        if mean
        else ShownMean("", "", "")
        for mean in means
    ]


def source_notes(sources: Iterable[tuple[str | None, str | None]]) -> list[str]:
    """The notes on figures that no model made here, given what gave the answers and the judge's replies of each row."""
    found = {source for both in sources for source in both}
    notes = []
    if "made_up" in found:
        notes.append(f"{MADE_UP}: words that no model said, to try a sweep out; the figures mean nothing")
    if "recorded" in found:
        notes.append(f"{RECORDED}: answers from a file, which no model was asked for here")
    return notes
