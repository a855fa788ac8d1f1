"""EIBench's annotation files, read into samples; what is wrong in them is noted with file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from eibench_ray.benchmarks.eibench.triggers import split_triggers
from eibench_ray.datasets.problems import ProblemKind, Problems, SampleCheck
from eibench_ray.datasets.sample_ids import SampleIds
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Media, Sample
from eibench_ray.visible_text import quote, shorten

# In this order, case-sensitive, as the published scoring scripts sort samples into emotions.
EMOTION_BY_SUBSTRING = {"Happy": "happy", "sad": "sadness", "Angry": "angry", "excit": "excitement"}
COMPLEX_EMOTION = "complex"  # the complex subset asks about several emotions of one picture, its folder names another

# JSON objects are read as tuples of pairs (`object_pairs_hook=tuple`): a dict would drop a repeated key in silence.


def find_annotation(source: Path, folder: str, *names: str) -> Path:
    """The file with one of these names below a clone, or in a flat folder; one in `folder` comes before others.

    Raises:
        DataError: there is none.
    """
    files = [file for name in names for file in source.rglob(name)]
    if not files:
        raise DataError(f"{' or '.join(names)} is not below {source}: pass a clone of EIBench as --source")
    return min(files, key=lambda file: (file.parent.name != folder, len(file.parts), file))


def read_basic(source: Path, problems: Problems) -> list[Sample]:
    """The samples of the basic subset: `user.jsonl` with `basic_ground_truth.json`."""
    questions = find_annotation(source, "EI_Basic", "user.jsonl")
    references = _read_references(find_annotation(source, "EI_Basic", "basic_ground_truth.json"), problems)
    check, ids = SampleCheck(problems), SampleIds()
    samples = []
    for where, path, question in _entries(questions, problems):
        sample = _to_sample(ids.make(path, None), path, question, references.get(path, ""), _to_emotion(path))
        if _is_text(
            question, references.get(path), f"{where} ({shorten(sample.sample_id)})", problems
        ) and check.accept(where, sample):
            samples.append(sample)
    return samples


def read_complex(source: Path, problems: Problems) -> list[Sample]:
    """The samples of the complex subset, `ec_complex.jsonl`: one picture has several questions."""
    check, ids = SampleCheck(problems), SampleIds()
    samples = []
    file = find_annotation(source, "EI_Complex", "ec_complex.jsonl", "ei_complex.jsonl")
    for where, path, asked in _entries(file, problems):
        if not isinstance(asked, tuple) or not asked:
            problems.add(ProblemKind.MALFORMED, f"{where} (not a question with its reference)")
            continue
        for question, reference in asked:
            sample = _to_sample(ids.make(path, question), path, question, reference, COMPLEX_EMOTION)
            if _is_text(question, reference, f"{where} ({shorten(sample.sample_id)})", problems) and check.accept(
                where, sample
            ):
                samples.append(sample)
    return samples


def _read_references(file: Path, problems: Problems) -> dict[str, object]:
    references: dict[str, object] = {}
    try:
        pairs = json.loads(file.read_bytes(), object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        problems.add(ProblemKind.MALFORMED, f"{file.name} (not JSON: {error})")
        return references
    if not isinstance(pairs, tuple):
        problems.add(ProblemKind.MALFORMED, f"{file.name} (not an object of pictures and references)")
        return references
    for path, reference in pairs:
        if path in references:
            problems.add(ProblemKind.DUPLICATE, f"{file.name} ({path})")
        references[path] = reference
    return references


def _entries(file: Path, problems: Problems) -> Iterator[tuple[str, str, object]]:
    """Per picture of a JSONL file: `file:line`, the picture's path, and what stands beside it."""
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{file.name}:{number}"
        try:
            pairs = json.loads(line, object_pairs_hook=tuple)
        except (ValueError, RecursionError) as error:
            problems.add(ProblemKind.MALFORMED, f"{where} (not JSON: {error})")
            continue
        if not isinstance(pairs, tuple) or not pairs:
            problems.add(ProblemKind.MALFORMED, f"{where} (not an object with a picture's path)")
            continue
        for path, value in pairs:
            yield where, path, value


def _is_text(question: object, reference: object, where: str, problems: Problems) -> bool:
    """Whether both are texts, or not there; what else they are is noted."""
    for name, value in (("question", question), ("reference", reference)):
        if not isinstance(value, str | None):
            problems.add(ProblemKind.MALFORMED, f"{where}: its {name} is no text: {quote(value)}")
            return False
    return True


def _to_sample(sample_id: str, path: str, question: object, reference: object, emotion: str) -> Sample:
    """A sample; what is not there is left out, which the check then refuses."""
    text = reference if isinstance(reference, str) else ""
    return Sample(
        sample_id,
        {"question": question} if isinstance(question, str) else {},
        (Media(path),),
        split_triggers(text) or None,
        # As the source writes the triggers: the published prompts show them so.
        {"emotion": emotion, "source": path.partition("/")[0], "reference": text},
    )


def _to_emotion(path: str) -> str:
    named = (emotion for part, emotion in EMOTION_BY_SUBSTRING.items() if part in path)
    return next(named, PurePosixPath(path).parent.name.lower())
