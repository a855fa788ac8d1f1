"""Meaning of a table's cells, and what is refused because it has no single one."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import draw

from eibench_ray.datasets.cell_values import ValueRefusedError, to_field, to_metadata, to_target, to_text
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.layout import digest_bytes
from eibench_ray.datasets.parquet_tables import read_parquet
from eibench_ray.datasets.picture_values import read_picture_values
from eibench_ray.datasets.table_columns import parse_columns
from eibench_ray.datasets.table_import import prepare_table
from eibench_ray.datasets.text_tables import read_jsonl
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Media

UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("caf\u00e9", "caf\u00e9"),
        (101.0, "101"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (10**20, "100000000000000000000"),
        (2**53 + 1, "9007199254740993"),
        (float(2**53 - 1), "9007199254740991"),
        (decimal.Decimal("101.00"), "101"),
        (decimal.Decimal("1.50"), "1.50"),
        (decimal.Decimal("1E+2"), "100"),
        (b"abc", "abc"),
        (UUID, str(UUID)),
        (datetime.date(2020, 5, 1), "2020-05-01"),
        (datetime.datetime(2020, 5, 1, 12, tzinfo=datetime.UTC), "2020-05-01T12:00:00+00:00"),
    ],
)
def test_one_meaning_is_a_text(value: object, text: str) -> None:
    assert to_text(value) == text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (True, "true is no text"),
        (None, "null is no text"),
        (float(2**53), "too large for its type"),
        (1e300, "too large for its type"),
        (float("inf"), "inf is no text"),
        (decimal.Decimal("NaN"), "NaN is no text"),
        (UUID.bytes.replace(b"4", b"\xff"), "16 bytes that are no text, as a UUID has"),
        (b"a\0b", "3 bytes that are no text"),
        ({"text": "rain"}, "an object is no text: {'text': 'rain'}"),
        ("\ud800", "half of a surrogate pair at character 1"),
        ("a\0b", "a NUL character"),
        (datetime.timedelta(1), "a timedelta is no text"),
    ],
)
def test_what_has_no_single_meaning_is_refused(value: object, reason: str) -> None:
    with pytest.raises(ValueRefusedError, match=reason.replace("{", "\\{")):
        to_text(value)


@pytest.mark.parametrize(
    ("value", "target"),
    [
        (["Rain.", " A bag. "], ("Rain.", "A bag.")),
        (["lost job", 1990, 2.0], ("lost job", "1990", "2")),
        ("1. Rain.\n2. A bag.", "1. Rain.\n2. A bag."),
        ('["Rain.", "A bag."]', '["Rain.", "A bag."]'),
        (" B", " B"),
        (3, 3),
        (3.0, 3),
        (-0.5, -0.5),
        (2**60, 2**60),
        (decimal.Decimal("1.50"), 1.5),
        (decimal.Decimal("1E+2"), 100),
        (datetime.date(2020, 5, 1), "2020-05-01"),
        (None, None),
        ("", None),
        (float("nan"), None),
        ([], None),
    ],
)
def test_a_target_is_a_text_a_number_or_a_list(value: object, target: object) -> None:
    assert (to_target(value), type(to_target(value))) == (target, type(target))


@pytest.mark.parametrize("value", [True, {"text": "rain"}, float("inf"), float(2**53), b"\xff"])
def test_what_can_be_no_target_is_refused(value: object) -> None:
    with pytest.raises(ValueRefusedError, match=r"is no target|is no text|are no text|too large"):
        to_target(value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (True, True),
        (0, 0),
        (2.0, 2),
        (2.5, 2.5),
        ("", ""),
        (["a", 1], ("a", "1")),
        ([], ()),
        (None, None),
        (float("nan"), None),
        (UUID, str(UUID)),
    ],
)
def test_metadata_are_plain_values(value: object, kept: object) -> None:
    assert (to_metadata(value), type(to_metadata(value))) == (kept, type(kept))


@pytest.mark.parametrize("item", [None, True, "", " ", {"text": "rain"}, ["rain"], float("nan"), b"\xff"])
def test_a_list_with_something_else_than_texts_is_no_target(item: object) -> None:
    with pytest.raises(ValueRefusedError, match="item 2 of its list"):
        to_target(["rain", item])


def test_a_field_is_one_text() -> None:
    assert [to_field(value) for value in (None, float("nan"), [], ["sad"], 3, "sad")] == ["", "", "", "sad", "3", "sad"]
    with pytest.raises(ValueRefusedError, match="a list of 2"):
        to_field(["sad", "angry"])
    with pytest.raises(ValueRefusedError, match="an object"):
        to_field({"label": "sad"})


PICTURE = draw((1, 2, 3))
BASE64 = base64.b64encode(PICTURE).decode()


@pytest.mark.parametrize(
    "value",
    [
        PICTURE,
        memoryview(PICTURE),
        [PICTURE],
        BASE64,
        "\n".join(BASE64[start : start + 76] for start in range(0, len(BASE64), 76)),
        base64.urlsafe_b64encode(PICTURE).decode(),
        f"data:image/png;base64,{BASE64}",
        {"bytes": PICTURE, "path": None},
        {"bytes": BASE64},
    ],
    ids=["bytes", "view", "list", "base64", "lines", "urlsafe", "data_url", "struct", "json_struct"],
)
def test_a_pictures_bytes_are_read_however_they_are_written(value: object) -> None:
    assert [picture.content for picture in read_picture_values(value)] == [PICTURE]


@pytest.mark.parametrize(
    ("value", "path"),
    [("a/b.png", "a/b.png"), ({"path": "a.png"}, "a.png"), ("a" * 100, "a" * 100), (["a.png"], "a.png")],
)
def test_a_path_is_a_path(value: object, path: str) -> None:
    assert [picture.path for picture in read_picture_values(value)] == [path]


@pytest.mark.parametrize("value", [None, [], float("nan"), {"bytes": None, "path": None}])
def test_no_picture_is_none(value: object) -> None:
    assert read_picture_values(value) == ()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("https://a.b/c.png", "is an address: download the picture"),
        ("data:image/svg+xml,<svg>", "not in base64"),
        ("data:image/png;base64,@@@@", "is not base64"),
        ("x y" * 500_000, "neither a path nor a picture in base64"),
        ("A" * 1_400_000, "neither a path nor a picture in base64"),
        ({"url": "a.png"}, "not dict"),
        ([PICTURE, None], "item 2 of its list is no picture"),
        ("", "an empty path"),
        (b"", "a picture of 0 bytes"),
        (3.5, "not float"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(value: object, reason: str) -> None:
    with pytest.raises(ValueRefusedError, match=reason) as caught:
        read_picture_values(value)
    assert len(str(caught.value)) < 300


def test_pictures_in_base64_are_the_pictures(tmp_path: Path) -> None:
    noise = draw((9, 9, 9), (300, 300))
    row = {"question": "why?", "target": ["a"], "image": base64.b64encode(noise).decode()}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    prepare_table(read_jsonl(tmp_path / "rows.jsonl"), parse_columns([]), [], tmp_path / "out")
    dataset = open_dataset(str(tmp_path / "out"))
    [sample] = dataset.samples(0, 1)
    assert sample.media == (Media(digest_bytes(noise), digest_bytes(noise)),)
    assert dataset.images(0, 1, [sample.sample_id]) == {sample.sample_id: (noise,)}


@pytest.mark.parametrize("column", ["id", "image", "question", "target"])
def test_no_message_repeats_a_long_value(tmp_path: Path, column: str) -> None:
    row = {"question": "why?", "target": ["a"], column: {"text": "x" * 100_000}}
    (tmp_path / "rows.jsonl").write_text("\n".join([json.dumps(row)] * 25))
    with pytest.raises(DataError, match=f"rows.jsonl:1, column {column}: ") as caught:
        prepare_table(read_jsonl(tmp_path / "rows.jsonl"), parse_columns([]), [], tmp_path / "out")
    assert len(str(caught.value)) < 20 * 300


TYPES: list[pa.Array] = [
    pa.array(["a", "b"], pa.large_string()),
    pa.array(["a", "b"], pa.string_view()),
    pa.array(["a", "b"]).dictionary_encode(),
    pa.array([b"a", b"b"], pa.binary_view()),
    pa.array([1, 2**60], pa.int64()),
    pa.array([1.0, 2.0], pa.float32()),
    pa.array([decimal.Decimal("1.00"), decimal.Decimal("2.00")], pa.decimal128(10, 2)),
    pa.array([1, 2], pa.timestamp("ns")),
    pa.array([1, 2], pa.date32()),
    pa.array([UUID.bytes, UUID.bytes[::-1]], pa.uuid()),
]


@pytest.mark.parametrize("ids", TYPES, ids=[str(array.type) for array in TYPES])
def test_each_type_of_an_id_has_one_text_for_each_value(tmp_path: Path, ids: pa.Array) -> None:
    table = pa.table({"id": ids, "question": ["why?", "who?"], "target": [["a"], ["b"]]})
    pq.write_table(table, tmp_path / "rows.parquet")
    prepare_table(read_parquet(tmp_path / "rows.parquet"), parse_columns([]), [], tmp_path / "out")
    assert len(set(open_dataset(str(tmp_path / "out")).index().sample_ids)) == 2


def test_a_map_is_no_input(tmp_path: Path) -> None:
    captions = pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string()))
    table = pa.table({"question": ["why?"], "target": [["a"]], "caption": captions})
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"rows.parquet:1, column caption: item 1 of its list: a list is no text"):
        prepare_table(read_parquet(tmp_path / "rows.parquet"), parse_columns(["c=caption"]), [], tmp_path / "out")


def test_names_that_act_on_a_terminal_are_told_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"question": "Why?", "target": "a", "\x1b[2J": 1}))
    [note] = prepare_table(read_jsonl(tmp_path / "rows.jsonl"), parse_columns([]), [], tmp_path / "out").notes
    assert note == "kept as metadata: the columns '\\x1b[2J'"
