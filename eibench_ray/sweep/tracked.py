"""A cell's final figures, handed to the tracker once."""

from __future__ import annotations

from itertools import islice
from pathlib import PurePath

from eibench_ray.plan.digests import digest
from eibench_ray.plan.graph import Cell
from eibench_ray.report.leaderboard import LeaderboardRow
from eibench_ray.report.tracking import SampleRow, TrackedCell, Tracker
from eibench_ray.store.files import parse_json
from eibench_ray.store.storage import Storage
from eibench_ray.sweep.listeners import tracked_cell
from eibench_ray.sweep.planning import PlannedSweep
from eibench_ray.sweep.results import Results


def track_cell(
    sweep: PlannedSweep,
    cell: Cell,
    row: LeaderboardRow,
    results: Results,
    tracker: Tracker,
) -> None:
    """Hands a cell's final scores to the tracker, once: a run that changes nothing tracks nothing."""
    scores = _flat_scores(row)
    storage, marker = sweep.store.storage, sweep.store.paths.tracked(cell.key)
    fingerprint = digest([scores, sweep.config.tracking.model_dump()])
    if _is_told(storage, marker, fingerprint):
        return
    shown = list(islice(results.join(cell), sweep.config.tracking.num_samples))
    wanted = [line.sample.sample_id for line in shown]
    images = results.dataset(cell.dataset).images(0, len(shown), wanted)
    samples = [
        SampleRow(
            sample_id=line.sample.sample_id,
            question=line.sample.question,
            emotion=line.sample.emotion,
            reference=line.sample.reference,
            answer=line.answer.text if line.answer else None,
            judge_reply=line.replies[0].text if line.replies[0] else None,
            recall=line.recall,
            image=images.get(line.sample.sample_id),
        )
        for line in shown
    ]
    tracker.finish(tracked_cell(sweep.plan, cell, row), scores, samples)
    storage.write_json(marker, {"fingerprint": fingerprint})


def track_blocked(sweep: PlannedSweep, tracker: Tracker) -> None:
    """Hands over which cells are blocked, and why: one tracked run of the sweep says it for all of them."""
    blocked = {cell.name: cell.blocked for cell in sweep.plan.cells if cell.blocked}
    key = digest([sweep.plan.sweep, "blocked", blocked])
    storage, marker = sweep.store.storage, sweep.store.paths.tracked(key)
    fingerprint = digest([key, sweep.config.tracking.model_dump()])
    if not blocked or _is_told(storage, marker, fingerprint):
        return
    cell = TrackedCell(key, sweep.plan.sweep, "blocked", {"blocked": blocked}, 0)
    tracker.finish(cell, {"cells_blocked": len(blocked)}, [])
    storage.write_json(marker, {"fingerprint": fingerprint})


def _is_told(storage: Storage, marker: PurePath, fingerprint: str) -> bool:
    known = storage.read(marker)
    return known is not None and bool(parse_json(known, storage.name(marker)).get("fingerprint") == fingerprint)


def _flat_scores(row: LeaderboardRow) -> dict[str, float | int]:
    """The figures of a cell under one name each; those that do not exist are left out."""
    overall = row.score.overall
    figures: dict[str, float | int | None] = {
        "recall": overall.recall,
        "ci_low": overall.ci_low,
        "ci_high": overall.ci_high,
        "coverage": overall.coverage,
        "n": overall.n,
        "errors": row.errors,
        "refused": row.refused or None,
        "truncated": row.truncated,
        "empty": row.empty,
        "calls_truncated": row.calls_truncated or None,
        "judge_truncated": row.judge_truncated,
        "judge_fallbacks": row.judge_fallbacks or None,
        "partial": int(row.is_partial),
        "cost_usd": row.cost_usd,
        "repeat_sd": row.score.noise.sd if row.score.noise else None,
    }
    if row.coherence:
        figures |= row.coherence.figures
    figures |= {f"recall/{emotion}": recall.recall for emotion, recall in row.score.by_emotion.items()}
    return {name: value for name, value in figures.items() if value is not None}
