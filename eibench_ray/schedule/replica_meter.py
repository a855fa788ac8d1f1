"""The time of one replica, event by event: how long it waited, loaded, worked, ran dry and stood idle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class TimeKind(StrEnum):
    """The kinds of GPU time. The first seven are of a replica, the others of a GPU that none holds.

    Attributes:
        WAITING: from the decision to start a replica until its resources are there.
        LOADING: from then until it is ready for slices, the start of its process included.
        GENERATING, JUDGING: at least one slice is in flight; slices of both kinds share the time by their rows.
        TAIL: the batch runs dry. A slice has ended, fewer rows than the replica's capacity are left, and no slice
            comes until all have ended. A slice that is sent alone has no tail: nothing was there to run dry. A ledger
            knows whole slices only, so that a tail within a slice is not seen.
        IDLE: ready, and nothing in flight: all that its engine still has to do waits for other engines.
        LEAVING: stopped or lost, and its resources are not free yet.
        NOTHING_READY: the next replica to be started would have fitted here: nothing was ready for one before, or not
            enough to be worth a load.
        DOES_NOT_FIT: the next replica to be started needed more GPUs of one node than were free on this one.
        NO_WORK: no replica was started any more until GPUs were given back, or the run ended.
        GIVEN_BACK: no GPU was needed any more, and none was held: what was left needed none. Not counted in sums.
        UNASSIGNED: no replica has been started since, and the run has not ended: what comes next cannot be told.
    """

    WAITING = "waiting"
    LOADING = "loading"
    GENERATING = "generating"
    JUDGING = "judging"
    TAIL = "tail"
    IDLE = "idle"
    LEAVING = "leaving"
    NOTHING_READY = "nothing_ready"
    DOES_NOT_FIT = "does_not_fit"
    NO_WORK = "no_work"
    UNASSIGNED = "unassigned"
    GIVEN_BACK = "given_back"

    @property
    def label(self) -> str:
        """The kind in words."""
        return _LABELS.get(self, self.value.replace("_", " "))


_LABELS = {
    TimeKind.TAIL: "batch emptying",
    TimeKind.LEAVING: "shutting down",
    TimeKind.NO_WORK: "no replica needed",
    TimeKind.UNASSIGNED: "not needed so far",
}

# What GPUs that no replica holds are counted as.
UNHELD = (TimeKind.NOTHING_READY, TimeKind.DOES_NOT_FIT, TimeKind.NO_WORK, TimeKind.UNASSIGNED)


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A stretch of time of one kind, in seconds of the ledger's clock."""

    kind: TimeKind
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class _Work:
    """A stretch of time with slices in flight; `rows` by step id."""

    start: float
    end: float
    rows: Mapping[str, int]


class ReplicaMeter:
    """Follows one replica. Times are handed in and never go back.

    Attributes:
        spans: in order and without gaps; where slices of both kinds are in flight, the kind with more rows.
        seconds: by kind; here the kinds share a stretch exactly, by their rows.
        step_seconds: of `seconds`, what each step took: step id -> kind -> seconds.
    """

    def __init__(self, start: float, roles: Mapping[str, TimeKind]) -> None:
        self.spans: list[TimeSpan] = []
        self.seconds: dict[TimeKind, float] = defaultdict(float)
        self.step_seconds: dict[str, dict[TimeKind, float]] = defaultdict(lambda: defaultdict(float))
        self._roles = roles
        self._phase = TimeKind.WAITING  # what it does while nothing is in flight
        self._since = start
        self._capacity = 0
        self._in_flight: dict[tuple[str, int], int] = {}
        self._rows: dict[str, int] = {}
        self._dry: list[_Work] | None = None  # since the batch may be running dry; the next event shows whether it was

    def place(self, now: float) -> None:
        """Its resources are there."""
        if self._phase is TimeKind.WAITING:
            self._enter(TimeKind.LOADING, now)

    def ready(self, capacity: int, now: float) -> None:
        """It takes slices. Where nobody said that it was placed, it has been loading since its start."""
        if self._phase is TimeKind.WAITING:
            self._phase = TimeKind.LOADING
        self._capacity = capacity
        self._enter(TimeKind.IDLE, now)

    def send(self, step: str, index: int, rows: int, now: float) -> None:
        """A slice is in flight from now on."""
        if self._phase is not TimeKind.IDLE:
            return
        self._advance(now)
        self._settle(is_tail=False)
        self._in_flight[step, index] = rows = max(rows, 1)
        self._rows[step] = self._rows.get(step, 0) + rows

    def end(self, step: str, index: int, seconds: float, now: float) -> None:
        """A slice has come back, whole or not; one that nobody saw leave was in flight for its own `seconds`."""
        if (rows := self._in_flight.pop((step, index), None)) is None:
            if self._phase is TimeKind.IDLE and not self._in_flight:
                self._advance(now - seconds)
                self._book_work(_Work(self._since, now, {step: 1}), is_tail=False)
                self._since = now
            return
        self._advance(now)
        self._rows[step] -= rows
        if not self._rows[step]:
            del self._rows[step]
        if not self._rows:
            self._settle(is_tail=True)
        elif self._dry is None and sum(self._rows.values()) < self._capacity:
            self._dry = []

    def leave(self, now: float) -> None:
        """It was stopped or lost; nothing is in flight any more."""
        self._enter(TimeKind.LEAVING, now)

    def close(self, now: float) -> None:
        """Its time ends."""
        self._advance(now)
        self._settle(is_tail=True)

    def _enter(self, phase: TimeKind, now: float) -> None:
        self.close(now)
        self._in_flight.clear()
        self._rows.clear()
        self._phase = phase

    def _advance(self, now: float) -> None:
        """Books the time since the last event."""
        if now <= self._since:
            return
        if not self._rows:
            self.seconds[self._phase] += now - self._since
            self._book_span(self._phase, self._since, now)
        elif self._dry is None:
            self._book_work(_Work(self._since, now, self._rows), is_tail=False)
        else:
            self._dry.append(_Work(self._since, now, dict(self._rows)))
        self._since = now

    def _settle(self, *, is_tail: bool) -> None:
        """Books what was put off until it could be told from a tail."""
        for work in self._dry or ():
            self._book_work(work, is_tail=is_tail)
        self._dry = None

    def _book_work(self, work: _Work, *, is_tail: bool) -> None:
        if work.end <= work.start:
            return
        rows_of: dict[TimeKind, int] = defaultdict(int)
        total = sum(work.rows.values())
        for step, rows in work.rows.items():
            kind = TimeKind.TAIL if is_tail else self._roles.get(step, TimeKind.GENERATING)
            rows_of[kind] += rows
            share = (work.end - work.start) * rows / total
            self.seconds[kind] += share
            self.step_seconds[step][kind] += share
        self._book_span(max(rows_of, key=rows_of.__getitem__), work.start, work.end)

    def _book_span(self, kind: TimeKind, start: float, end: float) -> None:
        if self.spans and self.spans[-1].kind is kind:
            start = self.spans.pop().start
        self.spans.append(TimeSpan(kind, start, end))
