"""Cells, figures and metrics in the words of a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from eibench_ray.report.leaderboard_row import TEXT_ONLY, LeaderboardRow
from eibench_ray.scoring.metric_summary import MetricSummary
from eibench_ray.scoring.rounding import show_interval
from eibench_ray.scoring.scorer import Metric
from eibench_ray.visible_text import in_line

_PARTS: Sequence[Callable[[LeaderboardRow], str]] = (
    lambda row: " ".join([row.model, *(mark for mark in row.marks if mark != TEXT_ONLY)]),
    lambda row: row.setting,
    lambda row: row.dataset,
    lambda row: row.judge_and_mark,
)


def label_cells(rows: Sequence[LeaderboardRow]) -> list[str]:
    """The rows' names, without the parts that are the same in all of them: `llava_13b, captioned`."""
    names = drop_common([tuple(read(row) for read in _PARTS) for row in rows])
    return [in_line(", ".join(parts)) for parts in names]


def drop_common(names: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The names without the parts that are the same in all of them; the first stays where nothing else would.

    >>> drop_common([("llava", "plain", "mmmu"), ("llava", "captioned", "mmmu")])
    [('plain',), ('captioned',)]
    """
    varying = [place for place, parts in enumerate(zip(*names, strict=True)) if len(set(parts)) > 1] or [0]
    return [tuple(parts[place] for place in varying) for parts in names]


def by_table(rows: Iterable[LeaderboardRow]) -> dict[tuple[str, str, Metric], list[LeaderboardRow]]:
    """The rows with a figure, by dataset, judge and headline: those whose figures can be compared."""
    tables: dict[tuple[str, str, Metric], list[LeaderboardRow]] = {}
    for row in rows:
        if row.score.overall.value is not None:
            tables.setdefault((row.dataset, row.judge_and_mark, row.score.metric), []).append(row)
    return tables


def name_table(dataset: str, judge: str, tables: Iterable[tuple[str, str, Metric]]) -> str:
    """The dataset and the judge, as far as several tables need them to be told apart: ` on mmmu, judged by strict`."""
    datasets, judges = ({table[place] for table in tables} for place in (0, 1))
    words = [f"on {dataset}"] * (len(datasets) > 1) + [f"judged by {judge}"] * (len(judges) > 1)
    return in_line(f" {', '.join(words)}") if words else ""


def counted(number: int, noun: str) -> str:
    """A number and what is counted: `1 cell`, `1,200 cells`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def title_axis(metric: Metric) -> str:
    """A metric as an axis has it: its name, its unit, and which way is better where that is down."""
    return in_line(f"{metric.heading} (lower is better)" if metric.direction == "lower" else metric.heading)


def scaled(metric: Metric, value: float) -> float:
    """A value as it is drawn: a share in percent."""
    return round(value * (100 if metric.is_percent else 1), 6)


def show_figure(metric: Metric, found: MetricSummary) -> str:
    """A value with its interval: `43.2 (39.1 to 47.5)`."""
    assert found.value is not None
    return show_value(metric, found.value, found.ci_low, found.ci_high)


def show_value(metric: Metric, value: float, low: float | None, high: float | None, sign: str = "") -> str:
    """A value, or with a sign a difference, and its interval where there is one."""
    interval = "" if low is None or high is None else f" ({show_interval(metric, low, high, sign)})"
    return f"{metric.show(value, sign)}{interval}"
