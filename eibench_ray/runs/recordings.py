"""Recorded answers held against the samples that they are to answer: what has no line, and which lines are of none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eibench_ray.datasets.dataset import Dataset, open_dataset
from eibench_ray.engines.recording import Recording
from eibench_ray.errors import EngineError
from eibench_ray.plan.graph import Plan
from eibench_ray.visible_text import in_line

_RANGE_ROWS = 1024
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class RecordingMatch:
    """Fit of a file of recorded answers to a dataset.

    Attributes:
        without_line, num_without_line: ids of those that the file has no line for, the first few, and how many.
        unknown, num_unknown: ids or pictures of lines that are about no sample of the whole dataset, likewise.
    """

    model: str
    dataset: str
    file: str
    num_samples: int  # that the plan asks about
    without_line: tuple[str, ...] = ()
    num_without_line: int = 0
    unknown: tuple[str, ...] = ()
    num_unknown: int = 0


def match_recordings(plan: Plan) -> list[RecordingMatch]:
    """A match per file of recorded answers that can be read and dataset that is prepared."""
    found = {}
    for step in plan.steps.values():
        engine, dataset = plan.engines[step.engine], plan.datasets[step.dataset]
        if engine.recording is not None and dataset.is_prepared and Path(engine.recording).exists():
            found[engine.recording, dataset.name] = engine.name, dataset
    matches = []
    for (file, name), (model, dataset) in found.items():
        try:
            recording = Recording(Path(file))
        except EngineError:  # the plan has a blocker for it
            continue
        without, unknown = _compare(recording, open_dataset(dataset.path), dataset.rows)
        firsts = tuple(without[:_MOST_NAMES]), len(without), tuple(unknown[:_MOST_NAMES]), len(unknown)
        matches.append(RecordingMatch(model, name, file, dataset.num_rows, *firsts))
    return matches


def describe_recordings(matches: Iterable[RecordingMatch]) -> Iterator[str]:
    """A line per file that does not fit its dataset."""
    for match in matches:
        file = Path(match.file).name
        if match.num_without_line:
            yield in_line(
                f"{match.model}: {match.num_without_line:,} of {match.num_samples:,} samples of {match.dataset} have "
                f"no line in {file} and become error rows: {_name(match.without_line, match.num_without_line)}"
            )
        if match.num_unknown:
            lines = "line of it is" if match.num_unknown == 1 else "lines of it are"
            yield in_line(
                f"{match.model}: {file} is read for {match.dataset}, and {match.num_unknown:,} {lines} about no sample "
                f"there: {_name(match.unknown, match.num_unknown)}"
            )


def _name(names: tuple[str, ...], number: int) -> str:
    return ", ".join(names) + (f" and {number - len(names):,} more" if number > len(names) else "")


def _compare(recording: Recording, dataset: Dataset, rows: Sequence[int]) -> tuple[list[str], list[str]]:
    """Ids of the samples in some rows without a line, and what the lines are about that no sample has."""
    left = dict.fromkeys(recording.keys)
    known = frozenset(left)
    without = []
    asked = rows if isinstance(rows, range) else frozenset(rows)
    for number, (sample_id, path, question) in enumerate(_samples(dataset, by_id=recording.is_by_id)):
        keys = [key for key in recording.keys_of(sample_id, path, question) if key in known]
        for key in keys:
            left.pop(key, None)
        if number in asked and not keys:
            without.append(sample_id)
    return without, [about if question is None else f"{about} ({question})" for about, question in left]


def _samples(dataset: Dataset, *, by_id: bool) -> Iterator[tuple[str, str | None, str]]:
    """Id, path of the picture and question of all samples; of their ids alone, where nothing else is compared."""
    if by_id:
        for sample_id, _ in dataset.index().rows(0, dataset.num_rows):
            yield sample_id, None, ""
        return
    for start in range(0, dataset.num_rows, _RANGE_ROWS):
        for sample in dataset.samples(start, start + _RANGE_ROWS):
            path = sample.media[0].path if sample.media else None
            yield sample.sample_id, path, sample.inputs.get("question", "")
