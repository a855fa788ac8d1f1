"""Scores the samples of a range, by columns; replies of a judge that are alike are read once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from eibench_ray.datasets.sample_table import SampleTable
from eibench_ray.plan.graph import Cell
from eibench_ray.runs.cut_replies import cut_replies
from eibench_ray.runs.score_reader import JudgeReader, Reader
from eibench_ray.runs.step_rows import StepRows
from eibench_ray.scoring.answer_repeats import by_answer
from eibench_ray.scoring.judged.json_reply import read_words
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
        size = len(outlines)  # the table would have to read its samples
        texts = replies.column("text")
        cut = cut_replies(pa.chunked_array([pa.nulls(size, pa.string())]) if texts is None else texts)
        are_answers = answers.are_answers & replies.are_answers
        numbers: dict[Hashable, int] = {}
        of_targets = np.array([numbers.setdefault(outline, len(numbers)) for outline in outlines], np.intp)
        # What is no answer is like nothing else.
        said = np.where(are_answers, of_targets * len(cut.rests) + cut.codes, -1 - np.arange(size))
        groups = pa.array(said).dictionary_encode().indices.to_numpy()  # numbered by the first of each
        firsts = np.zeros(groups.max(initial=-1) + 1, np.intp)
        firsts[groups[::-1]] = np.arange(size)[::-1]

        def read(place: int) -> Score | None:
            (score,) = self._reader.read(samples[place], answers.result(place), [replies.result(place)])
            return score

        scores: list[Score | None] = []
        have_words: list[bool] = []  # of each score: whether the samples that share it have explanations of their own
        of_group = np.full(len(firsts), -1)
        for group, place in enumerate(firsts.tolist()):
            if not are_answers[place]:
                continue
            key, words = (outlines[place], cut.rests[cut.codes[place]]), cut.words_of(place)
            if key not in self._known:
                self._keep(key, read(place), words)
            if (known := self._known.get(key)) is not None:
                of_group[group] = len(scores)
                scores.append(known)
                have_words.append(words is not None and known.explanation is not None)
        codes = of_group[groups]
        for place in np.flatnonzero(codes < 0).tolist():  # what has no like, or is not what its words say
            codes[place] = len(scores)
            scores.append(read(place))
            have_words.append(False)

        def own_words() -> list[str | None]:
            are_own = np.array(have_words, np.bool_)[codes].tolist()
            return [words if is_own else None for words, is_own in zip(cut.all_words(), are_own, strict=True)]

        return ScoreColumn(scores, codes, own_words)

    def _keep(self, key: Hashable, score: Score | None, words: str | None) -> None:
        """Keeps a score, if all replies have it which say the same but for these words."""
        if score is None or score.status == ScoreStatus.SCORER_ERROR:  # may be its surroundings
            return
        if words is None or score.explanation in (None, read_words(words)):
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = score
