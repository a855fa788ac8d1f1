"""The leaderboard for programs: JSON values, a data frame, and the files of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eibench_ray.benchmarks.eibench.coherence_scorer import FIGURES
from eibench_ray.benchmarks.eibench.coherence_text import coherence_to_json
from eibench_ray.report.leaderboard import emotions_of, render_markdown
from eibench_ray.report.leaderboard_row import LeaderboardRow, sort_rows
from eibench_ray.report.spreadsheet import write_csv
from eibench_ray.scoring.cell_score import MetricSummary
from eibench_ray.storage.atomic_files import replacing

if TYPE_CHECKING:
    import polars as pl


def to_json_rows(rows: Iterable[LeaderboardRow]) -> list[dict[str, Any]]:
    """The rows as plain JSON values, recall in [0, 1] or null; `ci95` has the confidence that `confidence` says."""
    return [
        {
            "model": row.model,
            "setting": row.setting,
            "dataset": row.dataset,
            "judge": row.judge,
            **_json_recall(row.score.overall),
            "confidence": row.score.confidence,
            "by_emotion": {emotion: _json_recall(recall) for emotion, recall in row.score.by_emotion.items()},
            "statuses": dict(row.score.statuses),
            "parse_failures": row.score.num_unreadable,
            "errors": row.errors,
            "refused": row.refused,
            "truncated": row.truncated,
            "empty": row.empty,
            "calls_truncated": row.calls_truncated,
            "judge_truncated": row.judge_truncated,
            "judge_fallbacks": row.judge_fallbacks,
            "cost_usd": row.cost_usd,
            "coherence": coherence_to_json(row.coherence),
            "sees_image": row.sees_image,
            "self_judged": row.self_judged,
            "same_family": row.same_family,
            "repeat_noise": asdict(row.score.noise) if row.score.noise else None,
            "blocked": row.blocked,
            "failed": row.failed,
            "partial": row.is_partial,
            "answer_source": row.answer_source,
            "judge_source": row.judge_source,
        }
        for row in sort_rows(rows)
    ]


def to_frame(rows: Iterable[LeaderboardRow]) -> pl.DataFrame:
    """The leaderboard as a data frame, shares in [0, 1]; a column `recall_<emotion>` per emotion of any row."""
    import polars as pl

    ordered = sort_rows(rows)
    emotions = emotions_of(ordered)
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(("model", "setting", "dataset", "judge"), pl.String)
    schema |= dict.fromkeys(("sees_image", "self_judged", "same_family"), pl.Boolean)
    schema |= dict.fromkeys(("recall", "ci_low", "ci_high", "confidence"), pl.Float64)
    schema |= dict.fromkeys(("coverage", "bound_low", "bound_high"), pl.Float64)
    schema |= dict.fromkeys(("n", "num_scored", "parse_failures", "errors", "refused"), pl.Int64)
    schema |= dict.fromkeys(("truncated", "empty", "calls_truncated"), pl.Int64)
    schema |= dict.fromkeys(("judge_truncated", "judge_fallbacks"), pl.Int64)
    schema |= {"cost_usd": pl.Float64, "repeats": pl.Int64, "blocked": pl.String, "failed": pl.String}
    schema |= {"partial": pl.Boolean, "answer_source": pl.String, "judge_source": pl.String}
    schema |= dict.fromkeys(("repeat_sd", "repeat_differ", "repeat_variance_share", *FIGURES), pl.Float64)
    schema |= {f"recall_{emotion}": pl.Float64 for emotion in emotions}
    return pl.DataFrame([_flat(row) for row in ordered], schema=schema)


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


def _json_recall(recall: MetricSummary) -> dict[str, Any]:
    return {
        "recall": recall.recall,
        "ci95": None if recall.recall is None else [recall.ci_low, recall.ci_high],
        "coverage": recall.coverage,
        "n": recall.n,
        "num_scored": recall.num_scored,
        "bounds": [recall.bound_low, recall.bound_high],
    }


def _flat(row: LeaderboardRow) -> dict[str, Any]:
    overall, noise = row.score.overall, row.score.noise
    return {
        "model": row.model,
        "setting": row.setting,
        "dataset": row.dataset,
        "judge": row.judge,
        "sees_image": row.sees_image,
        "self_judged": row.self_judged,
        "same_family": row.same_family,
        "recall": overall.recall,
        "ci_low": overall.ci_low,
        "ci_high": overall.ci_high,
        "confidence": row.score.confidence,
        "coverage": overall.coverage,
        "bound_low": overall.bound_low,
        "bound_high": overall.bound_high,
        "n": overall.n,
        "num_scored": overall.num_scored,
        "parse_failures": row.score.num_unreadable,
        "errors": row.errors,
        "refused": row.refused,
        "truncated": row.truncated,
        "empty": row.empty,
        "calls_truncated": row.calls_truncated,
        "judge_truncated": row.judge_truncated,
        "judge_fallbacks": row.judge_fallbacks,
        "cost_usd": row.cost_usd,
        "repeats": noise.repeats if noise else 1,
        "repeat_sd": noise.sd if noise else None,
        "repeat_differ": noise.differ if noise else None,
        "repeat_variance_share": noise.variance_share if noise else None,
        **(row.coherence.figures if row.coherence else {}),
        "blocked": row.blocked,
        "failed": row.failed,
        "partial": row.is_partial,
        "answer_source": row.answer_source,
        "judge_source": row.judge_source,
        **{f"recall_{emotion}": recall.recall for emotion, recall in row.score.by_emotion.items()},
    }
