"""A sweep and a cell as a tracker is told of them, the same for each tracker."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from eibench_ray.tracking.tracker import Delivery, Final, Progress, RunFacts, TrackedTable, Tracker
from eibench_ray.tracking.tracker_registry import open_tracker
from eibench_ray.tracking.tracking_report import TrackingReport

SECRET = "planted" + "0123456789" * 4
SWEEP = RunFacts("ab" * 16, "night", "sweep night", {"models": ["tiny"]}, 48, None, ("tiny", "demo"))
CELL = RunFacts(
    "cd" * 16,
    "night",
    "tiny (made up)/plain/demo/strict@1a2b",
    {"model": {"name": "tiny", "seed": 3, "stop": ["a", "b"]}, "asker": None, "setting": {"prompt": "p" * 7000}},
    24,
    SWEEP.key,
    ("tiny", "demo"),
)
SCORES = {"recall": 0.5, "recall/Angry": 0.25, "ci_low": 0.4, "ci_high": 0.6, "bound_ci_low": 0.3, "coverage": 0.9}
POINTS = [Progress(rows, 24, {"tokens": 10 * rows, "tokens_per_s": 2.5}) for rows in (8, 16)]
BOARD = TrackedTable(("model", "value", "ci_low", "bound_ci_low", "blocked"), [("tiny", 0.5, 0.4, 0.3, None)])


def make_picture() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((1024, 256), 60).save(buffer, "PNG")
    return buffer.getvalue()


def make_samples() -> TrackedTable:
    rows = [("s0", "an answer | <b>", 0.5, make_picture()), ("s1", "another", None, b"no picture")]
    return TrackedTable(("sample_id", "answer", "recall", "image"), rows)


def tell(tracker: Tracker, folder: Path, environ: Mapping[str, str]) -> TrackingReport:
    """The report of a tracker that is told of the cell and the sweep."""
    page = folder / "report.html"
    folder.mkdir(parents=True, exist_ok=True)
    page.write_text("<p>the page</p>")
    opened = open_tracker(tracker, folder, environ)
    for point in POINTS:
        opened.progress(CELL, point)
    opened.progress(SWEEP, Progress(24, 48, {"queue/tiny": 24, "tokens_per_s": 9.0, "tokens_per_s/tiny": 9.0}))
    opened.finish(CELL, Final(SCORES, {"samples": make_samples()}), ignore)
    opened.finish(SWEEP, Final({"cells": 1}, {"leaderboard": BOARD}, (page,), {"answer": "s3://b/steps/ab"}), ignore)
    return opened.close(120.0, print)


def ignore(delivery: Delivery) -> None:
    """Nobody is told."""


def find_bytes(folder: Path, needle: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]
