"""Recorded answers held against samples: what has no line, what is about no sample, in words and in numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.runs.recordings import RecordingMatch, describe_recordings, match_recordings

if TYPE_CHECKING:
    from conftest import Sweeps


def match(sweeps: Sweeps, *lines: Mapping[str, Any], limit: int | None = None) -> list[RecordingMatch]:
    folder = sweeps.folder / "recorded"
    folder.mkdir()
    content = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "faces.plain.jsonl").write_text(content, encoding="utf-8")
    engine = {"kind": "replay", "predictions": str(folder)}
    config = sweeps.config("plain", model={"name": "by_hand", "engine": engine, "sees_image": True}, limit=limit)
    return match_recordings(sweeps.plan(config).plan)


@pytest.fixture
def ids(sweeps: Sweeps) -> list[str]:
    dataset = open_dataset(str(sweeps.write_dataset()))
    return [sample.sample_id for sample in dataset.samples(0, dataset.num_rows)]


def test_samples_without_a_line_and_lines_without_a_sample_are_named(sweeps: Sweeps, ids: list[str]) -> None:
    answers = [{"id": sample_id, "answer": None} for sample_id in ids[1:]]

    [found] = match(sweeps, *answers, {"id": "x", "answer": "sun"}, {"id": 7, "answer": "sun"})

    assert (found.num_samples, found.num_without_line, found.num_unknown) == (len(ids), 1, 2)
    assert (found.without_line, found.unknown) == ((ids[0],), ("x", "7"))
    assert list(describe_recordings([found])) == [
        f"by_hand: 1 of {len(ids)} samples of faces have no line in faces.plain.jsonl and become error rows: {ids[0]}",
        "by_hand: faces.plain.jsonl is read for faces, and 2 lines of it are about no sample there: x, 7",
    ]


def test_a_recording_that_fits_is_not_spoken_of(sweeps: Sweeps, ids: list[str]) -> None:
    [found] = match(sweeps, *({"id": sample_id, "answer": "sun"} for sample_id in ids))

    assert (found.num_without_line, found.num_unknown) == (0, 0)
    assert not list(describe_recordings([found]))


def test_lines_of_samples_beyond_the_limit_are_no_mistake(sweeps: Sweeps, ids: list[str]) -> None:
    [found] = match(sweeps, *({"id": sample_id, "answer": "sun"} for sample_id in ids[1:]), limit=2)

    assert (found.num_samples, found.without_line, found.unknown) == (2, (ids[0],), ())


def test_only_the_first_names_are_told() -> None:
    found = RecordingMatch("m", "d", "f.jsonl", 2000, tuple("abcde"), 1200, ("x",), 1)

    first, second = describe_recordings([found])

    assert first.endswith(
        "1,200 of 2,000 samples of d have no line in f.jsonl and become error rows: a, b, c, d, e and 1,195 more"
    )
    assert second == "m: f.jsonl is read for d, and 1 line of it is about no sample there: x"


def test_a_file_that_is_not_there_or_cannot_be_read_is_the_plans_matter(sweeps: Sweeps, ids: list[str]) -> None:
    assert match(sweeps, {"id": ids[0], "answer": "sun"}, {"1.jpg": "sun"}) == []
