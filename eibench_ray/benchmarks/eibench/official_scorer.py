"""The official protocol: the published scripts' scoring to the digit, quirks included.

The quirks that move a figure, all kept:
- a reply counts by its first `{score: C/T}`, and C may exceed T;
- a reply without one is left out of the average, but its emotion receives the value of the judgement before it;
- an emotion is known by a part of the picture's path, in upper and lower case as written here;
- an emotion without samples scores 0.
Where the scripts would stop with a traceback (a total of 0; nothing before the first reply without a score), a
ScoreError names the judgement. The complex subset's script knows no emotions.

Source: EIBench, get_scores.py and get_scores_complex.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from eibench_ray.benchmarks.eibench.parsed_verdict import MAX_COUNT, RECALL, UNPARSED, CountStatus, ParsedVerdict
from eibench_ray.errors import DataError, ScoreError
from eibench_ray.rows.request import AcceptRule, Sampling
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.scorer import Score, Scorer

_SCORE = re.compile(r"\{score: (\d+)/(\d+)\}")
# Folders of EmoSet's emotions that only the complex subset draws from.
_COMPLEX_ONLY = re.compile(r"EmoSet-118k/image/(?!sadness/|excitement/)[^/]+/")
_EMOTION_BY_PATH = {"Happy": "happy", "sad": "sad", "Angry": "angry", "excit": "excit"}  # the first that matches


@dataclass(frozen=True, slots=True)
class OfficialScorer(Scorer):
    """Follows EIBench's published scripts: their attempts, their fallback, their reading of a judge's reply.

    A recall is kept as published: its total may differ from the number of reference triggers, and it may exceed 1.
    """

    variant: Literal["llama3", "gpt"] = "llama3"  # whose script: that for LLaMA-3 or for GPT

    asks = True
    metrics = (RECALL,)

    @property
    def sampling(self) -> Sampling:
        """The scripts' decoding parameters. Those for GPT leave top_p to the API, where it is 1."""
        return Sampling(temperature=0.1, top_p=0.9 if self.variant == "llama3" else 1.0, max_tokens=512)

    @property
    def accept(self) -> AcceptRule:
        """The script's rule for LLaMA-3; it holds for the project's own words too, which ask for the same reply."""
        return AcceptRule(contains="{score: ", ignore_case=True, attempts=5, fallback="{score: 0/1}")

    def prompt_names(self, subset: str | None) -> tuple[str, ...]:
        """The script for the subset, else that for the basic one."""
        return f"{self.variant}_{subset or 'basic'}", f"{self.variant}_basic"

    def has_something_to_ask(self, sample: Sample) -> bool:
        """Whether the sample has a trigger to find."""
        return bool(sample.targets)

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - the judge has read it
        """The recall that the reply states first."""
        return official_verdict(reply or "").to_score(sample.sample_id)


class Judgement(NamedTuple):
    """One judge's reply, and the picture it is about."""

    path: str
    reply: str


@dataclass(frozen=True, slots=True)
class OfficialScores:
    """Figures as the published scripts print them: means, not clamped; 0 where there is nothing to average.

    Attributes:
        happy, angry, sad, excit: None for the complex subset.
    """

    happy: float | None
    angry: float | None
    sad: float | None
    excit: float | None
    average: float
    unmatched: tuple[str, ...]  # paths whose reply had no score, in order

    def text(self) -> str:
        """The scripts' output, character by character."""
        named = [("happy", self.happy), ("angry", self.angry), ("sad", self.sad), ("excit", self.excit)]
        scores = [
            f"{name} Score: {score:.5f}" for name, score in [*named, ("average", self.average)] if score is not None
        ]
        return "".join(f"{line}\n" for line in [*self.unmatched, *scores])


def official_verdict(text: str) -> ParsedVerdict:
    """The verdict that a reply states by its first score, not clamped; unparsed where it has none or no value."""
    match = _SCORE.search(text)
    if match is None:
        return UNPARSED
    try:
        correct, total = int(match[1]), int(match[2])
    except ValueError:  # thousands of digits
        return UNPARSED
    if total == 0 or max(correct, total) > MAX_COUNT:
        return UNPARSED
    explanation = (text[: match.start()] + text[match.end() :]).strip()
    return ParsedVerdict(correct, total, explanation or None, CountStatus.OK)


def score_official(
    judgements: Iterable[tuple[str, str]], subset: Literal["basic", "complex"] = "basic"
) -> OfficialScores:
    """The scores that the subset's published script prints for these (path, reply), in this order.

    Raises:
        ScoreError: a total of 0, a number too large to divide, or a first reply without the score that its emotion
            needs.
    """
    scores: list[float] = []
    unmatched: list[str] = []
    by_emotion: dict[str, list[float]] = {name: [] for name in _EMOTION_BY_PATH.values()}
    for number, (path, reply) in enumerate(judgements, start=1):
        match = _SCORE.search(reply)
        if match:
            scores.append(_divide(match, number, path))
        else:
            unmatched.append(path)
        emotion = next((name for part, name in _EMOTION_BY_PATH.items() if part in path), None)
        if subset == "complex" or emotion is None:
            continue
        if not scores:
            raise ScoreError(
                f"judgement {number} ({path}) has no '{{score: correct/total}}' and none comes before it; the "
                f"published script repeats the judgement before and stops here: judge this sample again, or score "
                f"with the strict protocol"
            )
        by_emotion[emotion].append(scores[-1])
    emotions = {name: None if subset == "complex" else _mean(values) for name, values in by_emotion.items()}
    return OfficialScores(**emotions, average=_mean(scores), unmatched=tuple(unmatched))


def find_subset(paths: Iterable[str]) -> Literal["basic", "complex"]:
    """Subset of a file: complex where all pictures are EmoSet's, some of an emotion that basic lacks."""
    found = list(paths)
    is_complex = all("EmoSet-118k/" in path for path in found) and any(map(_COMPLEX_ONLY.search, found))
    return "complex" if is_complex else "basic"


def read_judgements(path: Path) -> Iterator[Judgement]:
    """The judgements of a JSONL file in order, one or more `{path: reply}` per line.

    Blank lines and a byte order mark, at which the published scripts stop, are passed over.

    Raises:
        DataError: the file cannot be read, or a line is not an object of texts.
    """
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield from _read_line(line, f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the judgements cannot be read ({error}): name a JSONL file in UTF-8") from error


def _read_line(line: str, where: str) -> Iterator[Judgement]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}): expected one {{path: reply}} per line") from error
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected an object {{path: reply}}, found {type(found).__name__}: fix the line")
    for path, reply in found.items():
        if not isinstance(reply, str):
            raise DataError(
                f"{where}: the reply for {path!r} is {type(reply).__name__}, not a text: name the file that a judge "
                f"wrote, not the answers that it read"
            )
        yield Judgement(path, reply)


def _divide(match: re.Match[str], number: int, path: str) -> float:
    try:
        return int(match[1]) / int(match[2])
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        raise ScoreError(
            f"judgement {number} ({path}) says '{match[0][:60]}', which has no value ({error}); the published script "
            f"stops here: judge this sample again, or score with the strict protocol"
        ) from error


def _mean(scores: list[float]) -> float:
    return sum(scores) / len(scores) if scores else 0.0
