"""A store in a bucket: a real S3 server, which has no rename, is slow at times, and fails."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
from pyarrow import fs
from slow_down import SlowDown

from eibench_ray.cli.machine_report import examine_store
from eibench_ray.engines.engine import EngineDeadError
from eibench_ray.engines.openai.batch_record import BatchFolder
from eibench_ray.errors import StoreError
from eibench_ray.rows.request import Request
from eibench_ray.runs.find_run import find_run, list_runs
from eibench_ray.runs.results import Results, score_run
from eibench_ray.runs.run_record import new_manifest, new_status, read_run, write_manifest, write_state
from eibench_ray.scoring.cell_columns import MISSING
from eibench_ray.storage import bucket as bucket_module
from eibench_ray.storage.bucket import Bucket, open_bucket
from eibench_ray.storage.local import open_storage
from eibench_ray.storage.location import Location, read_location
from eibench_ray.store.slice_store import Store

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.report.leaderboard_row import LeaderboardRow


def objects(root: str) -> list[str]:
    """The keys below a root, from the root on."""
    storage, path = open_storage(root)
    assert isinstance(storage, Bucket)
    found = storage._service.get_file_info(fs.FileSelector(str(path), recursive=True))
    return sorted(info.path.removeprefix(f"{path}/") for info in found if info.type == fs.FileType.File and info.size)


def bucket_at(port: int, retry_s: float = 20.0) -> Bucket:
    """A bucket's storage through a port of this machine."""
    options = {"endpoint_override": f"127.0.0.1:{port}", "scheme": "http"}
    service = fs.S3FileSystem(allow_delayed_open=True, region="us-east-1", **options)
    return Bucket(service, "s3", retry_s)


class Dies:
    """An answer for a `Scripted` engine that dies at some request."""

    def __init__(self, at: int) -> None:
        self._left = at

    def __call__(self, request: Request) -> str:
        self._left -= 1
        if not self._left:
            raise EngineDeadError("it died")
        return f"it rains on {request.sample_id}"


def test_a_sweep_in_a_bucket_goes_on_where_it_was_and_is_reported(
    sweeps: Sweeps, scripted: type[Scripted], s3_root: str
) -> None:
    sweeps.write_dataset()
    config = sweeps.config(store={"root": s3_root, "slice_rows": 4})
    sweep = sweeps.plan(config)
    with pytest.raises(EngineDeadError):
        sweeps.ask(sweep, scripted(Dies(at=7)))
    answers = next(iter(sweep.plan.steps))
    assert objects(s3_root) == [
        f"steps/{answers}/manifest.json",
        *(f"steps/{answers}/slice-00000{index}.parquet" for index in (0, 1)),
        "store.json",
    ]
    engine = scripted()
    sweeps.ask(sweeps.plan(config), engine)
    assert 10 <= len(engine.requests) <= 16
    again = sweeps.plan(config)
    assert again.is_complete
    assert again.num_done == 20
    assert sum(name.endswith(".parquet") for name in objects(s3_root)) == 6
    assert not any("tmp" in name for name in objects(s3_root))
    manifest = new_manifest(again.plan, sweeps.folder, again.config.store, again.config.score)
    write_manifest(manifest, again.store)
    new_status(manifest, again.store).write(sweeps.folder)
    found, status, store = read_run(sweeps.folder)
    assert status.store == store.root == s3_root
    write_state(status, store)
    (listed,) = list_runs(store)
    assert (listed.id, listed.state, listed.folder, listed.has_folder) == (
        manifest.id,
        "running",
        str(sweeps.folder),
        True,
    )
    assert find_run(manifest.id[:-2], s3_root).manifest.id == manifest.id
    (row,) = score_run(found, store)
    assert sum(row.score.statuses.values()) == 10
    assert MISSING not in row.score.statuses


def test_records_of_batches_lie_in_the_bucket(s3_root: str) -> None:
    store = Store(s3_root)
    folder = BatchFolder(store.paths.batches("engine"), store.storage)
    record = folder.new(("a", "b"))
    assert folder.load(0.0) == []  # only an intent
    folder.write(record)
    assert objects(s3_root) == [f"batches/engine/{record.name}.json"]


def test_operations_on_a_bucket(s3_root: str) -> None:
    storage, root = open_storage(s3_root)
    path = root / "a" / "b.json"
    assert storage.read(path) is None
    assert storage.stamp(path) is None
    assert storage.list(root / "a") == []
    storage.remove(path)
    storage.write(path, b"0123456789")
    assert (storage.read(path), storage.read(path, 3), storage.read(path, 99)) == (b"0123456789", b"789", b"0123456789")
    first = storage.stamp(path)
    storage.write(path, b"another")
    assert storage.stamp(path) != first
    assert [entry.name for entry in storage.list(root)] == ["a"]
    assert storage.list(root)[0].is_folder
    assert (storage.sizes(root / "a"), storage.sizes(root), storage.sizes(root / "b")) == ({"b.json": 7}, {}, {})
    storage.move(path, root / "c" / "d.json")
    assert storage.read(path) is None
    assert storage.read(root / "c" / "d.json") == b"another"
    assert storage.name(path) == f"{s3_root}/a/b.json"
    storage.check_writable(root)


