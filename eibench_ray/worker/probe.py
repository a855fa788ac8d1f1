"""A search for a row that kills its engine, as a replica is told of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoisonProbe:
    """Part of a candidate slice that a task is to ask.

    Attributes:
        settled: rows that have survived: what this run has made of them stands, also where it is an error.
        is_control: instead of all this, a row of the step that has its answer is asked again, and nothing is committed.
    """

    rows: tuple[int, ...] = ()  # rows of the dataset; those that are in the store are not asked again
    settled: tuple[int, ...] = ()
    poisoned: tuple[tuple[int, str], ...] = ()  # rows that become error rows without being asked, each with the reason
    is_control: bool = False
