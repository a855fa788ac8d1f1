"""Tests of `eibench_ray/datasets/row_choice.py`."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from eibench_ray.datasets.dataset import Dataset, open_dataset
from eibench_ray.datasets.row_choice import RowChoice, choose_rows
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import MetadataValue, Sample

EMOTIONS = ["angry"] * 21 + ["happy"] * 6 + ["sad"] * 29 + ["excited"] * 44


def write(folder: Path, metadata: list[Mapping[str, MetadataValue]]) -> Dataset:
    """A dataset with one sample per entry."""
    with DatasetWriter(folder, "a test") as writer:
        for number, said in enumerate(metadata):
            writer.add(Sample(f"s{number:03d}", {"question": "why?"}, metadata=said))
    return open_dataset(str(folder))


@pytest.fixture
def emotions(tmp_path: Path) -> Dataset:
    """A hundred samples that stand in the order of their emotions."""
    return write(tmp_path / "d", [{"emotion": emotion, "third": row // 3} for row, emotion in enumerate(EMOTIONS)])


def test_without_a_choice_the_first_rows_are_a_range(emotions: Dataset) -> None:
    assert choose_rows(emotions, RowChoice()) == range(100)
    assert choose_rows(emotions, RowChoice(limit=7)) == range(7)
    assert choose_rows(emotions, RowChoice(limit=700, sample="random")) == range(100)


def test_a_stratified_sample_has_each_group_in_proportion(emotions: Dataset) -> None:
    choice = RowChoice(50, "stratified", strata=("emotion",))
    rows = list(choose_rows(emotions, choice))
    counts = Counter(EMOTIONS[row] for row in rows)
    assert rows == sorted(rows)
    assert {name: abs(counts[name] - total / 2) <= 0.5 for name, total in Counter(EMOTIONS).items()} == dict.fromkeys(
        dict.fromkeys(EMOTIONS), True
    )
    assert sum(counts.values()) == 50


@pytest.mark.parametrize("sample", ["random", "stratified"])
def test_a_larger_sample_holds_the_smaller_one(emotions: Dataset, sample: str) -> None:
    chosen: list[set[int]] = [
        set(choose_rows(emotions, RowChoice(limit, sample, strata=("emotion",))))  # type: ignore[arg-type]
        for limit in range(1, 100)
    ]
    assert [len(rows) for rows in chosen] == list(range(1, 100))
    assert all(small < large for small, large in pairwise(chosen))


def test_a_seed_draws_the_same_sample_again_and_another_seed_another(emotions: Dataset) -> None:
    first, again, other = (list(choose_rows(emotions, RowChoice(20, "random", seed))) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first != list(range(20))


def test_a_sample_of_a_dataset_that_grew_keeps_most_of_what_it_had(tmp_path: Path) -> None:
    plain: list[Mapping[str, MetadataValue]] = [{}] * 200
    small, grown = write(tmp_path / "a", plain[:180]), write(tmp_path / "b", plain)
    before, after = (set(choose_rows(dataset, RowChoice(50, "random"))) for dataset in (small, grown))
    assert {row for row in after if row < 180} <= before
    assert len(before & after) >= 40


def test_a_filter_takes_equal_values_or_one_of_a_list(tmp_path: Path) -> None:
    said: list[Mapping[str, MetadataValue]] = [
        {"tags": ("a", "b"), "level": 1, "is_new": True},
        {"tags": ("b",), "level": 1.5, "is_new": False},
        {"tags": ("c",), "level": 2},
    ]
    dataset = write(tmp_path / "d", said)

    def rows(**wanted: tuple[bool | int | float | str | None, ...]) -> list[int]:
        return list(choose_rows(dataset, RowChoice(filter=wanted)))

    assert rows(tags=("b",)) == [0, 1]
    assert rows(level=(1.5, 2)) == [1, 2]
    assert rows(is_new=(True,)) == [0]
    assert rows(is_new=(None,)) == [2]
    assert rows(tags=("b",), level=(1,)) == [0]
    assert list(choose_rows(dataset, RowChoice(1, filter={"level": (1.5, 2)}))) == [1]


def test_true_is_not_the_number_one(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", [{"level": 1}, {"level": 2}])
    with pytest.raises(DataError, match=r"has true as 'level', which dataset\.filter asks for; there are 1 \(1\), 2"):
        choose_rows(dataset, RowChoice(filter={"level": (True,)}))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (RowChoice(filter={"feeling": ("sad",)}), r"no column 'feeling' .*its columns are emotion, third"),
        (RowChoice(5, "stratified", strata=("mood",)), r"no column 'mood'"),
        (RowChoice(filter={"emotion": ("sad", "angri")}), r"has .angri. as 'emotion'.*there are .excited. \(44\)"),
        (RowChoice(filter={"emotion": ("sad",), "third": (0,)}), r"passes the whole of dataset\.filter"),
    ],
)
def test_a_choice_that_names_what_is_not_there_is_refused(emotions: Dataset, choice: RowChoice, message: str) -> None:
    with pytest.raises(DataError, match=message):
        choose_rows(emotions, choice)


def test_a_choice_says_in_words_how_it_was_made() -> None:
    assert str(RowChoice(5)) == ""
    assert str(RowChoice(5, "random", 3)) == "random, seed 3"
    choice = RowChoice(5, "stratified", 0, ("emotion",), {"is_even": (True,), "emotion": ("sad", None)})
    assert str(choice) == "stratified by emotion, seed 0; is_even: true; emotion: 'sad' or null"
