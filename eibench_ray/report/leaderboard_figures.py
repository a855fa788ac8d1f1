"""The leaderboard's figures in words, and its columns that only some sweeps have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from eibench_ray.report.leaderboard_row import (
    LeaderboardRow,
)
from eibench_ray.rows.prices import format_usd
from eibench_ray.scoring.metric_summary import MetricSummary
from eibench_ray.scoring.repeat_noise import RepeatNoise
from eibench_ray.scoring.rounding import NO_VALUE, digits_for, show_coefficient, show_interval, show_share
from eibench_ray.scoring.sample_groups import order_groups
from eibench_ray.scoring.scorer import Metric


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
