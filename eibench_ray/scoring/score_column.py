"""Scores of some samples as a column, those that are alike once.

>>> import numpy as np
>>> right, wrong = Score("a", {"accuracy": 1.0}), Score("b", {"accuracy": 0.0})
>>> column = ScoreColumn([right, wrong, None], np.array([0, 1, 1, 2]))
>>> column.values("accuracy")
array([ 1.,  0.,  0., nan])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from eibench_ray.scoring.judged.json_reply import read_words
from eibench_ray.scoring.scorer import Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ScoreColumn:
    """One score of each sample: of one answer, or of one reply about it.

    Attributes:
        known: the scores, of those that are alike the first; None: it is not made yet.
        codes: (samples,) the place in `known` of each sample's.
        read_own_words: reads of each sample the explanation that its score has in place of the known one's; None: that
            one. Nothing where no sample has its own.
    """

    known: Sequence[Score | None]
    codes: NDArray[np.intp]
    read_own_words: Callable[[], Sequence[str | None]] = tuple

    @property
    def scores(self) -> list[Score | None]:
        """The score of each sample; of one that is alike to another it has the values, not the words."""
        return [self.known[code] for code in self.codes.tolist()]

    def values(self, metric: str) -> NDArray[np.float64]:
        """(samples,) The values of a metric; NaN where a score has none."""
        import numpy as np

        return np.array([nan if one is None else one.values.get(metric, nan) for one in self.known])[self.codes]

    @property
    def explanations(self) -> list[str | None]:
        """The explanation of each sample's score."""
        known = [one.explanation if one else None for one in self.known]
        words = self.read_own_words() or [None] * len(self.codes)
        pairs = zip(self.codes.tolist(), words, strict=True)
        return [known[code] if own is None else read_words(own) for code, own in pairs]

    def find(self, status: str) -> Iterator[tuple[int, Score]]:
        """Yields the places of the samples whose score has a status, with the scores."""
        wanted = {code: one for code, one in enumerate(self.known) if one is not None and one.status == status}
        if wanted:
            yield from ((place, wanted[code]) for place, code in enumerate(self.codes.tolist()) if code in wanted)
