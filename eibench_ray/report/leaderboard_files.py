"""The leaderboard for programs: JSON values, a data frame, and the files of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eibench_ray.report.leaderboard import render_markdown
from eibench_ray.report.leaderboard_row import LeaderboardRow, sort_rows
from eibench_ray.report.spreadsheet import write_csv
from eibench_ray.scoring.cell_score import MetricScore
from eibench_ray.scoring.metric_summary import MetricSummary
from eibench_ray.storage.atomic_files import replacing

if TYPE_CHECKING:
    import polars as pl


def to_json_rows(rows: Iterable[LeaderboardRow]) -> list[dict[str, Any]]:
    """The rows as plain JSON values in their metric's unit; `ci95` has the confidence that `confidence` says.

    `ci95` is of `value`, so of the scored samples. `bounds` is the mean over all samples were every missing score the
    lowest, or the highest, and `bounds_interval` those bounds with their sampling error: see `MetricSummary`.
    """
    return [
        {
            "model": row.model,
            "setting": row.setting,
            "dataset": row.dataset,
            "judge": row.judge,
            **_json_metric(row.score.metrics[0]),
            "confidence": row.score.confidence,
            **_json_further(row.score.metrics),
            "statuses": dict(row.score.statuses),
            "unparsed": row.score.num_unparsed,
            "errors": row.errors,
            "refused": row.refused,
            "truncated": row.truncated,
            "empty": row.empty,
            "cut_while_thinking": row.cut_while_thinking,
            "calls_truncated": row.calls_truncated,
            "judge_truncated": row.judge_truncated,
            "judge_fallbacks": row.judge_fallbacks,
            "cost_usd": row.cost_usd,
            "mean_logprob": row.mean_logprob,
            "sees_image": row.sees_image,
            "self_judged": row.self_judged,
            "same_family": row.same_family,
            "baseline_judges": row.baseline_judges,
            "agreement": asdict(row.agreement) if row.agreement else None,
            "repeat_noise": asdict(row.score.noise) if row.score.noise else None,
            "model_noise": asdict(row.score.model_noise) if row.score.model_noise else None,
            "blocked": row.blocked,
            "failed": row.failed,
            "scorer_error": row.scorer_error,
            "partial": row.is_partial,
            "answer_source": row.answer_source,
            "judge_source": row.judge_source,
        }
        for row in sort_rows(rows)
    ]


def to_frame(rows: Iterable[LeaderboardRow]) -> pl.DataFrame:
    """The leaderboard as a data frame, scores in their metric's unit.

    There is a column `level=hard` per group of any row, `metric_NAME` per metric beside the headline, and the other
    figures of each, such as `level=hard:n` and `metric_NAME_n`.
    """
    import polars as pl

    ordered = sort_rows(rows)
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(("model", "setting", "dataset", "judge"), pl.String)
    schema |= dict.fromkeys(("sees_image", "self_judged", "same_family", "baseline_judges"), pl.Boolean)
    schema |= {"metric": pl.String}
    schema |= dict.fromkeys(("value", "ci_low", "ci_high", "confidence"), pl.Float64)
    schema |= dict.fromkeys(("coverage", "bound_low", "bound_high", "bound_ci_low", "bound_ci_high"), pl.Float64)
    schema |= dict.fromkeys(("n", "scored", "clusters", "unparsed", "errors", "refused"), pl.Int64)
    schema |= dict.fromkeys(("truncated", "empty", "cut_while_thinking", "calls_truncated"), pl.Int64)
    schema |= dict.fromkeys(("judge_truncated", "judge_fallbacks"), pl.Int64)
    schema |= {
        "cost_usd": pl.Float64,
        "mean_logprob": pl.Float64,
        "repeats": pl.Int64,
        "blocked": pl.String,
        "failed": pl.String,
    }
    schema |= {"partial": pl.Boolean, "answer_source": pl.String, "judge_source": pl.String}
    schema |= {"agreement_n": pl.Int64, "agreement_alpha": pl.Float64}
    schema |= dict.fromkeys(("repeat_sd", "repeat_differ", "repeat_variance_share"), pl.Float64)
    schema |= {"model_repeats": pl.Int64}
    schema |= dict.fromkeys(("model_sd", "model_differ", "model_variance_share"), pl.Float64)
    flat = [_flat(row) for row in ordered]
    known = schema.keys()
    further = {name: value for line in flat for name, value in line.items() if name not in known}
    schema |= {name: pl.Int64 if isinstance(value, int) else pl.Float64 for name, value in further.items()}
    return pl.DataFrame(flat, schema=schema)


def write_leaderboard(rows: Iterable[LeaderboardRow], folder: Path) -> list[Path]:
    """The files written: leaderboard.md, .csv and .parquet, each under a draft's name first, then renamed.

    Raises:
        StoreError: the folder cannot be written.
    """
    ordered = sort_rows(rows)
    markdown, frame = render_markdown(ordered), to_frame(ordered)
    writers: dict[str, Callable[[Path], object]] = {
        "leaderboard.md": lambda path: path.write_text(markdown, encoding="utf-8"),
        "leaderboard.csv": lambda path: write_csv(frame, path),
        "leaderboard.parquet": partial(_write_parquet, frame),
    }
    with ExitStack() as drafts:  # all of them are written before the first one takes its place
        for name, write in writers.items():
            write(drafts.enter_context(replacing(folder / name)))
    return [folder / name for name in writers]


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Writes a frame by Python's own means, whose errors say what is wrong with a disk."""
    content = BytesIO()
    frame.write_parquet(content)
    path.write_bytes(content.getvalue())


