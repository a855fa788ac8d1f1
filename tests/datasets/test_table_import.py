import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.hub_tables import read_hf
from eibench_ray.datasets.parquet_tables import read_parquet
from eibench_ray.datasets.source_tables import Table
from eibench_ray.datasets.table_columns import parse_columns
from eibench_ray.datasets.table_import import prepare_table
from eibench_ray.datasets.text_tables import read_jsonl
from eibench_ray.datasets.writer import PreparedReport
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


def prepare(table: Table, out: Path, *mapping: str, keep: Sequence[str] = (), **options: Any) -> PreparedReport:
    """The report of a preparation; without --images."""
    return prepare_table(table, parse_columns(mapping, keep), options.pop("images", []), out, **options)


def test_columns_become_inputs_pictures_targets_and_metadata(tmp_path: Path, pictures: Path) -> None:
    file = write_jsonl(
        tmp_path,
        {"text": "Why so glad?", "img_path": "a.png", "labels": ["Sun.", " A gift. "], "emotion": "happy", "id": 7},
        {"text": "Why so glum?", "img_path": "b.png", "labels": "1. Rain.\n2. Mud.", "level": 3, "hard": True},
    )
    report = prepare(
        read_jsonl(file), tmp_path / "out", "prompt=text", "image=img_path", "target=labels", images=[pictures]
    )
    [(path, card)] = report.datasets
    assert (path, card.rows, card.protocol) == (str(tmp_path / "out"), 2, "own")
    dataset = open_dataset(str(path))
    first, second = dataset.samples(0, 2)
    assert (first.sample_id, first.inputs, first.media[0].path) == ("7", {"prompt": "Why so glad?"}, "a.png")
    assert (first.target, first.metadata) == (("Sun.", "A gift."), {"emotion": "happy"})
    assert second.sample_id.startswith("b#")
    assert second.target == "1. Rain.\n2. Mud.", "a text is a text, whatever is in it"
    assert second.metadata == {"level": 3, "hard": True}
    assert dataset.images(0, 2, ["7"]) == {"7": (b"a.png",)}
    assert report.notes == ("kept as metadata: the columns 'emotion', 'level', 'hard'",)


@pytest.mark.parametrize(
    ("row", "mapping"),
    [
        ({"image": ["b.png", "a.png"]}, []),
        ({"images": ["b.png", "a.png"]}, []),
        ({"second": "a.png", "first": "b.png"}, ["image=first", "image=second"]),
        ({"more": [{"path": "a.png"}], "image_1": "b.png"}, ["image=image_1", "image=more"]),
        ({"media": {"left": "b.png", "right": "a.png"}}, ["image=media.left", "image=media.right"]),
    ],
)
def test_several_pictures_keep_their_order(
    tmp_path: Path, pictures: Path, row: Mapping[str, Any], mapping: list[str]
) -> None:
    file = write_jsonl(tmp_path, {"question": "Which?", "target": "A", **row})
    prepare(read_jsonl(file), tmp_path / "out", *mapping, images=[pictures])
    dataset = open_dataset(str(tmp_path / "out"))
    [sample] = dataset.samples(0, 1)
    assert [media.path for media in sample.media] == ["b.png", "a.png"]
    assert list(dataset.images(0, 1, [sample.sample_id]).values()) == [(b"b.png", b"a.png")]


def test_a_list_of_pictures_with_a_hole_is_refused(tmp_path: Path, pictures: Path) -> None:
    file = write_jsonl(tmp_path, {"question": "Which?", "target": "A", "image": ["a.png", None]})
    with pytest.raises(DataError, match=r"rows.jsonl:1, column image: item 2 of its list is no picture"):
        prepare(read_jsonl(file), tmp_path / "out", images=[pictures])


def test_each_picture_that_is_not_found_is_named(tmp_path: Path, pictures: Path) -> None:
    file = write_jsonl(tmp_path, {"question": "Which?", "target": "A", "image": ["c.png", "a.png", "d.png"]})
    with pytest.raises(DataError, match=r"picture not found, 1: rows.jsonl:1 \(c.png, d.png\)"):
        prepare(read_jsonl(file), tmp_path / "out", images=[pictures])


def test_samples_that_share_their_first_picture_have_ids_of_their_own(tmp_path: Path, pictures: Path) -> None:
    rows = [{"question": "Same?", "target": "no", "image": ["a.png", *others]} for others in ([], ["a.png"], ["b.png"])]
    prepare(read_jsonl(write_jsonl(tmp_path, *rows)), tmp_path / "out", images=[pictures])
    assert len(set(open_dataset(str(tmp_path / "out")).index().sample_ids)) == 3


