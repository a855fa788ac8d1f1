"""A search finds exactly the rows that kill, with few deaths, and accuses nobody without proof."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.driver.failure_policy import MAX_DEATHS_WITH_ROWS
from eibench_ray.driver.poison_search import DEATHS_BEFORE_CONTROL, LONELY_DEATHS, PoisonSearch
from eibench_ray.worker.probe import PoisonProbe

START = 100  # of the slice: rows are numbers of dataset rows


@dataclass
class Engine:
    """Replicas one after the other, which die of some rows; rows that were answered are committed as they come.

    Attributes:
        poison: rows that kill.
        answered: rows that are in the store.
        has_control: whether the step has an answered row elsewhere.
        kills: share of probes under which somebody else kills the replica.
        keeps: share of the rows before the one that kills which are answered first.
    """

    poison: frozenset[int]
    chance: random.Random
    answered: set[int] = field(default_factory=set)
    has_control: bool = True
    kills: float = 0.0
    keeps: float = 0.0
    is_broken: bool = False
    has_answered: bool = False
    deaths_in_a_row: int = 0
    num_deaths: int = 0
    asked: list[int] = field(default_factory=list)

    @property
    def can_control(self) -> bool:
        """Whether the step has an answered row."""
        return self.has_control or bool(self.answered)

    def ask(self, probe: PoisonProbe) -> bool:
        """Whether the replica survives."""
        rows = [row for row in probe.rows if row not in self.answered]
        self.asked += rows
        killers = self.poison & set(rows)
        is_asked = bool(rows) or (probe.is_control and self.can_control)
        is_killed = is_asked and (self.is_broken or self.chance.random() < self.kills)
        if killers or is_killed:
            self.answered |= {row for row in rows if row not in self.poison and self.chance.random() < self.keeps}
            self.num_deaths += 1
            self.deaths_in_a_row += 1
            self.has_answered = False
            return False
        self.answered |= set(rows)
        if is_asked:
            self.has_answered, self.deaths_in_a_row = True, 0
        return True


def hold(slice_rows: range, engine: Engine, most: float = math.inf) -> PoisonSearch:
    """The search when it is over, or the engine has died as often in a row as it may."""
    search = PoisonSearch(slice_rows)
    for _ in range(100_000):
        has_answered = engine.has_answered
        probe = search.next(has_answered=has_answered, num_deaths=engine.deaths_in_a_row)
        missing = set(slice_rows) - engine.answered - {row for row, _ in probe.poisoned}
        assert not set(probe.rows) - missing - engine.answered
        assert not set(probe.rows) & search.poisoned.keys(), "a poisoned row is asked"
        if not engine.ask(probe):
            search.died("it died", has_answered=has_answered)
        elif probe.is_control and not engine.can_control:
            search.has_no_control()
            search.survived(())
        else:
            left = set(slice_rows) - engine.answered - {row for row, _ in probe.poisoned}
            search.survived(left)
            if engine.has_answered:
                search.may_have_control()
            if not left and not probe.is_control:
                return search
        if engine.deaths_in_a_row >= most:
            return search
    raise AssertionError("it goes on and on")


def bound(num_rows: int, num_poison: int) -> int:
    return num_poison * (math.ceil(math.log2(num_rows)) + 2) if num_rows else 0


@st.composite
def slices(draw: st.DrawFn) -> tuple[range, frozenset[int], set[int]]:
    """A slice, the rows of it that kill, and those that are committed."""
    size = draw(st.integers(1, 40))
    rows = range(START, START + size)
    poison = draw(st.frozensets(st.sampled_from(rows)))
    committed = draw(st.sets(st.sampled_from(rows)))
    return rows, poison, committed - poison


@given(slices(), st.integers(0, 999), st.booleans(), st.sampled_from([0.0, 0.5, 1.0]))
def test_exactly_the_rows_that_kill_are_found(
    drawn: tuple[range, frozenset[int], set[int]], seed: int, has_answered: bool, keeps: float
) -> None:
    rows, poison, committed = drawn
    engine = Engine(poison, random.Random(seed), set(committed), has_answered=has_answered, keeps=keeps)
    search = hold(rows, engine)
    assert search.poisoned.keys() == poison
    assert engine.answered == set(rows) - poison
    assert engine.num_deaths <= bound(len(rows) - len(committed), len(poison))
    assert not set(engine.asked) & committed, "a committed row was asked again"


@given(slices(), st.integers(0, 999), st.integers(1, 6))
def test_who_kills_from_outside_condemns_nobody_unless_he_hits_a_row_twice_alone(
    drawn: tuple[range, frozenset[int], set[int]], seed: int, tenths: int
) -> None:
    rows, poison, committed = drawn
    engine = Engine(poison, random.Random(seed), set(committed), kills=tenths / 10)
    lonely: dict[int, int] = {}

    search = PoisonSearch(rows)
    while True:
        has_answered = engine.has_answered
        probe = search.next(has_answered=has_answered, num_deaths=engine.deaths_in_a_row)
        if not engine.ask(probe):
            for row in probe.rows if len(probe.rows) == 1 else ():
                lonely[row] = lonely.get(row, 0) + 1
            search.died("it died", has_answered=has_answered)
            continue
        left = set(rows) - engine.answered - {row for row, _ in probe.poisoned}
        search.survived(left)
        if not left and not probe.is_control:
            break
    assert poison <= search.poisoned.keys()
    assert all(lonely[row] >= LONELY_DEATHS for row in search.poisoned)
    assert engine.answered == set(rows) - search.poisoned.keys()


@given(st.integers(1, 40), st.integers(0, 999), st.booleans())
def test_an_engine_that_dies_of_everything_condemns_nobody_and_is_soon_known(
    size: int, seed: int, has_control: bool
) -> None:
    engine = Engine(frozenset(), random.Random(seed), has_control=has_control, is_broken=True, deaths_in_a_row=2)
    search = PoisonSearch(range(size))
    was_control = False
    while engine.deaths_in_a_row < MAX_DEATHS_WITH_ROWS and not was_control:
        probe = search.next(has_answered=False, num_deaths=engine.deaths_in_a_row)
        if engine.ask(probe):
            search.survived(set(range(size)))
            if probe.is_control:
                search.has_no_control()
        else:
            was_control = probe.is_control
            search.died("it died", has_answered=False)
    assert not search.poisoned
    assert engine.deaths_in_a_row == (DEATHS_BEFORE_CONTROL + 1 if has_control else MAX_DEATHS_WITH_ROWS)


@given(st.integers(3, 64).flatmap(lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), max_size=2))))
def test_two_rows_that_kill_are_found_even_if_nothing_was_ever_answered(drawn: tuple[int, set[int]]) -> None:
    size, poison = drawn
    engine = Engine(frozenset(poison), random.Random(0), has_control=False, deaths_in_a_row=2)
    search = hold(range(size), engine, most=MAX_DEATHS_WITH_ROWS)
    assert search.poisoned.keys() == poison


def test_a_replica_that_was_lost_for_a_reason_of_its_own_says_nothing() -> None:
    search = PoisonSearch(range(4))
    search.next(has_answered=True, num_deaths=0)
    search.survived({0, 1, 2, 3})
    assert search.next(has_answered=True, num_deaths=0).rows == (0, 1, 2, 3)
    search.broke_off()
    assert search.next(has_answered=False, num_deaths=0) == PoisonProbe()  # what was committed meanwhile?
    search.survived({2, 3})
    assert search.next(has_answered=False, num_deaths=0).rows == (2, 3)


def test_a_probe_that_was_cut_short_is_asked_for_the_rest_again() -> None:
    search = PoisonSearch(range(4))
    search.next(has_answered=True, num_deaths=0)
    search.survived({0, 1, 2, 3})
    search.next(has_answered=True, num_deaths=0)
    search.survived({1, 3})
    assert search.next(has_answered=True, num_deaths=0) == PoisonProbe((1, 3), settled=(0, 2))
    search.survived(())
    assert search.next(has_answered=True, num_deaths=0) == PoisonProbe((), settled=(0, 1, 2, 3))


def test_the_reason_names_how_often_and_what_of() -> None:
    search = PoisonSearch(range(7, 8))
    search.next(has_answered=False, num_deaths=0)
    search.survived({7})
    for reason in ("first", "second"):
        search.next(has_answered=True, num_deaths=0)
        search.died(reason, has_answered=True)
        search.next(has_answered=True, num_deaths=0)
        search.survived({7})
    assert search.poisoned == {
        7: "the engine died each of the 2 times that it was asked for this row alone; the last time: second"
    }
