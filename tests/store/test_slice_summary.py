"""A slice's summary is what Parquet reads, and whatever is not a summary is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from eibench_ray.rows.completion import Completion
from eibench_ray.store.slice_format import FOOTER_BYTES
from eibench_ray.store.slice_store import Store
from eibench_ray.store.slice_summary import Summary, digest_column, digest_sources, find, unpack

ROW = Completion("a", "d", "sun", None, None, "stop", 1, 1, 0, 1, 0.5, 1.0, "echo", "run", cost_usd=0.5)
ROWS = [ROW, replace(ROW, sample_id="b", text=None, error_kind="image", error="no", cost_usd=None)]


def write(store: Store, rows: list[Completion], num_asked: int, made_from: str | None = "of this") -> Path:
    store.write_slice("step", 0, rows, num_asked=num_asked, made_from=made_from)
    return Path(store.paths.slice("step", 0))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_summary_tells_of_the_rows_that_were_asked(store: Store) -> None:
    left = replace(ROW, sample_id="left", error_kind="timeout", text=None, cost_usd=2.0)
    path = write(store, [*ROWS, left], 2)
    outputs = digest_column(row.output_digest for row in ROWS)
    summary = Summary(
        2.5,
        "of this",
        outputs,
        num_rows=2,
        num_errors=1,
        is_final=True,
        num_truncated=0,
        num_empty=0,
    )
    assert store.read_summaries("step", [0]) == {0: summary}
    assert unpack(pq.read_metadata(path).metadata) == summary
    write(store, [*ROWS, left], 3)
    assert store.read_summaries("step", [0])[0] == replace(
        summary,
        outputs=digest_column(row.output_digest for row in [*ROWS, left]),
        num_rows=3,
        num_errors=2,
        is_final=False,
    )
    write(store, ROWS, 2, made_from=None)
    [open_] = store.read_summaries("step", [0]).values()
    assert open_ == Summary(0.5)
    assert (open_.made_from, open_.outputs, open_.num_rows, open_.num_errors, open_.num_absent) == (None, "", 0, 0, 0)
    assert not open_.is_final


@pytest.mark.parametrize("num_rows", [1, 2, 300])
def test_it_is_found_without_decoding_the_footer(store: Store, num_rows: int) -> None:
    rows = [replace(ROW, sample_id=f"s{number}", text=f"{number} suns" * 90) for number in range(num_rows)]
    path = write(store, rows, num_rows)
    content = path.read_bytes()
    assert find(content[-FOOTER_BYTES:]) == find(content) == unpack(pq.read_metadata(path).metadata)
    assert find(content[-FOOTER_BYTES:]) is not None


def test_what_an_answer_says_is_no_summary(store: Store) -> None:
    path = write(store, [replace(ROW, text='eibench_ray{"cost_usd": 7.0}')], 1)
    found = find(path.read_bytes())
    assert found is not None
    assert (found.cost_usd, found.made_from) == (0.5, "of this")


@pytest.mark.parametrize("cut", [1, 4, 40, 400])
def test_a_file_that_was_cut_has_none(store: Store, cut: int) -> None:
    content = write(store, ROWS, 2).read_bytes()
    assert find(content[:-cut]) is None
    assert find(b"") is None


def test_digests_tell_what_a_slice_was_made_from() -> None:
    columns = [["a1", "b2"], ["a1", "b3"], ["b2", "a1"]]
    digests = {digest_sources(digest_column(column), outputs) for column in columns for outputs in ([], ["x"], ["y"])}
    assert len(digests) == 9


def test_endings_are_counted_from_footers(store: Store) -> None:
    cut, empty = replace(ROW, sample_id="cut", finish_reason="max_tokens"), replace(ROW, sample_id="empty", text="\n")
    store.fix_slice_rows("step", 2, {})
    store.write_slice("step", 0, [cut, empty], num_asked=2, made_from="of this")
    assert store.count_endings("step", 2) == (1, 1)
    # Not whole: its footer counts how all of its rows ended.
    store.write_slice("step", 1, [cut, replace(empty, sample_id="other")], num_asked=2, made_from=None)
    assert store.count_endings("step", 2) == (1, 1)
    assert store.count_endings("step", 3) == (2, 2)
    assert store.count_endings("none", 3) == (0, 0)
