"""Finds the rows of a slice that kill their engine: halves what dies, and judges by what happens to a row alone. Pure.

A suspected slice is asked in *probes*, each alone on its replica. What survives a probe is clear; what dies is halved.
A row that died alone is *accused*, and *poisoned* when it has died alone twice, once of this on a replica that had
answered something before: a replica that was killed from outside accuses nobody, and neither does an engine, or a GPU,
that dies of everything. Where a replica that has answered nothing yet has nothing else to be tried with, it is asked a
row again that has its answer: a *control*.

Rows that are in the store are not asked: a probe commits each row as it comes, and the first probe, like the one after
each death, asks for nothing and only finds out which rows are missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from eibench_ray.worker.probe import PoisonProbe

# A row must have died alone so often.
LONELY_DEATHS = 2
# After so many deaths without an answer of its engine, a replica is asked a control before anything else.
DEATHS_BEFORE_CONTROL = 3


@dataclass(slots=True)
class _Accused:
    """A row that died alone."""

    num_deaths: int = 0
    is_proven: bool = False  # whether a replica that had answered something died of it
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _SlicePart:
    """Rows to be asked; `rest` is the other half of what died: if these survive, the rest is what killed."""

    rows: tuple[int, ...] = ()
    rest: tuple[int, ...] = ()


class PoisonSearch:
    """One suspected slice: what is to be probed, what has died, who is poisoned.

    `next` gives a probe, then `survived`, `died` or `broke_off` says what became of it. With k rows that kill among n
    that are missing, at most k x (ceil(log2 n) + 2) probes die, if nothing else kills and controls are to be had.

    Args:
        rows: of the slice, as rows of the dataset.
        has_control: whether a row may be asked again that has its answer: not where rows cost money.
    """

    def __init__(self, rows: Sequence[int], *, has_control: bool = True) -> None:
        self._untried = deque([_SlicePart(tuple(rows))])
        self._accused: dict[int, _Accused] = {}
        self._poisoned: dict[int, str] = {}
        self._settled: set[int] = set()
        self._may_control = self._has_control = has_control
        self._must_survey = True
        self._part = _SlicePart()
        self._is_control = False

    @property
    def poisoned(self) -> dict[int, str]:
        """The rows that kill the engine, each with the reason."""
        return dict(self._poisoned)

    def next(self, *, has_answered: bool, num_deaths: int) -> PoisonProbe:
        """The next probe; at the end one without rows, which commits the poisoned rows and ends the slice.

        Args:
            has_answered: whether the replica that will be asked has answered anything yet.
            num_deaths: of the engine's replicas since any of them answered something.
        """
        self._part, self._is_control = _SlicePart(), False
        if not self._must_survey:
            can_control = self._has_control and not has_answered
            if self._accused and has_answered:
                self._part = _SlicePart((min(self._accused),))
            elif can_control and (num_deaths >= DEATHS_BEFORE_CONTROL or (self._accused and not self._untried)):
                self._is_control = True
            elif self._untried:
                self._part = self._untried.popleft()
            elif self._accused:
                self._part = _SlicePart((min(self._accused, key=lambda row: self._accused[row].num_deaths),))
        settled, poisoned = tuple(sorted(self._settled)), tuple(sorted(self._poisoned.items()))
        return PoisonProbe(self._part.rows, settled, poisoned, self._is_control)

    def survived(self, missing: Collection[int]) -> None:
        """The probe has ended; these rows of the slice are not in the store yet, those that it was to ask included
        where it was told to end before.
        """
        if self._is_control:
            return
        self._must_survey = False
        left = set(missing) - self._poisoned.keys()
        clear = set(self._part.rows) - left
        self._settled |= clear
        self._accused = {row: accused for row, accused in self._accused.items() if row in left}
        if clear != set(self._part.rows):
            self._put_back(self._part)
        elif self._part.rest:
            self._halve(self._part.rest)
        self._untried = deque(part for known in self._untried if (part := _cut(known, left)).rows)

    def has_no_control(self) -> None:
        """The probe was a control, and the step has no row with an answer yet."""
        self._has_control = False

    def may_have_control(self) -> None:
        """The engine has answered something."""
        self._has_control = self._may_control

    def died(self, reason: str, *, has_answered: bool) -> None:
        """The engine died while it was asked the probe.

        Args:
            reason: what is known of it.
            has_answered: whether the replica had answered anything before.
        """
        self._must_survey = True
        rows, rest = self._part.rows, self._part.rest
        if len(rows) == 1:
            self._accuse(rows[0], reason, has_answered=has_answered)
        elif rows:
            self._halve(rows)
        if rest:
            # Before all others: an engine that is well shows it soonest.
            self._untried.appendleft(_SlicePart(rest))

    def broke_off(self) -> None:
        """The replica was lost for a reason of its own: the probe says nothing."""
        self._must_survey = True
        self._put_back(self._part)

    def _accuse(self, row: int, reason: str, *, has_answered: bool) -> None:
        accused = self._accused.setdefault(row, _Accused())
        accused.num_deaths += 1
        accused.is_proven |= has_answered
        accused.reason = reason
        if accused.is_proven and accused.num_deaths >= LONELY_DEATHS:
            times = f"each of the {accused.num_deaths} times that it was asked for this row alone"
            self._poisoned[row] = f"the engine died {times}; the last time: {reason}"
            del self._accused[row]

    def _halve(self, rows: tuple[int, ...]) -> None:
        middle = len(rows) // 2
        self._untried.append(_SlicePart(rows[:middle], rows[middle:]) if middle else _SlicePart(rows))

    def _put_back(self, part: _SlicePart) -> None:
        if part.rows and self._accused.keys().isdisjoint(part.rows):
            self._untried.appendleft(part)


def _cut(part: _SlicePart, left: Collection[int]) -> _SlicePart:
    """A part without some of its rows."""
    rows, rest = (tuple(row for row in rows if row in left) for rows in (part.rows, part.rest))
    return _SlicePart(rows, rest) if rows else _SlicePart(rest)
