"""Findings of fuzzing, by name: each once ended in a traceback, or in a file that could not be read again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzz_data import BASELINE, JUDGE, PATHS
from fuzz_store import IDS, STEP, slice_bytes
from fuzzing import AWKWARD_JSON

from eibench_ray.benchmarks.eibench.importer import prepare_eibench
from eibench_ray.benchmarks.eibench.published_prompts import read_official
from eibench_ray.cli.hydra_entry import call_hydra
from eibench_ray.cli.sweep_commands import show_plan
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.layout import CARD_FILE, SAMPLES_FILE
from eibench_ray.datasets.parquet_tables import read_parquet
from eibench_ray.datasets.picture_files import PictureFolders
from eibench_ray.datasets.prompts_file import PromptSet, dump_protocol, load_protocol
from eibench_ray.datasets.table_columns import parse_columns
from eibench_ray.datasets.table_import import prepare_table
from eibench_ray.datasets.text_tables import read_jsonl
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.engines.replay import ReplayEngine, ReplaySection
from eibench_ray.errors import ConfigError, DataError, EngineError, StoreError
from eibench_ray.rows.sample import Sample
from eibench_ray.runs.ledger_file import read_ledger
from eibench_ray.storage.atomic_files import parse_json
from eibench_ray.store.slice_check import check_slice
from eibench_ray.store.slice_store import Store
from eibench_ray.store.slice_summary import KEY, unpack

DEEP, LONG, *_ = AWKWARD_JSON
NO_UTF8 = pa.array([b"\xff", b"b", b"c"]).cast(pa.string(), safe=False)


def test_a_message_is_one_paragraph_whatever_it_repeats() -> None:
    assert str(ConfigError("the key a\n\r\n  b\u2028is not  there\n")) == "the key a b is not  there"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset of three samples in three row groups."""
    with DatasetWriter(tmp_path / "made", "made for a test") as writer:
        for number in range(3):
            writer.add(Sample(f"s{number}", {"question": "Why?"}, target=("Tea.",)))
    return Path(writer.path)


def change(path: Path, alter: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(alter(pq.read_table(path)), path, compression="none")


def with_column(name: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.schema.get_field_index(name), name, values)


def test_a_dataset_with_text_that_is_no_unicode_is_refused(dataset: Path) -> None:
    change(dataset / SAMPLES_FILE, with_column("inputs", NO_UTF8))
    with pytest.raises(DataError, match=r"samples\.parquet is damaged .*UTF8.*prepare the dataset again"):
        open_dataset(str(dataset)).samples(0, 3)


def test_a_dataset_with_a_damaged_page_is_refused(dataset: Path) -> None:
    file = dataset / SAMPLES_FILE
    change(file, lambda table: table)
    content = file.read_bytes()
    column = pq.read_metadata(file).row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    file.write_bytes(
        content[:start] + bytes(column.total_compressed_size) + content[start + column.total_compressed_size :]
    )
    with pytest.raises(DataError, match=r"samples\.parquet is damaged"):
        open_dataset(str(dataset)).samples(0, 3)


def test_a_dataset_whose_footer_counts_other_rows_than_its_row_groups_is_refused(dataset: Path) -> None:
    file = dataset / SAMPLES_FILE
    content = file.read_bytes()
    for place in range(content.rfind(b"PAR1", 0, -4) + 4, len(content)):
        if content[place] != 6:  # the number 3, as the footer writes it
            continue
        file.write_bytes(content[:place] + b"\x02" + content[place + 1 :])
        with contextlib.suppress(OSError, ValueError):
            metadata = pq.read_metadata(file)
            if (metadata.num_rows, metadata.row_group(0).num_rows) == (3, 1):
                break
    else:
        pytest.fail("no byte of the footer is the row group's count")
    with pytest.raises(DataError, match=r"samples\.parquet has 1 rows and dataset\.json says 3"):
        open_dataset(str(dataset))


@pytest.mark.parametrize("rows", [DEEP, LONG, b"1e999"])
def test_a_datasets_card_with_a_count_that_is_none_is_refused(dataset: Path, rows: bytes) -> None:
    (dataset / CARD_FILE).write_bytes(
        b'{"layout": 2, "inputs": {}, "metadata": {}, "most_media": 0, "rows": ' + rows + b"}"
    )
    with pytest.raises(DataError, match="not a prepared dataset"):
        open_dataset(str(dataset))


@pytest.mark.parametrize("line", [DEEP, LONG, b'{"question": "Why?", "target": ["Rain."], "source": "\\ud800"}'])
def test_a_line_that_no_dataset_can_hold_is_named(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(line)
    with pytest.raises(DataError, match=r"malformed, 1: rows\.jsonl:1"):
        prepare_table(read_jsonl(file), parse_columns([]), [], tmp_path / "out")


@pytest.mark.parametrize("path", ["a" * 300 + ".png", "\ud800.png"])
def test_a_path_that_no_file_can_have_is_not_found(tmp_path: Path, path: str) -> None:
    assert PictureFolders([tmp_path]).find(path) is None


def test_a_table_with_text_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"question": NO_UTF8}), file)
    with pytest.raises(DataError, match=r"rows\.parquet is damaged after row 0 .*: restore it"):
        prepare_table(read_parquet(file), parse_columns([]), [], tmp_path / "out", unlabelled=True)


