"""Targets: what lies in a store and in a run's folder, after a disk or another program has been at it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from fuzzing import AWKWARD_JSON, join, refusals, split, target

from eibench_ray.report.gantt_lanes import name_lanes, seat_replicas
from eibench_ray.rows.completion import Completion
from eibench_ray.runs.ledger_file import read_ledger
from eibench_ray.schedule.gpu_accounting import account
from eibench_ray.storage.atomic_files import parse_json
from eibench_ray.store import store_check as fsck_module
from eibench_ray.store.held_lease import hold
from eibench_ray.store.slice_check import check_slice
from eibench_ray.store.slice_format import SCHEMA, encode
from eibench_ray.store.slice_store import Store
from eibench_ray.store.slice_summary import Summary, find, pack, summarise
from eibench_ray.store.store_check import check_store, repair
from eibench_ray.store.store_paths import StorePaths
from eibench_ray.store.store_version import SCHEMA_VERSION, read_manifest

STEP = "0123456789abcdef"
IDS = ["a", "b", "c"]


def slice_rows() -> list[Completion]:
    texts = ["rain", None, "a lost bag"]
    kinds = [None, "timeout", None]
    return [
        Completion(
            sample_id=sample_id,
            request_digest=f"request {sample_id}",
            text=text,
            error_kind=kind,
            error=kind and "it took too long",
            finish_reason=None if kind else "stop",
            prompt_tokens=3,
            completion_tokens=2,
            cached_tokens=0,
            attempt=1,
            latency_s=0.5,
            finished_at=1e9,
            engine="echo",
            run_id="run",
            input_digest=f"input {sample_id}",
            cost_usd=0.25,
        )
        for sample_id, text, kind in zip(IDS, texts, kinds, strict=True)
    ]


def slice_bytes(compression: str, *, with_summary: bool) -> bytes:
    """A file with what earlier versions wrote beside the rows: statistics, dictionaries, Arrow's schema."""
    rows = slice_rows()
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in SCHEMA}
    summary = summarise(rows, columns["output_digest"], 3, "made from" if with_summary else None)
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pydict(columns, schema=SCHEMA.with_metadata(pack(summary)))
    pq.write_table(table, sink, compression=compression, write_page_checksum=with_summary)
    return bytes(sink.getvalue())


def _slices() -> list[bytes]:
    other = pa.BufferOutputStream()
    pq.write_table(pa.table({"sample_id": IDS, "error_kind": ["what", None, "image"]}), other)
    today = bytes(encode(slice_rows(), 3, "made from"))
    before = [slice_bytes("zstd", with_summary=True), slice_bytes("none", with_summary=False)]
    return [today, *before, bytes(other.getvalue())]


@target(_slices)
def slice_file(data: bytes, folder: Path) -> None:
    """A slice's file, read in all the ways in which a store is read."""
    if (summary := find(data)) is not None:
        _check_summary(summary)
    check_slice(data, 3)
    store = Store(folder)
    store.fix_slice_rows(STEP, 3, {})
    Path(store.paths.slice(STEP, 0)).write_bytes(data)
    with refusals():
        for found in store.read_summaries(STEP, [0]).values():
            _check_summary(found)
    with refusals():
        store.read_cost(STEP)
    with refusals():
        store.read_states(STEP, 0, IDS)
    with refusals():
        assert set(store.read_rows(STEP, 0, IDS)) <= set(IDS)
    with refusals():
        store.read_unanswered(STEP, 0)
    with refusals():
        store.read_outputs(STEP, 0)


def _footers() -> list[bytes]:
    content = pack(Summary(0.5, "made from", "outputs", 3, 1, 0, False))
    (value,) = content.values()
    awkward = [b'{"cost_usd": ' + value + b"}" for value in AWKWARD_JSON]
    return [value, b'{"cost_usd": null, "made_from": null}', b'{"cost_usd": "much"}', b"[1]", *awkward]


@target(_footers)
def footer(data: bytes, folder: Path) -> None:
    """Summary of a slice in its footer."""
    del folder
    body = b"eibench_ray" + data
    if (summary := find(body + len(body).to_bytes(4, "little") + b"PAR1")) is not None:
        _check_summary(summary)


