"""Estimated times with their error bars, and by how much what they rest on may be off."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """An estimate and its error bar."""

    low: float
    expected: float
    high: float

    def times(self, factor: float) -> Range:
        """All three, multiplied."""
        return Range(self.low * factor, self.expected * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Assumption:
    """Factors by which priors are off."""

    speed: float  # true tokens per second over expected ones; lengths of replies count in it
    load: float  # true seconds of a load over expected ones
    loss: float  # wall-clock time over the shortest time into which all of it fits


# The options' speeds are rooflines and the lengths of replies shares of what is allowed: right within a factor of 2.
# The loss: the paper's sweep, simulated on 2 to 512 GPUs, takes 1.0 to 1.3 times the time that all of it fits into.
LOW, EXPECTED, HIGH = Assumption(2.0, 1 / 1.5, 1.0), Assumption(1.0, 1.0, 1.1), Assumption(0.5, 1.5, 1.3)
# Where runs have measured all engines, what is left is how busy the machine is, and the last replies' lengths.
MEASURED = {
    LOW: Assumption(1.15, 1 / 1.15, 1.0),
    EXPECTED: Assumption(1.0, 1.0, 1.02),
    HIGH: Assumption(1 / 1.15, 1.3, 1.1),
}