def test_a_table_with_a_name_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"question": ["Why?"]}), file)
    file.write_bytes(file.read_bytes().replace(b"question", b"questio\xff"))
    with pytest.raises(DataError, match=r"rows\.parquet is"):
        prepare_table(read_parquet(file), parse_columns([]), [], tmp_path / "out", unlabelled=True)


@pytest.mark.parametrize("references", [DEEP, LONG])
def test_references_that_are_nested_too_deep_are_named(tmp_path: Path, references: bytes) -> None:
    (tmp_path / "user.jsonl").write_text(json.dumps({PATHS[0]: "Why?"}))
    (tmp_path / "basic_ground_truth.json").write_bytes(references)
    with pytest.raises(DataError, match=r"basic_ground_truth\.json \(not JSON"):
        prepare_eibench(tmp_path, [tmp_path], tmp_path / "out", "basic")


@pytest.mark.parametrize(
    "value", ["2026-13-45", "!!bool x", "!!timestamp x", "!!int x", "!!float x", "[" * 600, "{a: b: c}"]
)
def test_a_protocol_with_a_value_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    file = tmp_path / "protocol.yaml"
    file.write_text(f"score: {{much: {value}}}")
    with pytest.raises(DataError, match=r"protocol\.yaml cannot be read \(.*prepare the dataset again"):
        load_protocol(file)


def read_scripts(folder: Path, judge: str, baseline: str) -> PromptSet | None:
    """Prompts found in two scripts, which must survive being written beside a dataset."""
    (folder / "baselines").mkdir()
    (folder / "gpt-eval.py").write_text(judge)
    (folder / "baselines" / "run.py").write_text(baseline)
    found, _ = read_official(folder)
    if found is not None:
        file = folder / "protocol.yaml"
        file.write_text(dump_protocol(found), encoding="utf-8")
        assert load_protocol(file).digest == found.digest
    return found


@pytest.mark.parametrize(
    ("written", "read"), [("10", 10.0), ("1e999", None), ("1" + "0" * 400, None), ("True", 1.0), ("0", 0.0)]
)
def test_a_scripts_temperature_is_a_number_that_can_be_or_left_open(
    tmp_path: Path, written: str, read: float | None
) -> None:
    found = read_scripts(tmp_path, "", BASELINE.replace("0.7", written))
    assert found is not None
    assert found.subject["user_question"].sampling.temperature == read
    assert isinstance(read, type(found.subject["user_question"].sampling.temperature))


@pytest.mark.parametrize("change", [("top_p=0.5", "top_p=2"), ("max_tokens=77", "max_tokens=0")])
def test_sampling_that_no_protocol_can_hold_is_left_open(tmp_path: Path, change: tuple[str, str]) -> None:
    found = read_scripts(tmp_path, JUDGE.replace(*change), "")
    assert found is not None
    sampling = found.judge["gpt_basic"].sampling
    assert None in (sampling.top_p, sampling.max_tokens)


def test_a_script_may_wait_for_a_text_of_two_lines(tmp_path: Path) -> None:
    found = read_scripts(tmp_path, JUDGE.replace('"{mark: " in', r'"it\nis" in'), "")
    assert found is not None
    accept = found.judge["gpt_basic"].accept
    assert accept is not None
    assert accept.contains == "it\nis"