def test_plain_columns_are_kept_and_others_named_with_the_reason(tmp_path: Path) -> None:
    row = {"question": "Why?", "target": 4, "choices": ["a", "b"], "raw": {"n": 1}, "boxes": [[1, 2]], "none": None}
    report = prepare(read_jsonl(write_jsonl(tmp_path, row, row | {"question": "How?"})), tmp_path / "out")
    [sample, _] = open_dataset(str(tmp_path / "out")).samples(0, 2)
    assert sample.metadata == {"choices": ("a", "b"), "none": None}
    kept, dropped = report.notes
    assert kept == "kept as metadata: the columns 'choices'"
    assert "'raw' (an object is no text: {'n': 1}; rows: 2), 'boxes' (item 1 of its list: a list is no text" in dropped


def test_only_what_is_named_is_kept_where_something_is(tmp_path: Path) -> None:
    row = {"question": "Why?", "target": "B", "label": "sad", "level": 1, "extra": {"topic": "rain"}}
    table = read_jsonl(write_jsonl(tmp_path, row))
    report = prepare(table, tmp_path / "out", keep=["emotion=label", "extra.topic"])
    [sample] = open_dataset(str(tmp_path / "out")).samples(0, 1)
    assert sample.metadata == {"emotion": "sad", "extra.topic": "rain"}
    assert "not kept, as no --keep names them: the columns 'level'" in report.notes[1]


def test_a_part_of_an_object_can_be_read(tmp_path: Path) -> None:
    row = {"id": "1", "data": {"ask": "Why?"}, "answers": {"text": ["a", "b"], "start": [0, 3]}}
    table = read_jsonl(write_jsonl(tmp_path, row, row | {"id": "2"}))
    prepare(table, tmp_path / "out", "question=data.ask", "target=answers.text")
    sample, _ = open_dataset(str(tmp_path / "out")).samples(0, 2)
    assert (sample.inputs, sample.target) == ({"question": "Why?"}, ("a", "b"))


def test_parquet_pictures_may_be_paths_bytes_or_structs(tmp_path: Path, pictures: Path) -> None:
    common = {"question": ["Why?", "Why then?"], "target": ["Sun.", "Rain."], "caption": ["A face.", None]}
    kinds = {
        "path": ["a.png", "b.png"],
        "bytes": [b"a.png", b"b.png"],
        "struct": [{"bytes": b"a.png", "path": None}, {"bytes": None, "path": str(pictures.resolve() / "b.png")}],
    }
    for name, images in kinds.items():
        pq.write_table(pa.table(common | {"image": images}), tmp_path / f"{name}.parquet")
        prepare(read_parquet(tmp_path / f"{name}.parquet"), tmp_path / name, "caption=caption", images=[pictures])
        dataset = open_dataset(str(tmp_path / name))
        assert sorted(dataset.images(0, 2, dataset.index().sample_ids).values()) == [(b"a.png",), (b"b.png",)]
        assert [sample.inputs.get("caption") for sample in dataset.samples(0, 2)] == ["A face.", None]


def test_text_only_rows_need_no_picture(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path, {"question": "Why?", "target": ["Sun."]}, {"question": "How?", "target": ["Rain."]})
    prepare(read_jsonl(file), tmp_path / "out")
    dataset = open_dataset(str(tmp_path / "out"))
    assert [sample.media for sample in dataset.samples(0, 2)] == [(), ()]
    assert dataset.images(0, 2, dataset.index().sample_ids) == {}


def test_every_problem_is_said_at_once_and_nothing_is_written(tmp_path: Path, pictures: Path) -> None:
    row = {"question": "Why?", "image": "a.png", "target": ["Sun."]}
    file = write_jsonl(
        tmp_path,
        row,
        row,
        "{",
        '"text"',
        row | {"image": "c.png"},
        row | {"image": "../secret.png"},
        row | {"image": 3},
        row | {"image": "b.png", "target": []},
        {"image": "b.png", "target": ["Sun."]},
    )
    with pytest.raises(DataError) as caught:
        prepare(read_jsonl(file), tmp_path / "out", images=[pictures])
    message = str(caught.value)
    for part in (
        "malformed, 4: rows.jsonl:3 (not JSON",
        "rows.jsonl:4 (not an object)",
        "rows.jsonl:7, column image: a picture is a path, bytes, or both, not int: 3",
        "rows.jsonl:9 (b#",
        "named twice, 1: rows.jsonl:2",
        "sample without target, 1: rows.jsonl:8",
        "leaves the picture folders, 1: rows.jsonl:6 (../secret.png)",
        "picture not found, 1: rows.jsonl:5 (c.png)",
    ):
        assert part in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "rows.jsonl"]


def test_missing_pictures_can_be_left_out(tmp_path: Path, pictures: Path) -> None:
    row = {"question": "Why?", "image": "a.png", "target": ["Sun."]}
    file = write_jsonl(tmp_path, row, row | {"image": "c.png"})
    report = prepare(read_jsonl(file), tmp_path / "out", images=[pictures], allow_missing_images=True)
    assert [(card.rows, card.left_out) for _, card in report.datasets] == [(1, 1)]


