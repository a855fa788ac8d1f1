"""Carries the faults out: starts the command, lets faults come as its work goes on, starts it again, to the end."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.deck import Deck, is_due
from bench.chaos.errors import ChaosError
from bench.chaos.kinds import Kind, Moment, Scene
from bench.chaos.remains import find_orphans
from bench.chaos.sweep import Run

# Faults that come together at most, and the longest pause between them.
WAVE = 8
PAUSE_S = 0.5
# A command that works has to get ahead within this time, whatever was done to it.
STUCK_S = 300.0
# So many starts in a row that come to nothing are a harness, or a product, that does not work.
MAX_FRUITLESS = 12
COUNT_EVERY_S = 0.5
# The share of the pauses between two commands in which files are damaged: `fsck` reads the whole store then.
DAMAGED_PAUSES = 0.3
# Some faults come while engines still load.
EARLY = 0.3


@dataclass(slots=True)
class Storm:
    """One sweep under faults.

    Args:
        scene: what they are about.
        kinds: those that may come, each made anew for every fault.
        decks: how many of them, by their moment.
        num_slices: how many the store has when all is done.
        deadline: on the monotonic clock; after it no fault comes.
        tell: called after each fault with the number of them, and the share of the work that is done.

    Attributes:
        codes: exit codes of the command, by how often.
        unexplained: commands that failed although nothing had been done to them.
        orphans: processes that outlived the command, which nobody had killed.
    """

    scene: Scene
    kinds: Mapping[str, Callable[[], Kind]]
    decks: Mapping[Moment, Deck]
    num_slices: int
    deadline: float
    log: Path
    tell: Callable[[int, float], object]
    codes: Counter[int] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    _pending: list[Kind] = field(default_factory=list)
    _open: list[Kind] = field(default_factory=list)
    _num_faults: int = 0
    _was_disturbed: bool = False
    _fruitless: int = 0
    _starts: int = 0
    _began: float = 0.0
    _counted: float = 0.0
    _counted_at: float = -math.inf

    def run(self) -> Run:
        """The last command, which had nothing left to ask.

        Raises:
            ChaosError: it never got there.
        """
        self._num_faults = sum(len(deck) for deck in self.decks.values())
        self._began = self._share()
        while any(self.decks.values()) and time.monotonic() < self.deadline:
            self._start()
            self._live()
            if self._note_end() in (None, 0):
                break
            self._pause()
        return self._finish()

    @property
    def hits(self) -> Counter[str]:
        """Faults that hit, by kind."""
        return sum((deck.hits for deck in self.decks.values()), Counter())

    def _start(self) -> None:
        scene = self.scene
        scene.cluster.revive()
        self._starts += 1
        environment = {"CHAOS_CLOCK_S": str(scene.clock_s)}
        scene.run = scene.sweep.start(
            scene.place.root, f"{type(scene.place).__name__.lower()}-{self._starts:03d}", environment
        )
        scene.clock_s = 0.0
        self._was_disturbed = False

    def _live(self) -> None:
        """Lets faults come while the command runs, of which the last one ends it."""
        during, ending = self.decks[Moment.DURING], self.decks[Moment.ENDING]
        self._await_event("replica_starting" if self.scene.random.random() < EARLY else "slice_committed")
        self._confirm()
        drawn = list(during.draw(math.ceil(len(during) / max(1, len(ending)))))
        while drawn and self._await_turn():
            for _ in range(min(self.scene.random.randint(1, WAVE), len(drawn))):
                self._inject(drawn.pop(), during)
                time.sleep(self.scene.random.uniform(0.0, PAUSE_S))
        for kind in drawn:
            during.put_back(kind)
        if not self._await_turn():
            return
        for kind in ending.draw(1):
            self._inject(kind, ending)
        if not ending and self.scene.is_running and self.decks[Moment.BETWEEN]:
            assert self.scene.run is not None
            self.scene.run.end()
            self._was_disturbed = True

    def _inject(self, name: str, deck: Deck) -> None:
        if not self.scene.is_running:
            deck.put_back(name)
            return
        kind = self.kinds[name]()
        is_hit = kind.inject(self.scene)
        if is_hit is None:
            self._open.append(kind)
        else:
            self._settle(name, deck, is_hit)

    def _look_after(self) -> None:
        """Settles the faults of which one knows only now whether they have hit."""
        for kind in list(self._open):
            is_hit = kind.settle(self.scene)
            if is_hit is not None:
                self._open.remove(kind)
                self._settle(kind.name, self.decks[kind.moment], is_hit)

    def _settle(self, name: str, deck: Deck, is_hit: bool) -> None:
        deck.settle(name, is_hit=is_hit)
        self._was_disturbed |= is_hit
        run = self.scene.run_name
        with self.log.open("a") as log:
            log.write(json.dumps({"time": round(time.time(), 2), "kind": name, "hit": is_hit, "run": run}) + "\n")
        self.tell(self.hits.total(), self._share())

    def _pause(self) -> None:
        """Waits between two commands; before, nothing of the last one may be left."""
        scene, between = self.scene, self.decks[Moment.BETWEEN]
        self._look_for_orphans()
        if not between or scene.random.random() >= DAMAGED_PAUSES or not scene.place.count_slices():
            return
        pauses = max(1.0, len(self.decks[Moment.ENDING]) * DAMAGED_PAUSES)
        for name in between.draw(math.ceil(len(between) / pauses)):
            kind = self.kinds[name]()
            if kind.inject(scene) is not False:
                self._pending.append(kind)
            else:
                self._settle(name, between, False)
        if self._pending:
            scene.sweep.fsck(scene.place.root, repair=True)

    def _look_for_orphans(self) -> None:
        orphans = find_orphans(self.scene.family, is_cluster_up=True)
        self.orphans += [f"after {self.scene.run_name}: {orphan}" for orphan in orphans]

    def _confirm(self) -> None:
        for kind in self._pending:
            self._settle(kind.name, self.decks[Moment.BETWEEN], kind.confirm(self.scene))
        self._pending.clear()

    def _await_event(self, event: str) -> None:
        """Returns once the command has come so far, or has ended."""
        assert self.scene.run is not None
        run, deadline = self.scene.run, time.monotonic() + STUCK_S
        while run.code is None and not any(found["event"] == event for found in run.events):
            self._check_stuck(deadline, f"no {event}")
            time.sleep(0.1)

    def _await_turn(self) -> bool:
        """Whether the next fault may come; False once the command has ended, or the time for faults is over."""
        share, deadline = -1.0, time.monotonic() + STUCK_S
        while self.scene.is_running and time.monotonic() < self.deadline:
            if (now := self._share()) > share:
                share, deadline = now, time.monotonic() + STUCK_S
            if is_due(self.hits.total(), self._num_faults, (share - self._began) / max(1e-9, 1 - self._began)):
                return True
            self._check_stuck(deadline, "no further slice")
            time.sleep(0.2)
        return False

    def _share(self) -> float:
        """The share of the work that is done, counted about once a second."""
        if time.monotonic() > self._counted_at + COUNT_EVERY_S:
            self._counted = self.scene.place.count_slices() / self.num_slices
            self._counted_at = time.monotonic()
        return self._counted

    def _check_stuck(self, deadline: float, what: str) -> None:
        self.scene.cluster.revive()
        self._look_after()
        if time.monotonic() > deadline and self.scene.is_running:
            assert self.scene.run is not None
            self.scene.hangs.append(f"{self.scene.run_name}: {what} within {STUCK_S:g} s")
            self.scene.run.end()

    def _note_end(self) -> int | None:
        """The exit code of the command, if it has ended."""
        assert self.scene.run is not None
        run, code = self.scene.run, self.scene.run.code
        if code is None:
            return None
        self._look_after()
        self.codes[code] += 1
        if code and not self._was_disturbed:
            self.unexplained.append(f"{run.folder.name} ended with {code}: {run.last_words}")
        self._fruitless = 0 if run.is_working else self._fruitless + 1
        if self._fruitless > MAX_FRUITLESS:
            raise ChaosError(f"{self._fruitless} commands in a row came to nothing; the last one: {run.last_words}")
        return code

    def _finish(self) -> Run:
        """Runs the command until it exits with 0 and had nothing new to ask."""
        for _ in range(MAX_FRUITLESS):
            assert self.scene.run is not None
            if self.scene.run.code is None:
                self._await_progress_to_end()
                code = self._note_end()
            else:
                code = self.scene.run.code
            self._confirm()
            if code == 0 and self.scene.run.summary["completions_new"] == 0:
                return self.scene.run
            self._look_for_orphans()
            self._start()
        assert self.scene.run is not None
        raise ChaosError(f"the sweep does not end; the last command: {self.scene.run.last_words}")

    def _await_progress_to_end(self) -> None:
        assert self.scene.run is not None
        share, deadline = -1.0, time.monotonic() + STUCK_S
        while self.scene.run.wait(1.0) is None:
            if (now := self._share()) > share:
                share, deadline = now, time.monotonic() + STUCK_S
            self.tell(self.hits.total(), now)
            self._check_stuck(deadline, "no further slice")