@pytest.mark.parametrize(
    "script", [JUDGE.replace("Mark it", r"\ud800"), "(" * 300, "x = " + "+".join(["'a'"] * 3000), "-" * 9000 + "1"]
)
def test_a_script_that_is_none_for_python_or_for_a_file_is_a_note(tmp_path: Path, script: str) -> None:
    assert read_scripts(tmp_path, script, script) is None


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with a slice that another test damages."""
    made = Store(tmp_path / "store")
    made.fix_slice_rows(STEP, 3, {})
    Path(made.paths.slice(STEP, 0)).write_bytes(slice_bytes("none", with_summary=False))
    return made


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (with_column("error_kind", pa.array([None, "tired", None])), "unknown kinds of errors among tired"),
        (with_column("error_kind", pa.array([[], [], []], pa.list_(pa.int8()))), ""),
        (lambda table: table.drop_columns(["error_kind", "output_digest"]), "does not exist"),
        (with_column("output_digest", pa.array(["a", None, "b"])), "null"),
    ],
)
def test_a_slice_of_another_program_is_refused_and_not_moved(
    store: Store, alter: Callable[[pa.Table], pa.Table], reason: str
) -> None:
    path = Path(store.paths.slice(STEP, 0))
    change(path, alter)
    with pytest.raises(StoreError, match=f"cannot be read .*{reason}.*: another program wrote it: restore it"):
        store.read_states(STEP, 0, IDS)
    assert not check_slice(path.read_bytes(), 3).is_unreadable


def test_a_slice_with_text_that_is_no_unicode_is_damaged(store: Store) -> None:
    path = Path(store.paths.slice(STEP, 0))
    change(path, with_column("text", NO_UTF8))
    with pytest.raises(StoreError, match=r"cannot be read .*UTF8.*fsck .*--repair"):
        store.read_slice(STEP, 0)
    assert check_slice(path.read_bytes(), 3).is_unreadable


@pytest.mark.parametrize(
    "said", [b'{"cost_usd": "much"}', b'{"cost_usd": 1.0, "num_rows": "3"}', b'{"cost_usd": ' + DEEP, b"[]", LONG]
)
def test_a_footer_that_is_no_summary_says_nothing(said: bytes) -> None:
    assert unpack({KEY: said}) is None


def test_a_recording_that_is_nested_too_deep_is_named(tmp_path: Path) -> None:
    file = tmp_path / "recorded.jsonl"
    file.write_bytes(DEEP)
    replay = ReplayEngine(ReplaySection(kind="replay", predictions=str(file)), str(file))
    with pytest.raises(EngineError, match=r"recorded\.jsonl:1 is not JSON"):
        asyncio.run(replay.start())


@pytest.mark.parametrize("content", [DEEP, LONG])
def test_json_at_which_python_stops_is_an_error_of_the_stores(content: bytes) -> None:
    with pytest.raises(StoreError, match="manifest is not JSON"):
        parse_json(content, "manifest")


def test_lines_of_a_ledger_that_are_no_events_are_passed_over(tmp_path: Path) -> None:
    good = {"time": 1.0, "event": "node_joined", "node": "n", "name": "host", "cpus": 8, "gpus": 2}
    bad = [
        12,
        [],
        {"event": "run_started"},
        {"time": 1.0},
        {"time": "1", "event": "run_started"},
        {"time": float("inf"), "event": "run_started"},
        good | {"gpus": "host"},
        good | {"gpus": 10**12},
        {key: value for key, value in good.items() if key != "name"},
        {"time": 2.0, "event": "replica_ready", "replica": 1},
        {"time": 2.0, "event": "slice_sent", "replica": 1, "step": "s", "slice": 0},
        {"time": 2.0, "event": "replica_starting", "replica": 1, "engine": "e", "model": "m", "nodes": 3},
    ]
    file = tmp_path / "ledger.jsonl"
    lines = [json.dumps(line).encode() for line in (good, *bad)]
    file.write_bytes(b"\n".join([*lines, DEEP, LONG, json.dumps({"time": 3, "event": "unheard_of"}).encode()]))
    assert [event["event"] for event in read_ledger(file)] == ["node_joined", "unheard_of"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: [\n", r'an option file is not YAML that can be read: .*mine\.yaml", line 2.*: fix it there'),
        ("a: 1\na: 2\n", "found duplicate key a"),
        ("name: \x07", "special characters are not allowed"),
        ("name: !!bool x", "KeyError: 'x': correct the command line, or the option file"),
        ("name: !!timestamp x", "AttributeError: .*the option file that it names"),
        ("- &a [*a]\n", "RecursionError: .*the option file that it names"),
        ("-1", "Invalid loaded object type: int: .*the option file that it names"),
    ],
)
def test_an_option_file_that_is_no_yaml_is_a_paragraph(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "model" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(text)
    arguments = ["--config-dir", str(tmp_path), "model=mine", "judge=echo", "dataset=demo"]
    with pytest.raises(ConfigError, match=reason):
        call_hydra(partial(show_plan, True, {}, False), arguments, leaves_traces=False)
