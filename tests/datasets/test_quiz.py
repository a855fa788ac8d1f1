"""The demo's questions: what is in the package is what `prepare` makes of its source."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import eibench_ray.datasets
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.table_columns import parse_columns
from eibench_ray.datasets.table_import import prepare_table
from eibench_ray.datasets.text_tables import read_jsonl
from eibench_ray.rows.sample import Sample

SOURCE = Path(eibench_ray.datasets.__file__).parent / "quiz" / "questions.jsonl"


def samples(path: str) -> list[Sample]:
    dataset = open_dataset(path)
    return dataset.samples(0, dataset.num_rows)


def test_the_questions_of_the_package_are_those_of_their_source(tmp_path: Path) -> None:
    prepare_table(read_jsonl(SOURCE), parse_columns([]), [], tmp_path / "quiz")
    assert samples("package:quiz") == samples(str(tmp_path / "quiz"))


def test_there_are_as_many_questions_of_each_topic() -> None:
    lines = [json.loads(line) for line in SOURCE.read_text(encoding="utf-8").splitlines()]
    assert Counter(line["topic"] for line in lines) == dict.fromkeys(
        ("capitals", "opposites", "arithmetic", "world"), 20
    )
