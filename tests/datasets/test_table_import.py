import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.hub_tables import read_hf
from eibench_ray.datasets.parquet_tables import read_parquet
from eibench_ray.datasets.table_import import parse_mapping, prepare_table
from eibench_ray.datasets.text_tables import read_jsonl
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Sample


def write_jsonl(tmp_path: Path, *rows: object) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(name.encode())
    return folder


def test_columns_are_mapped_and_references_built(tmp_path: Path, pictures: Path) -> None:
    file = write_jsonl(
        tmp_path,
        {"text": "Why so glad?", "img_path": "a.png", "labels": ["Sun.", " A gift. "], "emotion": "happy", "id": 7},
        {"text": "Why so glum?", "img_path": "b.png", "labels": "1. Rain.\n2. Mud."},
    )
    mapping = ["question=text", "image=img_path", "triggers=labels"]
    report = prepare_table(read_jsonl(file), mapping, [pictures], tmp_path / "out")
    [(path, card)] = report.datasets
    assert (path, card.rows, card.protocol) == (str(tmp_path / "out"), 2, "own")
    dataset = open_dataset(str(path))
    first, second = dataset.samples(0, 2)
    assert (first.sample_id, first.emotion, first.image_path) == ("7", "happy", "a.png")
    assert (first.triggers, first.reference) == (("Sun.", "A gift."), "1. Sun.\n2. A gift.")
    assert (second.triggers, second.reference) == (("Rain.", "Mud."), "1. Rain.\n2. Mud.")
    assert second.sample_id.startswith("b#")
    assert second.emotion == "unspecified"
    assert dataset.images(0, 2, ["7"]) == {"7": b"a.png"}


def test_parquet_pictures_may_be_paths_bytes_or_structs(tmp_path: Path, pictures: Path) -> None:
    common = {"question": ["Why?", "Why then?"], "reference": ["1. Sun.", "1. Rain."], "caption": ["A face.", None]}
    kinds = {
        "path": ["a.png", "b.png"],
        "bytes": [b"a.png", b"b.png"],
        "struct": [{"bytes": b"a.png", "path": None}, {"bytes": None, "path": str(pictures.resolve() / "b.png")}],
    }
    for name, images in kinds.items():
        pq.write_table(pa.table(common | {"image": images}), tmp_path / f"{name}.parquet")
        prepare_table(read_parquet(tmp_path / f"{name}.parquet"), [], [pictures], tmp_path / name)
        dataset = open_dataset(str(tmp_path / name))
        assert sorted(dataset.images(0, 2, dataset.index().sample_ids).values()) == [b"a.png", b"b.png"]
        assert [sample.caption for sample in dataset.samples(0, 2)] == ["A face.", None]


def test_text_only_rows_need_no_picture(tmp_path: Path) -> None:
    file = write_jsonl(
        tmp_path, {"question": "Why?", "triggers": ["Sun."]}, {"question": "How?", "triggers": ["Rain."]}
    )
    prepare_table(read_jsonl(file), [], [], tmp_path / "out")
    dataset = open_dataset(str(tmp_path / "out"))
    assert [sample.image_digest for sample in dataset.samples(0, 2)] == [None, None]
    assert dataset.images(0, 2, dataset.index().sample_ids) == {}


def test_every_problem_is_said_at_once_and_nothing_is_written(tmp_path: Path, pictures: Path) -> None:
    row = {"question": "Why?", "image": "a.png", "triggers": ["Sun."]}
    file = write_jsonl(
        tmp_path,
        row,
        row,
        "{",
        '"text"',
        row | {"image": "c.png"},
        row | {"image": "../secret.png"},
        row | {"image": 3},
        row | {"image": "b.png", "triggers": []},
        {"image": "b.png", "triggers": ["Sun."]},
    )
    with pytest.raises(DataError) as caught:
        prepare_table(read_jsonl(file), [], [pictures], tmp_path / "out", allow_missing_images=False)
    message = str(caught.value)
    for part in (
        "malformed, 4: rows.jsonl:3 (not JSON",
        "rows.jsonl:4 (not an object)",
        "rows.jsonl:7, column image: a picture is a path, bytes, or both, not int: 3",
        "rows.jsonl:9 (b#",
        "named twice, 1: rows.jsonl:2",
        "question without reference, 1: rows.jsonl:8",
        "leaves the picture folders, 1: rows.jsonl:6 (../secret.png)",
        "picture not found, 1: rows.jsonl:5 (c.png)",
    ):
        assert part in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "rows.jsonl"]