def test_a_mapped_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path, {"text": "Why?", "labels": ["Sun."]})
    with pytest.raises(DataError, match="no column missing; it has text, labels"):
        prepare(read_jsonl(file), tmp_path / "out", "question=text", "target=missing")
    with pytest.raises(DataError, match="no column question"):
        prepare(read_jsonl(file), tmp_path / "out")


CASES = Path(__file__).parents[3] / "shared" / "cases" / "tables"


def prepare_case(tmp_path: Path, name: str, *mapping: str, images: Sequence[Path] = ()) -> list[Sample]:
    """The samples of one of the tables that once lost something."""
    if not CASES.is_dir():
        pytest.skip("the cases are not beside the checkout, in ../shared/cases")
    table = (read_parquet if name.endswith(".parquet") else read_jsonl)(CASES / name)
    prepare(table, tmp_path / "out", *mapping, images=images)
    dataset = open_dataset(str(tmp_path / "out"))
    return dataset.samples(0, dataset.num_rows)


def test_ids_that_are_whole_floats_are_whole_numbers(tmp_path: Path) -> None:
    samples = prepare_case(tmp_path, "float_id.parquet", "id=qid", "target=triggers")
    assert [sample.sample_id for sample in samples] == ["101", "102"]


def test_a_null_id_is_named_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"malformed, 1: float_id_null\.parquet:2, column id: it is null or empty"):
        prepare_case(tmp_path, "float_id_null.parquet", "target=triggers")


def test_ids_that_are_bytes_of_a_text_are_that_text(tmp_path: Path) -> None:
    samples = prepare_case(tmp_path, "uuid_bytes.parquet", "target=triggers")
    assert [sample.sample_id for sample in samples] == ["abc", "abd"]


def test_lists_are_kept_as_lists_and_a_list_of_one_is_an_input(tmp_path: Path) -> None:
    samples = prepare_case(tmp_path, "list_caption.parquet", "target=triggers")
    assert [(sample.metadata["captions"], sample.metadata["emotion"]) for sample in samples] == [
        (("A man.", "A sad man."), ("sad",)),
        (("Two dogs.",), ("happy",)),
    ]
    with pytest.raises(DataError, match=r"column captions: a list of 2, and an input is one text.*without --map"):
        prepare_case(tmp_path, "list_caption.parquet", "target=triggers", "caption=captions")
    first, second = prepare_case(tmp_path, "null_caption.jsonl", "target=triggers")
    assert (first.inputs, first.metadata) == ({"question": "why?"}, {"caption": ("a", "b")})
    assert (second.sample_id, second.metadata) == ("2", {"emotion": ("sad",)})


def test_a_target_that_is_no_text_is_named_and_never_left_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mixed_trig\.jsonl:1, column triggers: item 3 of its list: an object is no"):
        prepare_case(tmp_path, "mixed_trig.jsonl", "target=triggers")


def test_pictures_that_differ_in_their_suffix_are_two_samples(tmp_path: Path) -> None:
    for name in ("cat.jpg", "cat.png"):
        (tmp_path / name).write_bytes(name.encode())
    samples = prepare_case(tmp_path, "stem.jsonl", "target=triggers", images=[tmp_path])
    assert [sample.media[0].path for sample in samples] == ["cat.jpg", "cat.png"]
    assert samples[0].sample_id.startswith("cat#")
    assert samples[1].sample_id.startswith("cat.png#")


@pytest.mark.parametrize(
    ("mapping", "keep", "message"),
    [
        (["question"], [], "--map question is not NAME=COLUMN"),
        (["=text"], [], "--map =text is not NAME=COLUMN"),
        (["question="], [], "--map question= is not NAME=COLUMN"),
        (["target=a", "target=b"], [], "--map names target twice: only image can have several columns"),
        (["item=text"], [], "prompts read something else under 'item'"),
        ([], ["emotion="], "--keep emotion= is not"),
    ],
)
def test_a_mapping_names_each_thing_once(mapping: list[str], keep: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_columns(mapping, keep)


def test_a_table_without_targets_says_how_to_do_without(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path, {"question": "Why?", "answer": "Sun."})
    with pytest.raises(DataError, match=r"no column target; it has question, answer: .*--map target=COLUMN \(or --unl"):
        prepare(read_jsonl(file), tmp_path / "out")
    prepare(read_jsonl(file), tmp_path / "out", unlabelled=True)
    [sample] = open_dataset(str(tmp_path / "out")).samples(0, 1)
    assert (sample.target, sample.metadata) == (None, {"answer": "Sun."})


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
