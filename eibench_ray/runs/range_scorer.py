"""Scores the samples of a range, by columns; replies of a judge that are alike are read once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from eibench_ray.datasets.sample_table import SampleTable
from eibench_ray.plan.graph import Cell
from eibench_ray.runs.score_reader import JudgeReader, Reader
from eibench_ray.runs.step_rows import StepRows
from eibench_ray.scoring.answer_repeats import by_answer
from eibench_ray.scoring.judged.json_reply import cut_explanation, read_words
from eibench_ray.scoring.score_column import ScoreColumn
from eibench_ray.scoring.scorer import Score, ScoreStatus

# By scorer and its options: the scores of replies that came before, by what the scorer takes of their sample.
KnownScores = dict[str, dict[Hashable, Score]]
_MOST_KNOWN = 4096  # replies of one scorer


class RangeScorer:
    """Scores one cell, a range of samples after the other.

    Args:
        cell: the cell.
        reader: of its scores.
        known: what this and other cells have read.
    """

    def __init__(self, cell: Cell, reader: Reader, known: KnownScores) -> None:
        self._cell = cell
        self._reader = reader
        self._known = known.setdefault(repr((cell.scorer, cell.is_unparsed_wrong)), {})

    def read(self, samples: SampleTable, rows: Mapping[str, StepRows]) -> list[ScoreColumn]:
        """The scores, answer by answer a column per repeat of the judge.

        Args:
            samples: of the range.
            rows: about them, by step.
        """
        answers = [rows[step] for step in self._cell.answers]
        judged = by_answer([rows[step] for step in self._cell.verdicts], len(answers))
        if outlines := self._outline(samples):
            return [
                self._read_alike(samples, outlines, answer, reply)
                for answer, replies in zip(answers, judged, strict=True)
                for reply in replies
            ]
        columns: list[ScoreColumn] = []
        for answer, replies in zip(answers, judged, strict=True):
            said = zip(*(reply.results for reply in replies), strict=True) if replies else [()] * len(samples)
            scores = map(self._reader.read, samples, answer.results, said)
            columns += (ScoreColumn(column, np.arange(len(samples))) for column in zip(*scores, strict=True))
        return columns

    def _outline(self, samples: SampleTable) -> list[Hashable]:
        """The outline of each sample; empty where the scorer has none."""
        reader = self._reader
        if not isinstance(reader, JudgeReader) or not reader.scorer.asks or reader.scorer.compares:
            return []
        outlines = samples.map_targets(reader.scorer.outline)
        return [] if None in outlines or reader.scorer.reads_likelihoods else outlines

    def _read_alike(
        self, samples: SampleTable, outlines: Sequence[Hashable], answers: StepRows, replies: StepRows
    ) -> ScoreColumn:
        """Of replies that say the same but for their explanations, the first is read."""
        scores: list[Score | None] = []
        have_words: list[bool] = []  # of each score: whether the samples that share it have explanations of their own
        found: dict[Hashable, int] = {}
        codes: list[int] = []
        words: list[str | None] = []
        are_answers = (answers.are_answers & replies.are_answers).tolist()
        for place, (outline, text, is_answer) in enumerate(zip(outlines, replies.texts, are_answers, strict=True)):
            rest, own = cut_explanation(text or "")
            key = (outline, rest) if is_answer else None
            if key is None or (code := found.get(key)) is None:
                code = len(scores)
                score = self._known.get(key)
                if score is None:
                    (score,) = self._reader.read(samples[place], answers.result(place), [replies.result(place)])
                    self._keep(key, score, own)
                if key in self._known:
                    found[key] = code
                scores.append(score)
                have_words.append(
                    key in found and own is not None and score is not None and score.explanation is not None
                )
            codes.append(code)
            words.append(own if have_words[code] else None)
        return ScoreColumn(scores, np.array(codes, np.intp), words)

    def _keep(self, key: Hashable, score: Score | None, words: str | None) -> None:
        """Keeps a score that all replies have which say the same but for these words."""
        if key is None or score is None or score.status == ScoreStatus.SCORER_ERROR:  # may be its surroundings
            return
        if words is None or score.explanation in (None, read_words(words)):
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = score
