"""The notes below a leaderboard: what its columns, marks and intervals mean, and what its figures lack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from eibench_ray.plan.step_names import MADE_UP, RECORDED
from eibench_ray.report.leaderboard_figures import level_of
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
from eibench_ray.scoring.cell_columns import MIN_COVERAGE
from eibench_ray.scoring.cluster_mean import FEW_CLUSTERS
from eibench_ray.scoring.metric_summary import MetricSummary
from eibench_ray.scoring.repeat_noise import RepeatNoise
from eibench_ray.scoring.rounding import NO_VALUE, show_share
from eibench_ray.scoring.scorer import ScoreStatus

# What an interval is about.
SCOPE = (
    "over pictures like these, with fresh answers and fresh verdicts of this judge; what the judge always gets wrong "
    "is not in it"
)


def notes_of(rows: Sequence[LeaderboardRow]) -> list[str]:
    """Notes for a reader of these rows."""
    if not rows:
        return ["no cell has been scored yet"]
    return [
        *_on_scores(rows),
        *_on_repeats(rows),
        *_on_juries(rows),
        *_on_endings(rows),
        *_on_marks(rows),
        *_on_endpoints(rows),
        *_on_missing_scores(rows),
    ]


def _on_scores(rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    aggregates = "/".join(sorted({one.metric.aggregate for row in rows for one in row.score.metrics}))
    yield (
        f"score: {aggregates} over the samples that have one; n: samples that were asked for; clusters: different "
        f"pictures among the scored ones, and samples without a picture"
    )
    yield f"{level_of(rows)} interval: of the mean {SCOPE}"
    intervals = [found for row in rows for found in _summaries(row)]
    if any(0 < found.num_clusters < FEW_CLUSTERS for found in intervals):
        yield (
            f"few clusters: some figures, here or of groups, rest on fewer than {FEW_CLUSTERS} of them: their "
            f"intervals are rough"
        )
    if any(found.value is not None and found.ci_low is None for found in intervals):
        yield (
            f"{NO_VALUE} for an interval: the samples are of one cluster, or their values are all the same, so that "
            f"nothing tells how sure the score is"
        )
    low = (one.metric for row in rows for one in row.score.metrics if one.metric.direction == "lower")
    yield from (f"{heading}: lower is better" for heading in dict.fromkeys(metric.heading for metric in low))
    if any(row.score.overall.is_open for row in rows):
        yield (
            f"coverage: share of the samples with a score; bounds: {level_of(rows)} interval of the mean over all "
            f"samples, were every missing score the lowest, or the highest; the interval of the score itself says "
            f"nothing of the samples without one"
        ) + (
            "; single repeats that are missing lower no coverage, but open the bounds"
            if any(row.score.noise for row in rows)
            else ""
        )


def _on_repeats(rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    if noises := [row.score.noise for row in rows if row.score.noise]:
        yield (
            f"repeats: the judge was asked {_times(noises)} times; scores: mean over the repeats; repeat sd: standard "
            f"deviation of a cell's mean between single repeats, that of the mean over all being smaller by the root "
            f"of their number; differ: share of the answers whose scores do"
        )
    if noises := [row.score.model_noise for row in rows if row.score.model_noise]:
        yield (
            f"repeated answers: each sample was asked {_times(noises)} times; scores: mean over its answers; model sd: "
            f"standard deviation of a cell's mean between single repeats; model noise: share of the variance of single "
            f"answers that lies within samples, between repeats (the judge's noise is in it)"
        )
    if any(row.score.model_noise and row.score.metric.is_binary for row in rows):
        yield (
            "pass@k: chance that one of k answers is right, over samples; majority@k: share of the samples for which "
            "what most of the answers say is right"
        )


def _times(noises: Iterable[RepeatNoise]) -> str:
    return "/".join(str(number) for number in sorted({noise.repeats for noise in noises}))


def _on_juries(rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    if juries := [(row.cell, row.agreement) for row in rows if row.agreement]:
        yield (
            "alpha: agreement of a jury's members (Krippendorff's, interval level), over the answers that at least two "
            "of them gave a score"
        )
        for cell, agreement in juries:
            for name, share in agreement.coverage.items():
                if share < 1:
                    yield f"{cell}: member {name} has a score for {show_share(share)}% of the answers"


def _on_endings(rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    if any(row.truncated or row.empty for row in rows):
        yield (
            "truncated: answers cut off at their limit of tokens (sampling.max_tokens); empty: answers without a word; "
            "both are judged as they are"
        )
    if any(row.cut_while_thinking for row in rows):
        yield (
            "cut while thinking: empty answers, since thinking used up the limit of tokens: raise sampling.max_tokens, "
            "or give the model room of its own (engine.reasoning_tokens)"
        )
    if any(row.judge_truncated for row in rows):
        yield "judge truncated: replies of the judge cut off at their limit (judge.sampling.max_tokens)"
    if any(row.judge_fallbacks for row in rows):
        yield "judge fallbacks: replies of a rule that stand in for a judge's own, none of which could be used"
    if any(row.calls_truncated for row in rows):
        yield "calls truncated: answers to earlier calls of the setting that were cut off at their limit"


def _on_marks(rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    if any(row.is_partial for row in rows):
        yield (
            f"{PARTIAL}: not all samples are asked yet, or fewer than {MIN_COVERAGE:.0%} have a score; such rows "
            f"stand after the others, and are never bold"
        )
    yield from source_notes((row.answer_source, row.judge_source) for row in rows)
    if any(row.failed for row in rows):
        yield f"{FAILED}: it has no figure, or lacks one that was asked for; the reason is below"
    if any(row.is_text_only for row in rows):
        yield f"{TEXT_ONLY}: does not see the picture"
    if any(row.blocked for row in rows):
        yield f"{BLOCKED}: what is missing cannot be asked here"
    if any(row.self_judged for row in rows):
        yield f"{SELF_JUDGED}: the model judges its own answers"
    if any(row.kinship == BASELINE_JUDGES for row in rows):
        yield f"{BASELINE_JUDGES}: it compares answers with its own, and may favour these"
    if any(row.kinship == SAME_FAMILY for row in rows):
        yield f"{SAME_FAMILY}: the judge is another model of its family; `compare` shows what it favours"


def _on_endpoints(rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    if any(row.refused for row in rows):
        yield "refused: answers that the endpoint refused or filtered; they are judged as they are"
    if any(row.cost_usd is not None for row in rows):
        yield "cost: of all requests that a cell rests on; those that cells share count in each of them"


def _on_missing_scores(rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    if any(row.score.num_unparsed and row.judge_source == "rule" for row in rows):
        yield "unparsed: answers in which the rule found nothing to score; wrong, unless judge.unparsed=missing"
    elif any(row.score.num_unparsed for row in rows):
        yield "unparsed: replies of the judge in which no score could be read; their samples have none"
    yield from (f"{row.cell}: {row.scorer_error}" for row in rows if row.scorer_error and not row.failed)
    if untargeted := sum(row.score.statuses.get(ScoreStatus.NO_TARGET, 0) for row in rows):
        yield f"{untargeted:,} samples have no target that their judge can read: they have no score"


def _summaries(row: LeaderboardRow) -> Iterator[MetricSummary]:
    """All figures of a row that have an interval."""
    for one in row.score.metrics:
        yield one.overall
    for groups in row.score.groups.values():
        yield from groups.values()


def source_notes(sources: Iterable[tuple[str | None, str | None]]) -> list[str]:
    """The notes on figures that no model made here, given what gave the answers and the judge's replies of each row."""
    found = {source for both in sources for source in both}
    notes = []
    if "made_up" in found:
        notes.append(f"{MADE_UP}: words that no model said, to try a sweep out; the figures mean nothing")
    if "recorded" in found:
        notes.append(f"{RECORDED}: answers from a file, which no model was asked for here")
    return notes