def test_a_busy_service_is_asked_again_and_a_cut_write_leaves_nothing_by_halves(
    s3_port: int, s3_root: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: Counter[str] = Counter()

    def fault(method: str, path: str) -> str | None:
        seen[f"{method} {path}"] += 1
        return {"PUT": "cut", "GET": "busy"}.get(method) if seen[f"{method} {path}"] <= 4 else None

    path = PurePosixPath(s3_root.removeprefix("s3://")) / "x"
    content = b"abc" * 1000
    with SlowDown(s3_port, fault) as proxy, caplog.at_level(logging.WARNING, "eibench_ray.storage.bucket"):
        storage = bucket_at(proxy.port)
        storage.write(path, content)
        assert storage.read(path) == content
        assert storage.list(path.parent)[0].name == "x"
    assert sum(request.startswith("PUT") for request in proxy.requests) == 5
    assert "storage failed, tried again" in caplog.text


def test_a_service_that_stays_busy_is_given_up_with_one_paragraph(s3_port: int, s3_root: str) -> None:
    path = PurePosixPath(s3_root.removeprefix("s3://")) / "x"
    with SlowDown(s3_port, lambda *_: "busy") as proxy:
        storage = bucket_at(proxy.port, retry_s=0.5)
        with pytest.raises(StoreError, match=r"/x cannot be written \(.*for 0\.5 s\): check the bucket") as caught:
            storage.write(path, b"abc")
    assert "\n" not in str(caught.value)
    assert bucket_at(s3_port).read(path) is None


def test_what_cannot_succeed_is_not_tried_again(s3_port: int, s3_root: str) -> None:  # noqa: ARG001
    with SlowDown(s3_port, lambda *_: None) as proxy:
        storage = bucket_at(proxy.port)
        with pytest.raises(StoreError, match=r"s3://no-such-bucket/x cannot be written \(.*NO_SUCH_BUCKET"):
            storage.write(PurePosixPath("no-such-bucket/x"), b"abc")
    assert len(proxy.requests) == 1


def test_many_slices_are_looked_at_with_one_listing_and_two_requests_each(
    sweeps: Sweeps, s3_port: int, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps.write_dataset(range(6))
    config = sweeps.config(store={"root": s3_root, "slice_rows": 1})
    sweeps.ask(sweeps.plan(config))
    with SlowDown(s3_port, lambda *_: None) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        assert sweeps.plan(config).is_complete
    num_slices = 2 * 6
    assert sum("list-type=2" in request for request in proxy.requests) == 2
    assert len(proxy.requests) <= 2 * num_slices + 8


@pytest.mark.parametrize(
    ("root", "location"),
    [
        ("s3://bucket/a/b", Location("s3", "bucket/a/b", {})),
        ("s3://bucket?region=eu-west-1", Location("s3", "bucket", {"region": "eu-west-1"})),
        ("gs://bucket/a/", Location("gs", "bucket/a", {})),
        ("gcs://bucket/a", Location("gs", "bucket/a", {})),
        ("file:///data/a%20b", Location("file", "/data/a b", {})),
        ("/data/x", Location("file", "/data/x", {})),
    ],
)
def test_a_root_is_a_folder_or_a_uri(root: str, location: Location) -> None:
    assert read_location(root) == location


@pytest.mark.parametrize(
    "root", ["s3://AKIA7:hunter2@bucket/a", "s3://AKIA7:hun/ter2@bucket", "s3://hunter2@bucket", "s3://a:hunter2/b"]
)
def test_a_root_with_a_secret_is_refused_and_never_shown(root: str) -> None:
    with pytest.raises(StoreError, match="the store's root carries a name or a password") as opened:
        Store(root)
    assert "ter2" not in str(opened.value)


def test_the_environment_and_the_uri_say_where_s3_is(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(bucket_module.fs, "S3FileSystem", lambda **options: opened.append(options))
    environ = {"AWS_ENDPOINT_URL": "http://elsewhere:9000", "AWS_REGION": "eu-north-1"}
    open_bucket(read_location("s3://bucket/a"), environ)
    open_bucket(read_location("s3://bucket?endpoint_override=here:1&scheme=https&region=x"), environ)
    open_bucket(read_location("s3://bucket/a"), {"AWS_ENDPOINT_URL_S3": "https://third"})
    assert [(options["scheme"], options["endpoint_override"], options["region"]) for options in opened] == [
        ("http", "elsewhere:9000", "eu-north-1"),
        ("https", "here:1", "x"),
        ("https", "third", "us-east-1"),
    ]


def test_the_doctor_writes_into_the_bucket(s3_root: str) -> None:
    assert [(check.status, check.detail) for check in examine_store(s3_root)] == [("ok", f"{s3_root} can be written")]
    (check,) = examine_store("s3://no-such-bucket/a")
    assert (check.status, "NO_SUCH_BUCKET" in check.detail) == ("fail", True)


def test_scores_are_kept_in_a_bucket(sweeps: Sweeps, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("noted", store={"root": s3_root, "slice_rows": 4}))
    sweeps.ask(sweep)

    def score() -> LeaderboardRow:
        return Results(sweep.plan, Store(s3_root)).score(sweep.plan.cells[0], sweep.config.score)

    first = score()
    with monkeypatch.context() as patched:
        patched.setattr("eibench_ray.runs.column_reader.score_cells", None)  # no row is read
        assert score() == first
    step = sweep.plan.cells[0].verdicts[0]
    rows = [replace(row, text="never mind") for row in sweep.store.read_slice(step, 0).values()]
    sweep.store.write_slice(step, 0, rows)
    assert score().score.statuses["unparsed"] == 4
