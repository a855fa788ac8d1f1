"""Files of rows: what each kind is read as, and what is said of a file that is none."""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import lzma
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eibench_ray.datasets import problems, text_tables
from eibench_ray.datasets.parquet_bounds import count_items
from eibench_ray.datasets.parquet_tables import read_parquet
from eibench_ray.datasets.table_columns import parse_columns
from eibench_ray.datasets.table_import import prepare_table
from eibench_ray.datasets.text_tables import read_jsonl
from eibench_ray.errors import DataError

CASES = Path(__file__).parents[3] / "shared" / "cases" / "tables"
ROWS: list[dict[str, Any]] = [
    {"id": "007", "question": "Why caf\u00e9?", "target": ["a", "b"]},
    {"id": "2", "question": "Why \u732b?", "target": ["c"]},
]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n"


def rows_of(file: Path, read: Callable[[Path], Any] = read_jsonl) -> list[dict[str, Any]]:
    return [dict(row) for _, row in read(file).rows]


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


def zstd_file(path: Path, content: bytes) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as out:
        out.write(content)


PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_read_in_each_encoding(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(LINES.replace("\n", end).encode(encoding))
    assert rows_of(tmp_path / "rows.jsonl") == ROWS


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_packed_lines_are_unpacked(tmp_path: Path, suffix: str, encoding: str) -> None:
    for name in (f"rows.jsonl{suffix}", "rows.jsonl"):  # also under a name that does not say so
        (tmp_path / name).write_bytes(PACKED[suffix](LINES.encode(encoding)))
        assert rows_of(tmp_path / name) == ROWS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_zstd_is_unpacked(tmp_path: Path, encoding: str) -> None:
    zstd_file(tmp_path / "rows.jsonl.zst", LINES.encode(encoding))
    assert rows_of(tmp_path / "rows.jsonl.zst") == ROWS


COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("value", [ROWS, COLUMNS, {"version": "1", "data": ROWS}], ids=["array", "columns", "around"])
def test_one_json_value_holds_rows(tmp_path: Path, name: str, indent: int | None, value: Any) -> None:
    (tmp_path / name).write_text(json.dumps(value, indent=indent), encoding="utf-16")
    assert rows_of(tmp_path / name) == ROWS


def test_a_single_row_is_a_row_on_one_line_and_on_several(tmp_path: Path) -> None:
    for indent in (None, 2):
        (tmp_path / "row.json").write_text(json.dumps(ROWS[0], indent=indent))
        assert rows_of(tmp_path / "row.json") == ROWS[:1]


def test_csv_has_texts_and_nothing_where_a_field_is_empty(tmp_path: Path) -> None:
    text = 'id,question,target,caption\n007,"Why, so?","1. a\n2. b",\n8,Why?,"[""a"", ""b""]",x\n'
    for name, delimiter in (("rows.csv", ","), ("rows.tsv", "\t")):
        (tmp_path / name).write_bytes(codecs.BOM_UTF8 + text.replace(",", delimiter).encode())
        first, second = rows_of(tmp_path / name)
        assert (first["id"], first["target"], first["caption"]) == ("007", "1. a\n2. b", None)
        assert second["caption"] == "x"
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert len(rows_of(tmp_path / "rows.csv.gz")) == 2


def test_a_csv_row_of_another_length_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("question,target\nWhy?\nWhy?,a\n")
    with pytest.raises(DataError, match=r"rows\.csv:2 \(1 fields, and the first line names 2\)"):
        prepare_table(read_jsonl(tmp_path / "rows.csv"), parse_columns([]), [], tmp_path / "out")


def test_a_folder_of_shards_is_read_in_order(tmp_path: Path) -> None:
    for number in (1, 0):
        pq.write_table(pa.Table.from_pylist([ROWS[number]]), tmp_path / f"part-{number}.parquet")
        (tmp_path / f"part-{number}.jsonl").write_text(json.dumps(ROWS[number]))
    (tmp_path / "_SUCCESS.parquet").touch()
    (tmp_path / ".hidden.jsonl").write_text("{")
    assert rows_of(tmp_path, read_parquet) == rows_of(tmp_path) == ROWS
    (tmp_path / "above" / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "above" / "data" / "all.parquet")
    assert rows_of(tmp_path / "above", read_parquet) == ROWS


@pytest.mark.parametrize("name", ["utf16.jsonl", "x.jsonl.gz", "array1.json"])
def test_the_cases_are_read(name: str) -> None:
    if not CASES.is_dir():
        pytest.skip("the cases are not beside the checkout, in ../shared/cases")
    rows = rows_of(CASES / name)
    assert [row["id"] for row in rows] == [str(number) for number in range(len(rows))]
    assert rows[1]["question"] == "Why caf\u00e9 1?"


def test_a_key_that_comes_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "Why?", "question": "Who?", "target": ["a"]}\n')
    with pytest.raises(DataError, match=r"rows.jsonl:1 \(not JSON: the key 'question' comes twice"):
        prepare_table(read_jsonl(tmp_path / "rows.jsonl"), parse_columns([]), [], tmp_path / "out")


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("rows.jsonl", LINES)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (
            lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
            "is a Parquet file: use `eibench-ray prepare pa",
        ),
        (archive, "is a ZIP archive"),
        (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "a pointer of Git LFS"),
        (lambda path: path.write_bytes(b"<!doctype html>"), "is a web page"),
        (lambda path: path.write_bytes(gzip.compress(LINES.encode())[:-9]), "cannot be read to its end"),
        (lambda path: path.write_text('{"a": {"b": 1},\n"c": {"d": 2}}'), "is one object with the keys"),
    ],
    ids=["parquet", "zip", "lfs", "html", "cut", "object"],
)
def test_what_is_no_table_is_named_with_what_to_do(tmp_path: Path, write: Callable[[Path], Any], reason: str) -> None:
    write(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match=reason):
        prepare_table(read_jsonl(tmp_path / "rows.jsonl"), parse_columns([]), [], tmp_path / "out")


