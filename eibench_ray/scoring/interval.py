"""Bootstrap interval of a mean, whole clusters of values resampled.

Values come as codes into a short list of those that occur, those of a cluster side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FEW_CLUSTERS = 100_000  # beyond, drawing them one by one takes minutes, and 200 bytes for each
_RESAMPLED_AT_ONCE = 500_000  # clusters times resamples: 4 MB of indices (13 MB in all), however large the dataset is
_LOOKED_UP_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Resampling:
    """Parameters of the bootstrap; intervals are equal for equal seeds."""

    confidence: float  # e.g. 0.95.
    resamples: int  # bootstrap resamples
    seed: int = 0


def look_up(codes: NDArray[np.int32], values: Sequence[float]) -> Iterator[float]:
    """The values behind codes, without a list of all of them."""
    for start in range(0, len(codes), _LOOKED_UP_AT_ONCE):
        yield from map(values.__getitem__, codes[start : start + _LOOKED_UP_AT_ONCE].tolist())


def bootstrap_interval(
    codes: NDArray[np.int32],
    sizes: NDArray[np.int64],
    values: Sequence[float],
    resampling: Resampling,
) -> tuple[float, float]:
    """Percentile interval of the mean over all values, whole clusters resampled.

    Percentile, not BCa: both cover alike here (the simulation in the tests), and only the percentile interval exists
    for every input and stays within the values' range.
    """
    import numpy as np

    confidence, resamples = resampling.confidence, resampling.resamples
    rng = np.random.default_rng(resampling.seed)
    if len(sizes) > _FEW_CLUSTERS:
        means = _resample_kinds(*_kinds(codes, sizes, values), resamples, rng)
        low, high = np.quantile(means, ((1 - confidence) / 2, (1 + confidence) / 2))
        return float(low), float(high)

    from scipy.stats import bootstrap

    def ratio(sums: NDArray[np.float64], counts: NDArray[np.float64], axis: int = -1) -> Any:
        return sums.sum(axis=axis) / counts.sum(axis=axis)

    found = look_up(codes, values)
    sums = np.array([sum(islice(found, size)) for size in sizes.tolist()])
    interval = bootstrap(
        (sums, sizes.astype(np.float64)),
        ratio,
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=confidence,
        n_resamples=resamples,
        batch=max(1, min(resamples, _RESAMPLED_AT_ONCE // len(sums))),
        rng=rng,
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _kinds(
    codes: NDArray[np.int32], sizes: NDArray[np.int64], values: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """The clusters by kind, where those of equal sum and size are one: sum, size, and how many there are."""
    import numpy as np

    if len(sizes) == len(codes):
        return np.array(values), np.ones(len(values)), np.bincount(codes, minlength=len(values))
    sums = np.add.reduceat(np.array(values)[codes], sizes.cumsum() - sizes)
    kinds, number = np.unique(sums + 1j * sizes, return_counts=True)
    return kinds.real, kinds.imag, number


def _resample_kinds(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    number: NDArray[np.int64],
    resamples: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Means of resamples. How many clusters of each kind a resample has is multinomial: no cluster need be drawn."""
    import numpy as np

    total = int(number.sum())
    means = np.empty(resamples)
    batch = max(1, _RESAMPLED_AT_ONCE // len(number))
    for start in range(0, resamples, batch):
        drawn = rng.multinomial(total, number / total, size=min(batch, resamples - start))
        means[start : start + len(drawn)] = (drawn @ sums) / (drawn @ sizes)
    return means
