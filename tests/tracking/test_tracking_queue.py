"""The queue of what a tracker is told, with trackers of the tests' own."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eibench_ray.errors import ConfigError
from eibench_ray.tracking.open_tracker import NoTracker, close_all
from eibench_ray.tracking.tracker import (
    Delivery,
    Final,
    Progress,
    RunFacts,
    Target,
    TrackedRun,
    Tracker,
    TrackingPlace,
)
from eibench_ray.tracking.tracker_registry import open_tracker, open_trackers
from eibench_ray.tracking.wandb.wandb_tracker import WandbTracker

SECRET = "planted" + "0123456789" * 4


@dataclass(frozen=True)
class ListTracker(Tracker):
    """Keeps what it is told; fails with a text, if it has one, or hangs until it is stopped."""

    failure: str | None = None
    hangs: bool = False
    told: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    title = "the list"

    def target(self, environ: Mapping[str, str]) -> Target:
        return (
            Target("disabled", "here", reason="NO_LIST is set") if environ.get("NO_LIST") else Target("online", "here")
        )

    def secret(self, environ: Mapping[str, str]) -> str | None:  # noqa: ARG002
        return SECRET

    def open(self, facts: RunFacts, place: TrackingPlace) -> TrackedRun:
        self.told.append(f"open {facts.name} {place.mode}")
        return ListRun(self, facts)

    def stop(self) -> None:
        self.stopped.set()


class ListRun(TrackedRun):
    def __init__(self, tracker: ListTracker, facts: RunFacts) -> None:
        self._tracker = tracker
        self._facts = facts

    def log(self, progress: Progress) -> None:
        self._tracker.told.append(f"log {progress.rows_done}/{progress.rows_total}")

    def finish(self, facts: RunFacts, final: Final) -> Delivery:
        if self._tracker.hangs:
            self._tracker.stopped.wait(60)
            raise TimeoutError("stopped")
        if self._tracker.failure:
            raise RuntimeError(self._tracker.failure)
        self._tracker.told.append(f"finish {facts.name} {dict(final.scores)}")
        return Delivery("online", facts.key, f"http://here/{facts.key}")

    def fail(self) -> None:
        self._tracker.told.append(f"fail {self._facts.name}")


def make_cell(number: int) -> RunFacts:
    return RunFacts(str(number), "night", f"cell{number}", {}, 24)


def ignore(delivery: Delivery) -> None:
    """Nobody is told."""


def test_a_run_is_opened_once_and_finished_or_failed(tmp_path: Path) -> None:
    tracker = ListTracker()
    queue = open_tracker(tracker, tmp_path, {})
    delivered: list[Delivery] = []
    queue.progress(make_cell(1), Progress(8, 24, {"tokens": 1, "tokens_per_s": 1.0}))
    queue.progress(make_cell(2), Progress(4, 24, {"tokens": 1, "tokens_per_s": 1.0}))
    queue.finish(make_cell(1), Final({"accuracy": 0.5}), delivered.append)
    report = queue.close(10.0, print)
    assert [line for line in tracker.told if "cell1" in line] == [
        "open cell1 online",
        "finish cell1 {'accuracy': 0.5}",
    ]
    assert tracker.told[-1] == "fail cell2"
    assert (report.sent, report.missing) == ({"cell1": "http://here/1"}, {})
    assert [delivery.run_id for delivery in delivered] == ["1"]


def test_without_a_place_offline_what_is_refused_is_named_and_the_server_left_alone(tmp_path: Path) -> None:
    tracker = ListTracker(failure=f"the key {SECRET} is refused")
    queue = open_tracker(tracker, tmp_path, {})
    for number in range(4):
        queue.finish(make_cell(number), Final({}), ignore)
    report = queue.close(10.0, print)
    assert tracker.told == ["open cell0 online", "open cell1 online"]
    assert sorted(report.missing) == ["cell0", "cell1", "cell2", "cell3"]
    assert all("is refused" in why and SECRET not in why for why in report.missing.values())
    text = report.describe(tmp_path)
    assert text is not None
    assert "4 of 4 tracked runs are not at the list" in text
    assert "in offline folders" not in text


def test_a_tracker_that_hangs_is_stopped_at_the_deadline(tmp_path: Path) -> None:
    tracker = ListTracker(hangs=True)
    queue = open_tracker(tracker, tmp_path, {})
    queue.finish(make_cell(1), Final({}), ignore)
    report = queue.close(0.5, print)
    assert tracker.stopped.is_set()
    assert report.missing == {"cell1": "not sent within 0 s"}


def test_a_disabled_tracker_names_what_it_was_not_told(tmp_path: Path) -> None:
    queue = open_tracker(ListTracker(), tmp_path, {"NO_LIST": "1"})
    assert isinstance(queue, NoTracker)
    queue.finish(make_cell(1), Final({}), ignore)
    text = queue.close(1.0, print).describe(tmp_path)
    assert text is not None
    assert "not at the list: 1 nowhere (cell1). Reason: NO_LIST is set." in text


def test_one_trackers_failure_stops_no_other(tmp_path: Path) -> None:
    failing, hanging, working = ListTracker(failure="no such place"), ListTracker(hangs=True), ListTracker()
    kinds = {"failing": failing, "hanging": hanging, "working": working}
    trackers = {name: open_tracker(kind, tmp_path, {}) for name, kind in kinds.items()}
    for tracker in trackers.values():
        tracker.progress(make_cell(1), Progress(8, 24))
        tracker.finish(make_cell(1), Final({"accuracy": 0.5}), ignore)
    began = time.monotonic()
    reports = close_all(trackers, 1.0, print)
    assert time.monotonic() - began < 8  # one deadline for all
    assert list(reports["working"].sent) == ["cell1"]
    assert "no such place" in reports["failing"].missing["cell1"]
    assert "not sent within" in reports["hanging"].missing["cell1"]


def test_no_tracker_begins_where_one_cannot(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(ConfigError, match="WANDB_API_KEY"):
        open_trackers({"list": ListTracker(), "wandb": WandbTracker(mode="online")}, tmp_path, {})
    assert threading.active_count() == before