def test_missing_pictures_can_be_left_out(tmp_path: Path, pictures: Path) -> None:
    row = {"question": "Why?", "image": "a.png", "triggers": ["Sun."]}
    file = write_jsonl(tmp_path, row, row | {"image": "c.png"})
    report = prepare_table(read_jsonl(file), [], [pictures], tmp_path / "out", allow_missing_images=True)
    assert [(card.rows, card.left_out) for _, card in report.datasets] == [(1, 1)]


def test_a_mapped_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path, {"text": "Why?", "labels": ["Sun."]})
    with pytest.raises(DataError, match="no column missing; it has text, labels"):
        prepare_table(read_jsonl(file), ["question=text", "triggers=missing"], [], tmp_path / "out")
    with pytest.raises(DataError, match="no column question"):
        prepare_table(read_jsonl(file), [], [], tmp_path / "out")


CASES = Path(__file__).parents[3] / "shared" / "cases" / "tables"


def prepare_case(tmp_path: Path, name: str, *mapping: str, images: Sequence[Path] = ()) -> list[Sample]:
    """The samples of one of the tables that once lost something."""
    if not CASES.is_dir():
        pytest.skip("the cases are not beside the checkout, in ../shared/cases")
    table = (read_parquet if name.endswith(".parquet") else read_jsonl)(CASES / name)
    prepare_table(table, mapping, images, tmp_path / "out")
    dataset = open_dataset(str(tmp_path / "out"))
    return dataset.samples(0, dataset.num_rows)


def test_ids_that_are_whole_floats_are_whole_numbers(tmp_path: Path) -> None:
    samples = prepare_case(tmp_path, "float_id.parquet", "id=qid")
    assert [sample.sample_id for sample in samples] == ["101", "102"]


def test_a_null_id_is_named_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"malformed, 1: float_id_null\.parquet:2, column id: it is null or empty"):
        prepare_case(tmp_path, "float_id_null.parquet")


def test_ids_that_are_bytes_of_a_text_are_that_text(tmp_path: Path) -> None:
    assert [sample.sample_id for sample in prepare_case(tmp_path, "uuid_bytes.parquet")] == ["abc", "abd"]


def test_lists_of_captions_and_of_one_emotion_are_kept(tmp_path: Path) -> None:
    samples = prepare_case(tmp_path, "list_caption.parquet", "caption=captions")
    assert [(sample.caption, sample.emotion) for sample in samples] == [
        ("A man.\nA sad man.", "sad"),
        ("Two dogs.", "happy"),
    ]
    first, second = prepare_case(tmp_path, "null_caption.jsonl")
    assert (first.caption, first.emotion) == ("a\nb", "unspecified")
    assert (second.sample_id, second.caption, second.emotion) == ("2", None, "sad")


def test_a_trigger_that_is_no_text_is_named_and_never_left_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mixed_trig\.jsonl:1, column triggers: item 3 of its list: an object is no"):
        prepare_case(tmp_path, "mixed_trig.jsonl")


def test_pictures_that_differ_in_their_suffix_are_two_samples(tmp_path: Path) -> None:
    for name in ("cat.jpg", "cat.png"):
        (tmp_path / name).write_bytes(name.encode())
    samples = prepare_case(tmp_path, "stem.jsonl", images=[tmp_path])
    assert [sample.image_path for sample in samples] == ["cat.jpg", "cat.png"]
    assert samples[0].sample_id.startswith("cat#")
    assert samples[1].sample_id.startswith("cat.png#")


@pytest.mark.parametrize("pair", ["question", "colour=text", "question="])
def test_a_mapping_must_name_a_field_and_a_column(pair: str) -> None:
    with pytest.raises(DataError, match="FIELD=COLUMN"):
        parse_mapping([pair])


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a file"):
        read_jsonl(tmp_path / "nothing.jsonl")
    with pytest.raises(DataError, match="not a Parquet file"):
        read_parquet(write_jsonl(tmp_path, {"question": "Why?"}))


def test_without_the_datasets_package_the_user_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install .*datasets"):
        read_hf(str(tmp_path), "test")
