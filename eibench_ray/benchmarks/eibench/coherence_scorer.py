"""Long-term coherence: how alike adjacent sentences of an answer are, as an embedding engine measures it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.scorer import Metric, Score, Scorer, ScoreStatus

# Mean cosine between the embeddings of adjacent sentences.
COHERENCE = Metric("coherence", format=".3f", low=-1.0)
SENTENCES = Metric("sentences", unit="per answer", format=".1f", high=None)


@dataclass(frozen=True, slots=True)
class CoherenceScorer(Scorer):
    """Has an embedding engine measure an answer, whose reply is a small JSON text."""

    asks = True
    engine_kind = "embedding"
    metrics = (COHERENCE, SENTENCES)

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - the engine has read it
        """The coherence that the reply states; below two sentences there is none."""
        try:
            measured = json.loads(reply or "")
            sentences, coherence = measured["sentences"], measured["coherence"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return Score(sample.sample_id, status=ScoreStatus.UNPARSED)
        values = {SENTENCES.name: float(sentences)}
        if coherence is None:
            return Score(sample.sample_id, values, ScoreStatus.NOT_APPLICABLE)
        return Score(sample.sample_id, {COHERENCE.name: float(coherence), **values})