def _check_summary(summary: Summary) -> None:
    assert summary.cost_usd is None or isinstance(summary.cost_usd, float | int)
    assert summary.made_from is None or isinstance(summary.made_from, str)
    assert isinstance(summary.outputs, str)
    assert all(isinstance(count, int) for count in (summary.num_rows, summary.num_errors, summary.num_absent))
    assert isinstance(summary.is_final, bool)


def _stores() -> list[bytes]:
    manifest = json.dumps({"schema_version": SCHEMA_VERSION, "id": STEP, "slice_rows": 4, "step": {}})
    run = json.dumps({"plan": {"steps": {STEP: {}}}})
    lease = {"run_id": "r", "host": "h", "kernel": "k", "pid": 1, "started": 2, "since": 1e9, "locks": [STEP]}
    version = json.dumps({"schema_version": SCHEMA_VERSION})
    return [
        join(version, manifest, run, json.dumps(lease | {"took_over": ["q"], "renewal": 3}), "damaged"),
        join(version, manifest, "{}"),
        *(join(value, manifest, run) for value in AWKWARD_JSON),
        *(join(version, value, manifest, value) for value in AWKWARD_JSON),
        *(join(version, manifest, b'{"plan": {"steps": ' + value + b"}}") for value in AWKWARD_JSON),
    ]


@target(_stores)
def fsck(data: bytes, folder: Path) -> None:
    """A store's JSON files: its version, a step's manifest, a run's, a lease; and a slice that is none."""
    version, manifest, run, lease, rows = split(data, 5)
    with refusals():
        assert read_manifest(parse_json(manifest, "manifest.json"), "manifest.json") >= 1
    paths = StorePaths(folder)
    files = {paths.version: version, paths.manifest(STEP): manifest, paths.run("r"): run, paths.lease("r"): lease}
    for path, content in (files | {paths.slice(STEP, 0): rows}).items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)
    # Nobody renews this lease, so waiting for it would only take time.
    with patch.object(fsck_module, "EXPIRE_S", 0.0), patch.object(fsck_module, "hold", _hold_at_once), refusals():
        store = Store(folder)
        checked = check_store(store, lambda *_: None)
        with refusals():
            repair(store, checked.findings)


_hold_at_once = partial(hold, expire_s=0.0)


def _ledgers() -> list[bytes]:
    events: list[dict[str, object]] = [
        {"time": 1.0, "event": "run_started"},
        {"time": 1.0, "event": "node_joined", "node": "n", "name": "host", "cpus": 8, "gpus": 2},
        {"time": 2, "event": "replica_starting", "replica": 1, "engine": "e", "model": "m", "nodes": ["n"], "gpus": 1},
        {"time": 3.0, "event": "replica_placed", "replica": 1, "engine": "e"},
        {"time": 4.0, "event": "replica_ready", "replica": 1, "engine": "e", "model": "m", "node": "a", "capacity": 4}
        | {"load_s": 2.0, "fingerprint": "echo"},
        {"time": 4.0, "event": "slice_sent", "replica": 1, "step": STEP, "slice": 0, "rows": 4},
        {"time": 6.0, "event": "slice_committed", "replica": 1, "step": STEP, "slice": 0, "new": 4, "seconds": 2.0},
        {"time": 7.0, "event": "replica_stopping", "replica": 1, "engine": "e"},
        {"time": 8.0, "event": "replica_stopped", "replica": 1, "engine": "e"},
        {"time": 8.5, "event": "node_left", "node": "n"},
        {"time": 9.0, "event": "run_ended"},
    ]
    lines = [json.dumps(event) for event in events]
    awkward = b"".join(b'{"event": "node_left", "node": "n", "time": ' + value + b"}\n" for value in AWKWARD_JSON)
    cut = [*lines[:6], '{"time": 5.0, "eve', "12", *lines]
    return ["\n".join(lines).encode(), "\n".join(cut).encode(), awkward, b"\n".join(AWKWARD_JSON)]


@target(_ledgers)
def ledger(data: bytes, folder: Path) -> None:
    """A run's ledger, down to the lanes of its picture."""
    file = folder / "ledger.jsonl"
    file.write_bytes(data)
    usage = account(read_ledger(file), {})
    assert usage.duration_s >= 0
    assert all(seconds >= 0 for seconds in usage.seconds().values())
    name_lanes(usage, seat_replicas(usage))
