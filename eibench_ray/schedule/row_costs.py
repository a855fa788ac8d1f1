"""The cost of a row, by its tokens and pictures: as it is expected, and fitted to what runs have measured. Pure.

A row takes `request_s` + `token_s` x its tokens whatever else is asked (latency: shared by the rows of a batch), and
keeps the replica busy for `busy_token_s` x its tokens + `prompt_token_s` x its prompt's + `picture_s` x its pictures,
which no batch makes cheaper.

Example: 1 s of latency and 10 ms of work, 100 rows at once: 1 / 100 + 0.01 = 20 ms of the replica's time for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from eibench_ray.rows.asked_work import AskedWork

# How much the shape that is expected counts beside the rows: enough to decide what these leave open (one step alone
# does not say whether its prompts or its replies take the time), too little to bend what they say.
STIFFNESS = 0.02

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowCosts:
    """Seconds of a replica."""

    request_s: float
    token_s: float
    busy_token_s: float
    prompt_token_s: float
    picture_s: float

    def latency_s(self, tokens: float) -> float:
        """The part that rows of a batch share."""
        return self.request_s + self.token_s * tokens

    def busy_s(self, tokens: float, prompt_tokens: float, pictures: float) -> float:
        """The part that they do not."""
        return self.busy_token_s * tokens + self.prompt_token_s * prompt_tokens + self.picture_s * pictures

    def fit(self, measured: Sequence[tuple[AskedWork, float]]) -> RowCosts:
        """These costs as measurements have them: in their shape as far as the measurements leave it open.

        Args:
            measured: sums of rows, each with its weight.
        """
        parts = np.array([_parts(asked) for asked, _ in measured])
        seconds = np.array([asked.engine_s for asked, _ in measured])
        weights = np.array([weight for _, weight in measured])
        shape = np.array(astuple(self))
        shape *= (weights @ seconds) / (weights @ (parts @ shape))  # the scale is what is surely measured
        # Errors count in shares of the time that all rows took, differences from the shape in shares of what it says.
        rows = np.sqrt(weights)[:, None] * parts / np.sqrt(weights @ seconds**2)
        stiff = STIFFNESS * np.diag(1.0 / np.maximum(shape, 1e-12 * shape.max()))
        wanted = np.concatenate([np.sqrt(weights) * seconds / np.sqrt(weights @ seconds**2), STIFFNESS * (shape > 0)])
        # In units of the shape, so that all are of one size.
        units = np.maximum(shape, 1e-12 * shape.max())
        found = solve_non_negative(np.concatenate([rows, stiff]) * units, wanted)
        return RowCosts(*(float(value) for value in found * units))


def solve_non_negative(matrix: Array, wanted: Array) -> Array:
    """The x >= 0 of least |matrix x - wanted|^2, of a matrix whose columns are independent.

    Not scipy.optimize.nnls: to import it is a fifth of a plan's CPU time (0.3 s).

    Source: C. Lawson, R. Hanson, Solving Least Squares Problems, chapter 23.
    """
    found = np.zeros(matrix.shape[1])
    is_free = found > 0  # the others are held at 0
    least = 10 * max(matrix.shape) * np.spacing(1.0) * np.abs(matrix).sum(axis=0).max()
    for _ in range(3 * len(found)):  # as SciPy's: rounding might free and hold one in turns
        gain = np.where(is_free, -np.inf, matrix.T @ (wanted - matrix @ found))
        if gain.max() <= least:
            break
        is_free[gain.argmax()] = True
        while True:
            best = np.zeros_like(found)
            best[is_free] = np.linalg.lstsq(matrix[:, is_free], wanted, rcond=None)[0]
            falls = is_free & (best <= 0)
            if not falls.any():
                break
            steps = found[falls] / (found[falls] - best[falls])
            found = found + steps.min() * (best - found)
            is_free[np.flatnonzero(falls)[steps == steps.min()]] = False
            found[~is_free] = 0.0
        found = best
    return found


def _parts(asked: AskedWork) -> list[float]:
    """Numbers that each cost is multiplied with."""
    at_once = asked.at_once
    return [
        asked.rows / at_once,
        asked.completion_tokens / at_once,
        asked.completion_tokens,
        asked.prompt_tokens,
        asked.pictures,
    ]
