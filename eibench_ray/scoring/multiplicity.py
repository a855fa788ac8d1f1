"""Many comparisons at once: p-values that still mean what they say when the smallest is picked out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def adjust_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values adjusted by Holm's step-down method, in their order; None is no test and stays None.

    The chance of even one false alarm in a table stays below the level, whatever the comparisons share (all pairs of
    some models share their cells). Not Benjamini-Hochberg (`scipy.stats.false_discovery_control`): it allows a share
    of false alarms, and assumes a dependence that pairs do not have; a reader quotes single lines of a table.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).
    """
    tested = [index for index, p_value in enumerate(p_values) if p_value is not None]
    values = np.array([p_values[index] for index in tested], dtype=np.float64)
    order = values.argsort(kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted: list[float | None] = [None] * len(p_values)
    for rank, value in zip(order.tolist(), np.minimum(np.maximum.accumulate(stepped), 1.0).tolist(), strict=True):
        adjusted[tested[rank]] = value
    return adjusted
