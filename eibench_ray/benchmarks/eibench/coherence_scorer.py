"""Long-term coherence of answers: how alike adjacent sentences are, and its mean over a cell."""

from __future__ import annotations

import json
from array import array
from dataclasses import asdict, dataclass
from math import nan
from typing import TYPE_CHECKING

from eibench_ray.errors import ScoreError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.clusters import Clusters
from eibench_ray.scoring.interval import Resampling, bootstrap_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIGURES = ("coherence", "coherence_ci_low", "coherence_ci_high", "coherence_coverage", "sentences")


@dataclass(frozen=True, slots=True)
class Coherence:
    """The coherence of one answer, as the engine's reply carries it.

    Attributes:
        sentences: how many the answer has.
        coherence: in [-1, 1]; None below two sentences, where there is nothing to compare.
    """

    sentences: int
    coherence: float | None

    def to_text(self) -> str:
        """The engine's reply."""
        return json.dumps(asdict(self))


def read_coherence(text: str | None) -> Coherence | None:
    """The coherence behind an engine's reply; None where there is no reply."""
    return None if text is None else Coherence(**json.loads(text))


def adjacent_cosine(embeddings: NDArray[np.floating]) -> float | None:
    """Mean cosine between each sentence and the next; None below two.

    Args:
        embeddings: (sentences, dimensions), in the answer's order.
    """
    import numpy as np

    if len(embeddings) < 2:
        return None
    exact = embeddings.astype(np.float64)
    unit = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return float((unit[:-1] * unit[1:]).sum(axis=1).mean())


@dataclass(frozen=True, slots=True)
class CellCoherence:
    """Mean coherence over the answers of a cell.

    Attributes:
        measure: name of the option that measured it.
        n: samples.
        num_measured: answers of two sentences or more.
        coherence: mean over those; None where there are none.
        ci_low, ci_high: bootstrap interval of `coherence`, clustered by image.
        sentences: mean number of sentences over all answers that were split; None where there are none.
    """

    measure: str
    n: int
    num_measured: int
    coherence: float | None
    ci_low: float | None
    ci_high: float | None
    sentences: float | None

    @property
    def coverage(self) -> float:
        """Share of the samples whose answer has a coherence."""
        return self.num_measured / self.n

    @property
    def figures(self) -> dict[str, float | None]:
        """Each figure under the name that tables and trackers give it: FIGURES."""
        values = (self.coherence, self.ci_low, self.ci_high, self.coverage, self.sentences)
        return dict(zip(FIGURES, values, strict=True))


class CoherenceColumns:
    """The coherence of a cell's answers, sample by sample; a sample leaves 20 bytes behind, a picture its digest."""

    def __init__(self) -> None:
        self._clusters = Clusters()
        self._cluster_of = array("i")
        self._coherence = array("d")
        self._sentences = array("d")

    def add(self, sample: Sample, known: Coherence | None) -> None:
        """The next sample, and its answer's coherence; None where there is none."""
        self._cluster_of.append(self._clusters.code(sample))
        self._sentences.append(nan if known is None else known.sentences)
        self._coherence.append(nan if known is None or known.coherence is None else known.coherence)

    def score(self, measure: str, resampling: Resampling) -> CellCoherence:
        """The cell's coherence; equal for equal arguments.

        Args:
            measure: name of the option that measured it.
            resampling: how the interval is made.

        Raises:
            ScoreError: there is no sample.
        """
        import numpy as np

        if not self._coherence:
            raise ScoreError("a cell without samples has no coherence: check the dataset and dataset.limit")
        values, sentences = np.array(self._coherence), np.array(self._sentences)
        is_measured, is_split = ~np.isnan(values), ~np.isnan(sentences)
        values, clusters = values[is_measured], np.array(self._cluster_of)[is_measured]
        mean = float(values.mean()) if len(values) else None
        low, high = mean, mean
        # Those of a cluster side by side, as codes into the distinct ones.
        distinct, codes = np.unique(values[clusters.argsort(kind="stable")], return_inverse=True)
        sizes = np.unique(clusters, return_counts=True)[1]
        if len(sizes) > 1 and len(distinct) > 1:
            low, high = bootstrap_interval(codes.astype(np.int32), sizes, distinct.tolist(), resampling)
        return CellCoherence(
            measure=measure,
            n=len(sentences),
            num_measured=len(values),
            coherence=mean,
            ci_low=low,
            ci_high=high,
            sentences=float(sentences[is_split].mean()) if is_split.any() else None,
        )