def test_a_parquet_command_on_something_else_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text(LINES)
    with pytest.raises(DataError, match=r"not a Parquet file, but JSON .*: use `eibench-ray prepare jsonl`"):
        read_parquet(tmp_path / "rows.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no file that ends with \.parquet"):
        read_parquet(tmp_path / "empty")


def test_a_line_that_unpacks_to_far_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tables, "MOST_LINE_BYTES", 1 << 16)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b'{"question": "' + b"x" * (1 << 20)))
    with pytest.raises(DataError, match=r"line 1 of .* has more than"):
        list(read_jsonl(tmp_path / "rows.jsonl.gz").rows)


def bomb(path: Path, kind: str) -> None:
    """A file of some kilobytes with a text of 80 MB, a list of 12 million items, or a text of 50 MB ninety times."""
    if kind == "one_text":
        column = pa.array(["x" * (80 << 20)])
        pq.write_table(pa.table({"question": column}), path, compression="zstd", use_dictionary=False)
    elif kind == "one_list":
        column = pa.ListArray.from_arrays(
            pa.array([0, 12_000_000], pa.int32()), pa.array(np.zeros(12_000_000, np.int32))
        )
        pq.write_table(pa.table({"question": column}), path, compression="zstd")
    else:
        values = pa.array(["x" * (48 << 20)])
        column = pa.DictionaryArray.from_arrays(pa.array([0] * 90, pa.int8()), values)
        pq.write_table(pa.table({"question": column}), path, compression="zstd")


def test_a_small_parquet_file_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    kinds = ["one_text", "one_list", "repeated"]
    for kind in kinds:
        bomb(tmp_path / kind, kind)
        assert (tmp_path / kind).stat().st_size < 200_000
    code = (
        "import sys; from pathlib import Path; from eibench_ray.datasets.parquet_tables import read_parquet\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        for _, row in read_parquet(Path(path)).rows: dict(row)\n"
        "    except Exception as error: print(type(error).__name__)"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    paths = [tmp_path / kind for kind in kinds]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, preexec_fn=limit)
    assert done.stdout == "DataError\n" * len(kinds), done.stderr


@pytest.mark.parametrize(
    ("cells", "kind", "num_items"),
    [
        (["x", "y"], pa.string(), 0),
        ([[1, 2], None, [3]], pa.list_(pa.int32()), 3),
        ([[[1, 2], [3]]], pa.list_(pa.list_(pa.int32())), 5),
        ([{"a": [1, 2]}], pa.struct({"a": pa.list_(pa.int32())}), 2),
        ([[("k", 1), ("l", 2)]], pa.map_(pa.string(), pa.int32()), 2),
        ([[1, 2]], pa.list_(pa.int8(), 2), 2),
    ],
)
def test_the_items_of_lists_are_counted(cells: list[object], kind: pa.DataType, num_items: int) -> None:
    assert count_items(pa.array(cells, kind)) == num_items


def test_ordinary_files_are_within_the_bounds(tmp_path: Path) -> None:
    table = pa.table({"question": ["Why?"] * 200_000, "id": [str(number) for number in range(200_000)]})
    pq.write_table(table, tmp_path / "rows.parquet", compression="zstd")
    assert sum(1 for _ in read_parquet(tmp_path / "rows.parquet").rows) == 200_000


def test_only_the_first_problems_are_held(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(["{"] * 5000))
    with pytest.raises(DataError, match=rf"malformed, 5000: .*and {5000 - problems.SHOWN_PER_KIND} more"):
        prepare_table(read_jsonl(tmp_path / "rows.jsonl"), parse_columns([]), [], tmp_path / "out")