def _json_metric(one: MetricScore) -> dict[str, Any]:
    return {
        "metric": one.metric.name,
        **_json_summary(one.overall),
        "groups": {
            column: {name: _json_summary(found) for name, found in groups.items()}
            for column, groups in one.groups.items()
        },
    }


def _json_further(metrics: tuple[MetricScore, ...]) -> dict[str, Any]:
    """All metrics by their names, where there is more than the headline."""
    return {"metrics": {one.metric.name: _json_metric(one) for one in metrics}} if len(metrics) > 1 else {}


def _json_summary(found: MetricSummary) -> dict[str, Any]:
    return {
        "value": found.value,
        "ci95": _pair(found.ci_low, found.ci_high),
        "coverage": found.coverage,
        "n": found.n,
        "scored": found.num_scored,
        "clusters": found.num_clusters,
        "bounds": [found.bound_low, found.bound_high],
        "bounds_interval": _pair(found.bound_ci_low, found.bound_ci_high),
    }


def _pair(low: float | None, high: float | None) -> list[float] | None:
    return None if low is None or high is None else [low, high]


def _flat(row: LeaderboardRow) -> dict[str, Any]:
    overall, noise, model_noise = row.score.overall, row.score.noise, row.score.model_noise
    return {
        "model": row.model,
        "setting": row.setting,
        "dataset": row.dataset,
        "judge": row.judge,
        "sees_image": row.sees_image,
        "self_judged": row.self_judged,
        "same_family": row.same_family,
        "baseline_judges": row.baseline_judges,
        "metric": row.score.metric.name,
        **overall.figures,
        "confidence": row.score.confidence,
        "bound_low": overall.bound_low,
        "bound_high": overall.bound_high,
        "bound_ci_low": overall.bound_ci_low,
        "bound_ci_high": overall.bound_ci_high,
        "unparsed": row.score.num_unparsed,
        "errors": row.errors,
        "refused": row.refused,
        "truncated": row.truncated,
        "empty": row.empty,
        "cut_while_thinking": row.cut_while_thinking,
        "calls_truncated": row.calls_truncated,
        "judge_truncated": row.judge_truncated,
        "judge_fallbacks": row.judge_fallbacks,
        "cost_usd": row.cost_usd,
        "mean_logprob": row.mean_logprob,
        "repeats": noise.repeats if noise else 1,
        "repeat_sd": noise.sd if noise else None,
        "repeat_differ": noise.differ if noise else None,
        "repeat_variance_share": noise.variance_share if noise else None,
        "model_repeats": model_noise.repeats if model_noise else 1,
        "model_sd": model_noise.sd if model_noise else None,
        "model_differ": model_noise.differ if model_noise else None,
        "model_variance_share": model_noise.variance_share if model_noise else None,
        "agreement_n": row.agreement.n if row.agreement else None,
        "agreement_alpha": row.agreement.alpha if row.agreement else None,
        "blocked": row.blocked,
        "failed": row.failed,
        "partial": row.is_partial,
        "answer_source": row.answer_source,
        "judge_source": row.judge_source,
        **{
            key: value
            for column, groups in sorted(row.score.groups.items())
            for name, found in groups.items()
            for key, value in name_figures(f"{column}={name}", found, ":").items()
        },
        **{
            key: value
            for one in row.score.metrics[1:]
            for key, value in name_figures(f"metric_{one.metric.name}", one.overall).items()
        },
    }


def name_figures(name: str, found: MetricSummary, joint: str = "_") -> dict[str, float | None]:
    """The value under this name, and the figures that belong to it, e.g. `NAME_ci_low`."""
    return {name if key == "value" else f"{name}{joint}{key}": value for key, value in found.figures.items()}
