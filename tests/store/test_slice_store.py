"""Slices: what is written comes back, whole or not at all, and damage is named."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eibench_ray.errors import StoreError
from eibench_ray.rows.completion import ABSENT, Completion, Retry, RowErrorKind
from eibench_ray.storage.atomic_files import read_json, write_json
from eibench_ray.store.slice_check import check_slice
from eibench_ray.store.slice_format import SCHEMA
from eibench_ray.store.slice_store import Store
from eibench_ray.store.store_version import SCHEMA_VERSION

ANSWER = Completion(
    sample_id="a",
    request_digest="d" * 32,
    text="It is her birthday \U0001f382\n\u2028 \u0000 end",
    error_kind=None,
    error=None,
    finish_reason="stop",
    prompt_tokens=7,
    completion_tokens=3,
    cached_tokens=1,
    attempt=1,
    latency_s=0.5,
    finished_at=1795384000.123,
    engine="echo 0.1.0",
    run_id="r1",
    input_digest="i1",
    cost_usd=0.001,
    mean_logprob=-0.25,
)
ERROR = replace(
    ANSWER,
    sample_id="b",
    text=None,
    error_kind="timeout",
    error="no reply",
    finish_reason=None,
    finished_at=2.0,
    cost_usd=None,
    mean_logprob=None,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.fix_slice_rows("step", 2, {"name": "answer"})
    return store


def test_rows_come_back_as_they_were(store: Store) -> None:
    store.write_slice("step", 0, [ANSWER, ERROR])
    assert store.read_slice("step", 0) == {"a": ANSWER, "b": ERROR}
    assert list(store.read_slice("step", 0)) == ["a", "b"]
    assert pq.read_schema(store.paths.slice("step", 0)).equals(SCHEMA)


def test_a_file_as_earlier_versions_wrote_it_is_read_as_one_of_today(store: Store) -> None:
    store.write_slice("step", 0, [ANSWER, ERROR], num_asked=2, made_from="of this")
    file = Path(store.paths.slice("step", 0))
    today, [summary] = file.read_bytes(), store.read_summaries("step", [0]).values()
    # With statistics, dictionaries, and Arrow's own account of the columns.
    pq.write_table(pq.read_table(file), file, compression="zstd", write_page_checksum=True)
    assert file.stat().st_size > 1.5 * len(today)
    assert pq.read_metadata(file).row_group(0).column(0).has_dictionary_page
    assert store.read_slice("step", 0) == {"a": ANSWER, "b": ERROR}
    assert store.read_summaries("step", [0]) == {0: summary}
    assert check_slice(file.read_bytes(), 2) == check_slice(today, 2)


def test_output_digests_come_back_in_the_order_of_the_rows(store: Store) -> None:
    for rows in ([ANSWER, ERROR], [ERROR, ANSWER]):
        store.write_slice("step", 0, rows)
        assert store.read_outputs("step", 0) == [row.output_digest for row in rows]


def test_a_slice_that_lacks_a_column_or_a_summary_is_refused(store: Store) -> None:
    store.write_slice("step", 0, [ANSWER, ERROR])
    file = store.paths.slice("step", 0)
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["cost_usd"]), file)
    with pytest.raises(StoreError, match=r"cost_usd.*another program wrote it"):
        store.read_slice("step", 0)
    pq.write_table(table.replace_schema_metadata(None), file)
    with pytest.raises(StoreError, match=r"its footer says nothing of its rows.*another program wrote it"):
        store.read_cost("step")


def test_the_cost_of_a_step_is_that_of_all_its_rows(store: Store) -> None:
    assert store.read_cost("step") == store.read_cost("unknown") == 0.0
    store.write_slice("step", 0, [ANSWER, ERROR])
    store.write_slice("step", 3, [replace(ERROR, cost_usd=0.25)])
    assert store.read_cost("step") == pytest.approx(0.251)


def test_what_resuming_reads_is_what_was_written(store: Store) -> None:
    store.write_slice("step", 0, [ANSWER, ERROR])
    states = store.read_states("step", 0, ["a", "b"])
    assert states["a"].output_digest == ANSWER.output_digest
    assert [(state.input_digest, state.error_kind) for state in states.values()] == [("i1", None), ("i1", "timeout")]


PASSING, DEADLY = {RowErrorKind.ENGINE, RowErrorKind.TIMEOUT}, {RowErrorKind.QUARANTINED}
ASKED_AGAIN: dict[Retry, set[RowErrorKind]] = {
    "none": set(),
    "errors": PASSING,
    "quarantined": PASSING | DEADLY,
}


@pytest.mark.parametrize("retry", list(ASKED_AGAIN))
def test_which_errors_are_asked_again_is_a_choice(store: Store, retry: Retry) -> None:
    for kind in RowErrorKind:
        row = replace(ERROR, error_kind=kind.value)
        store.write_slice("step", 0, [ANSWER, row])
        states = store.read_states("step", 0, ["a", "b"])
        assert states["b"].is_asked_again(retry) is row.is_asked_again(retry) is (kind in ASKED_AGAIN[retry])
        assert not states["a"].is_asked_again(retry)


def test_output_digest_tells_answers_and_errors_apart() -> None:
    said = [replace(ANSWER, text=text) for text in ("", None, "None", "absent")]
    rows = [ANSWER, ERROR, *said, replace(ERROR, error_kind="image")]
    assert len({row.output_digest for row in rows}) == len(rows)
    assert replace(ANSWER, latency_s=9.0, attempt=2).output_digest == ANSWER.output_digest


def test_a_slice_that_was_never_written_is_empty(store: Store) -> None:
    assert store.read_slice("step", 7) == {}
    assert store.read_rows("step", 0, ["a"] * 100) == {}
    assert store.read_states("unknown", 0, ["a"] * 100) == {}


def test_the_samples_without_an_answer_are_told(store: Store) -> None:
    store.fix_slice_rows("four", 4, {})
    absent = replace(ANSWER, sample_id="c", text=None, finish_reason=ABSENT)
    store.write_slice("four", 0, [ANSWER, ERROR, absent, replace(ANSWER, sample_id="d", text="")])
    assert store.read_unanswered("four", 0) == {"b": ERROR.error_kind, "c": ABSENT}
    assert store.read_unanswered("four", 1) == {}
    assert [state.is_absent for state in store.read_states("four", 0, list("abcd")).values()] == [
        False,
        False,
        True,
        False,
    ]


def test_a_second_write_replaces_the_first(store: Store) -> None:
    store.write_slice("step", 0, [ANSWER, ERROR])
    store.write_slice("step", 0, [replace(ANSWER, text="new")])
    assert [row.text for row in store.read_slice("step", 0).values()] == ["new"]
    assert [file.name for file in store.paths.step("step").glob("*slice*")] == ["slice-000000.parquet"]


def test_two_rows_for_one_sample_are_refused_and_the_old_slice_stays(store: Store) -> None:
    store.write_slice("step", 0, [ANSWER])
    with pytest.raises(StoreError, match="slice 0 of step step has two rows for one sample"):
        store.write_slice("step", 0, [ERROR, replace(ERROR, text="again")])
    assert store.read_slice("step", 0) == {"a": ANSWER}


def test_a_row_that_cannot_be_written_leaves_the_old_slice_and_no_other_file(store: Store) -> None:
    store.write_slice("step", 0, [ANSWER])
    with pytest.raises(pa.ArrowInvalid, match="too large"):
        store.write_slice("step", 0, [replace(ANSWER, prompt_tokens=2**40)])
    assert store.read_slice("step", 0) == {"a": ANSWER}
    assert {file.name for file in store.paths.step("step").iterdir()} == {"manifest.json", "slice-000000.parquet"}


def test_the_first_run_fixes_the_rows_per_slice(store: Store) -> None:
    assert store.fix_slice_rows("step", 64, {"name": "other"}) == 2
    again = Store(store.paths.root)
    assert again.slice_rows("step") == 2
    assert again.fix_slice_rows("step", 64, {}) == 2
    assert read_json(store.paths.manifest("step"))["step"] == {"name": "answer"}
    assert again.slice_rows("new") is None


@pytest.mark.parametrize(
    ("start", "stop", "slices"), [(0, 0, []), (0, 1, [0]), (0, 2, [0]), (1, 3, [0, 1]), (2, 4, [1]), (3, 8, [1, 2, 3])]
)
def test_a_range_of_rows_touches_these_slices(store: Store, start: int, stop: int, slices: list[int]) -> None:
    assert list(store.slices_of("step", start, stop)) == slices


@pytest.mark.parametrize("hours", [1, -1])
def test_a_sample_that_moved_to_another_slice_counts_where_it_lies_now_whatever_clocks_say(
    store: Store, hours: int
) -> None:
    moved = replace(ANSWER, text="newer", finished_at=ANSWER.finished_at + 3600 * hours)
    store.write_slice("step", 0, [moved, ERROR])
    store.write_slice("step", 1, [ANSWER])
    assert store.read_rows("step", 0, ["b", "a", "c", "d"]) == {"b": ERROR, "a": moved}
    assert store.read_rows("step", 1, ["a", "c", "d"]) == {"a": moved}
    assert store.read_rows("step", 1, ["c", "a"]) == {"a": ANSWER}
    assert store.read_states("step", 0, ["b", "a", "c", "d"])["a"].output_digest == moved.output_digest


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, None, "1"])
def test_a_step_of_another_schema_version_is_refused(store: Store, version: object) -> None:
    manifest = store.paths.manifest("step")
    write_json(manifest, read_json(manifest) | {"schema_version": version})
    with pytest.raises(StoreError, match=f"manifest.json has schema version {version}, this program reads"):
        Store(store.paths.root).slice_rows("step")


@pytest.mark.parametrize("slice_rows", [0, -4, None, "4"])
def test_a_manifest_that_fixes_no_number_of_rows_is_refused(store: Store, slice_rows: object) -> None:
    manifest = store.paths.manifest("step")
    write_json(manifest, read_json(manifest) | {"slice_rows": slice_rows})
    with pytest.raises(StoreError, match=f"manifest.json says {slice_rows!r} rows per slice: restore it"):
        Store(store.paths.root).slice_rows("step")


def test_a_kind_of_error_that_no_run_writes_is_another_programs(store: Store) -> None:
    store.write_slice("step", 0, [ANSWER, ERROR])
    file = store.paths.slice("step", 0)
    table = pq.read_table(file)
    place = table.schema.get_field_index("error_kind")
    pq.write_table(table.set_column(place, "error_kind", pa.array([None, "tired"])), file)
    for read in (store.read_slice, store.read_unanswered):
        with pytest.raises(StoreError, match=r"unknown kinds of errors among tired.*another program wrote it"):
            read("step", 0)


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "flipped"])
def test_a_damaged_slice_is_named_with_what_to_do(store: Store, damage: str) -> None:
    store.write_slice("step", 0, [ANSWER, ERROR])
    file = store.paths.slice("step", 0)
    whole = file.read_bytes()
    flipped = whole[:60] + bytes(byte ^ 0x5A for byte in whole[60:64]) + whole[64:]
    file.write_bytes({"empty": b"", "truncated": whole[:-40], "text": b"hello", "flipped": flipped}[damage])
    with pytest.raises(StoreError, match=r"slice-000000\.parquet cannot be read .*fsck .* moves it away") as caught:
        store.read_slice("step", 0)
    assert str(file) in str(caught.value)


def test_damage_to_the_rows_is_never_read_as_another_answer(store: Store) -> None:
    rows = [replace(ANSWER, sample_id=f"s{number}", text=f"answer {number} " * 9) for number in range(32)]
    store.write_slice("step", 0, rows)
    file = store.paths.slice("step", 0)
    whole, expected = file.read_bytes(), store.read_slice("step", 0)
    pages = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")  # the footer that follows has no checksum
    chooser = random.Random(0)
    for position in chooser.sample(range(4, pages), 300):
        file.write_bytes(
            whole[:position] + bytes([whole[position] ^ chooser.randrange(1, 256)]) + whole[position + 1 :]
        )
        try:
            read = store.read_slice("step", 0)
        except StoreError:
            continue
        assert read == expected, f"byte {position} changed the rows"


def test_a_store_that_cannot_be_written_is_one_paragraph(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")
    with pytest.raises(StoreError, match=r"cannot be written \(File exists\)"):
        store.write_slice("step", 0, [ANSWER])


def test_what_a_row_may_lack_is_what_an_error_or_an_engine_leaves_out() -> None:
    optional = {"text", "error_kind", "error", "finish_reason", "cost_usd", "mean_logprob", "thinking"}
    assert optional <= {field.name for field in SCHEMA if field.nullable}
    always = {"sample_id", "request_digest", "input_digest", "output_digest", "engine", "run_id", "attempt"}
    always |= {"prompt_tokens", "completion_tokens", "cached_tokens", "latency_s", "finished_at"}
    assert always == {field.name for field in SCHEMA if not field.nullable}


def test_a_store_says_its_absolute_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Store("store").root == str(tmp_path / "store")
    assert Store(tmp_path / "store").root == str(tmp_path / "store")
