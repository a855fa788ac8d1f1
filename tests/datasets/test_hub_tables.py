"""Datasets of Hugging Face, as they are saved: formats, labels, pictures, splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from drawing import draw

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.hub_tables import read_hf
from eibench_ray.datasets.table_columns import parse_columns
from eibench_ray.datasets.table_import import prepare_table
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.rules.choice import ChoiceScorer

if TYPE_CHECKING:
    import datasets  # 0.4 s of each process that collects the tests

PICTURE = draw((200, 10, 10))


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of the hub, and nothing is left in the user's cache."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def saved(**split: Any) -> datasets.Dataset:
    import datasets

    features = datasets.Features(
        {
            "image": datasets.Image(),
            "question": datasets.Value("string"),
            "emotion": datasets.ClassLabel(names=["sad", "happy"]),
            "moods": datasets.List(datasets.ClassLabel(names=["low", "high"])),
            "labels": datasets.List(datasets.Value("string")),
            "shown": datasets.List(datasets.Image()),
        }
    )
    picture = {"bytes": PICTURE, "path": None}
    rows = [
        {"image": picture, "question": "why?", "emotion": 0, "moods": [1, 0], "labels": ["a", "b"], "shown": [picture]},
        {"image": None, "question": "who?", "emotion": None, "moods": [], "labels": ["c"], "shown": []},
    ]
    return datasets.Dataset.from_list(rows, features=features, **split)


def prepare(
    folder: Path, out: Path, *mapping: str, split: str | None = None
) -> tuple[list[Sample], dict[str, tuple[bytes, ...]]]:
    prepare_table(read_hf(str(folder), split), parse_columns(["target=labels", *mapping]), [], out)
    dataset = open_dataset(str(out))
    return dataset.samples(0, 9), dataset.images(0, 9, dataset.index().sample_ids)


@pytest.mark.parametrize("columns", [None, ["question"]], ids=["all", "some"])
@pytest.mark.parametrize("kind", [None, "numpy", "torch", "pandas", "arrow"])
def test_a_saved_format_changes_nothing(tmp_path: Path, kind: str | None, columns: list[str] | None) -> None:
    saved().with_format(kind, columns=columns).save_to_disk(str(tmp_path / "saved"))
    samples, images = prepare(tmp_path / "saved", tmp_path / "out")
    assert [(sample.inputs["question"], sample.metadata["emotion"], sample.target) for sample in samples] == [
        ("why?", "sad", ("a", "b")),
        ("who?", None, ("c",)),
    ]
    assert list(images.values()) == [(PICTURE,)]


def test_a_list_of_one_picture_is_that_picture(tmp_path: Path) -> None:
    saved().save_to_disk(str(tmp_path / "saved"))
    _, images = prepare(tmp_path / "saved", tmp_path / "out", "image=shown")
    assert list(images.values()) == [(PICTURE,)]


def test_labels_in_a_list_have_their_names(tmp_path: Path) -> None:
    saved().save_to_disk(str(tmp_path / "saved"))
    samples, _ = prepare(tmp_path / "saved", tmp_path / "out")
    assert [sample.metadata["moods"] for sample in samples] == [("high", "low"), ()]


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    import datasets

    datasets.DatasetDict({"train": saved(), "validation": saved()}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match="has no split 'test'; it has train, validation: name one with --split"):
        read_hf(str(tmp_path / "saved"))
    assert read_hf(str(tmp_path / "saved"), "validation").num_rows == 2


def test_a_folder_with_one_split_is_read_unless_another_is_asked_for(tmp_path: Path) -> None:
    saved(split="train").save_to_disk(str(tmp_path / "saved"))
    assert read_hf(str(tmp_path / "saved")).num_rows == read_hf(str(tmp_path / "saved"), "train").num_rows == 2
    with pytest.raises(DataError, match="holds the split 'train' alone, and not 'test'"):
        read_hf(str(tmp_path / "saved"), "test")


def test_a_folder_of_files_is_read(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    saved().to_parquet(str(tmp_path / "files" / "test.parquet"))
    samples, images = prepare(tmp_path / "files", tmp_path / "out")
    assert (len(samples), list(images.values())) == (2, [(PICTURE,)])
    with pytest.raises(DataError, match=r"does not give the split 'train' of .*--split"):
        read_hf(str(tmp_path / "files"), "train")


def test_what_is_no_dataset_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="`datasets` does not give the split 'test' of"):
        read_hf(str(tmp_path / "empty"))


def test_choices_and_the_index_of_the_right_one_are_read(tmp_path: Path) -> None:
    import datasets

    texts = datasets.List(datasets.Value("string"))
    features = datasets.Features(
        {
            "question": datasets.Value("string"),
            "choices": texts,
            "answer": datasets.ClassLabel(names=["A", "B"]),
            "gold": datasets.Value("int64"),
            "options": {
                "text": datasets.List(datasets.Value("string")),
                "label": datasets.List(datasets.Value("string")),
            },
        }
    )
    options = {"text": ["red", "blue"], "label": ["A", "B"]}
    row = {"question": "which?", "choices": ["red", "blue"], "answer": 1, "gold": 1, "options": options}
    datasets.Dataset.from_list([row], features=features).save_to_disk(str(tmp_path / "saved"))

    def read(*mapping: str, keep: tuple[str, ...] = ()) -> Sample:
        prepare_table(read_hf(str(tmp_path / "saved")), parse_columns(mapping, keep), [], tmp_path / "out")
        return open_dataset(str(tmp_path / "out")).samples(0, 1)[0]

    assert read("target=answer").target == "B"
    assert read("target=answer").metadata["choices"] == ("red", "blue")
    assert read("target=gold").target == 1
    assert read("target=gold", keep=("choices=options.text",)).metadata == {"choices": ("red", "blue")}
    scorer = ChoiceScorer()
    for sample in (read("target=answer"), read("target=gold"), read("target=gold", keep=("choices=options.text",))):
        assert scorer.read(sample, "It is (B).", None).values == {"accuracy": 1.0}


@pytest.mark.parametrize(
    "turns",
    [
        [{"from": "human", "value": "<image>\nwhy?"}, {"from": "gpt", "value": "rain"}],
        [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "rain"}],
    ],
)
def test_a_conversation_and_a_list_of_pictures_are_a_sample(tmp_path: Path, turns: list[dict[str, str]]) -> None:
    import datasets

    features = datasets.Features(
        {
            "images": datasets.List(datasets.Image()),
            "conversations": datasets.List({name: datasets.Value("string") for name in turns[0]}),
        }
    )
    picture = {"bytes": PICTURE, "path": None}
    row = {"images": [picture, picture], "conversations": turns}
    datasets.Dataset.from_list([row], features=features).save_to_disk(str(tmp_path / "saved"))
    prepare_table(read_hf(str(tmp_path / "saved")), parse_columns(()), [], tmp_path / "out")
    (sample,) = open_dataset(str(tmp_path / "out")).samples(0, 1)
    assert (sample.inputs, sample.target, len(sample.media)) == ({"question": "why?"}, "rain", 2)
