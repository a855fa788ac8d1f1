"""Datasets in a bucket: written whole, read by ranges, by the same code as those in a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from slow_down import SlowDown
from typer.testing import CliRunner

from eibench_ray.cli.prepare import app
from eibench_ray.config.schema import DatasetConfig
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.layout import ROW_GROUP_PICTURES
from eibench_ray.datasets.prompts_file import PromptSet, SourcePrompt
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.errors import DataError, StoreError
from eibench_ray.planner.dataset_facts import read_dataset_facts
from eibench_ray.report.leaderboard_files import to_json_rows
from eibench_ray.rows.sample import Media, Sample
from eibench_ray.runs.find_run import find_run
from eibench_ray.runs.results import score_run
from eibench_ray.runs.run_record import read_run
from eibench_ray.runs.run_status import describe_run
from eibench_ray.storage.local import open_storage
from eibench_ray.store.slice_store import Store
from eibench_ray.store.store_check import check_store

if TYPE_CHECKING:
    from conftest import Called, Sweeps

NUM_ROWS = 5 * ROW_GROUP_PICTURES
PICTURE_BYTES = 20_000


def write(out: str, rows: int = NUM_ROWS, question: str = "why", protocol: PromptSet | None = None) -> None:
    with DatasetWriter(out, "faces for a test", protocol) as writer:
        for number in range(rows):
            sample = Sample(f"s{number:04d}", {"question": f"{question} {number}?"}, (Media(f"{number}.png"),), "Sun.")
            writer.add(sample, [os.urandom(PICTURE_BYTES) if question == "why" else b"picture"])


@pytest.fixture(params=["s3", "gs"])
def root(request: pytest.FixtureRequest) -> str:
    """A place in a bucket, of either kind."""
    return str(request.getfixturevalue(f"{request.param}_root"))


def write_twins(out: str, sample: Sample) -> None:
    with DatasetWriter(out, "a test") as writer:
        writer.add(sample)
        writer.add(sample)


def below(root: str, name: str) -> str:
    """The URI of something below a root, which may end in options."""
    place, mark, options = root.partition("?")
    return f"{place}/{name}{mark}{options}"


def names_in(root: str) -> list[str]:
    storage, folder = open_storage(root)
    return [entry.name for entry in storage.list(folder) if entry.name]


def test_a_dataset_in_a_bucket_is_the_dataset_in_a_folder(tmp_path: Path, root: str) -> None:
    rows = tmp_path / "rows.jsonl"
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(b"picture %d" % number)
    lines = [{"id": n, "question": f"why {n}?", "target": ["Sun."], "image": f"{n}.png"} for n in range(3)]
    rows.write_text("\n".join(map(json.dumps, lines)))
    opened = []
    for out in (str(tmp_path / "faces"), below(root, "faces")):
        command = ["jsonl", str(rows), "--images", str(tmp_path / "pictures"), "--out", out, "--json"]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        (report,) = json.loads(done.stdout)["datasets"]
        assert (report["path"], report["name"], report["rows"]) == (out, "faces", 3)
        opened.append(open_dataset(out))
    here, there = opened
    assert there.samples(0, 9) == here.samples(0, 9)
    assert there.index().row_digests == here.index().row_digests
    assert (
        there.images(0, 3, ["0", "2"]) == here.images(0, 3, ["0", "2"]) == {"0": (b"picture 0",), "2": (b"picture 2",)}
    )


def test_who_has_opened_a_dataset_that_is_replaced_reads_no_mixture(root: str) -> None:
    out = below(root, "faces")
    official = PromptSet({"user_question": SourcePrompt(None, "Look, {question}")})
    write(out, rows=70, question="old", protocol=official)
    before = open_dataset(out)
    assert before.protocol == official
    write(out, rows=66, question="new")
    after = open_dataset(out)
    assert (after.num_rows, after.protocol) == (66, None)
    assert after.samples(65, 66)[0].inputs["question"] == "new 65?"
    with pytest.raises(StoreError, match=r"samples-\w+\.parquet cannot be read") as gone:
        before.samples(0, 70)
    assert "\n" not in str(gone.value)
    assert sorted(name.partition("-")[0] for name in names_in(out)) == ["dataset.json", "samples"]


def test_an_error_while_a_dataset_is_written_leaves_what_was_there(s3_root: str) -> None:
    out = below(s3_root, "faces")
    write(out, rows=2, question="old")
    before = names_in(out)
    sample = Sample("twice", {"question": "why?"}, target="Sun.")
    with pytest.raises(DataError, match="'twice'"):
        write_twins(out, sample)
    assert names_in(out) == before
    assert open_dataset(out).num_rows == 2


def test_a_card_that_names_another_object_reads_and_deletes_nothing_of_it(root: str) -> None:
    out, other = below(root, "faces"), below(root, "others")
    write(out, rows=2)
    write(other, rows=2)
    storage, folder = open_storage(out)
    card = json.loads(storage.read(folder / "dataset.json") or b"")
    _, place = open_storage(other)
    (theirs,) = [name for name in names_in(other) if name.startswith("samples")]
    storage.write(folder / "dataset.json", json.dumps(card | {"samples": f"../{place.name}/{theirs}"}).encode())
    with pytest.raises(DataError, match="names the rows' file"):
        open_dataset(out)
    write(out, rows=3)
    assert (open_dataset(out).num_rows, open_dataset(other).num_rows) == (3, 2)


def test_what_is_no_dataset_is_neither_read_nor_replaced(root: str) -> None:
    out = below(root, "thesis")
    with pytest.raises(DataError, match=r"there is no prepared dataset there; prepare it.*--out .*thesis"):
        open_dataset(out)
    expected = DatasetConfig(name="thesis", path=out, expect_rows=9)
    assert not read_dataset_facts(expected, must_exist=False).is_prepared
    storage, folder = open_storage(out)
    storage.write(folder / "years.txt", b"of work")
    with pytest.raises(DataError, match="exists and is not a prepared dataset: choose another --out"):
        write(out)
    assert storage.read(folder / "years.txt") == b"of work"
    with pytest.raises(DataError, match="no prepared dataset"):
        read_dataset_facts(expected, must_exist=False)
    storage.write(folder / "dataset.json", b'{"rows": 2, "layout": 2}')
    storage.write(folder / "samples.parquet", b"PAR1 nonsense PAR1")
    with pytest.raises(DataError, match="what lies there is not a prepared dataset"):
        open_dataset(out)


@pytest.mark.parametrize("path", ["s3://AKIA7:hunter2@bucket/a", "s3://hunter2@bucket", "ftp://hunter2/a"])
def test_a_path_with_a_secret_or_of_no_storage_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"carries a name or a password|should be a folder"):
        DatasetConfig(name="faces", path=path)
    with pytest.raises(StoreError, match=r"^--out (carries|should)") as refused:
        DatasetWriter(path, "a test")
    assert "hunter2" not in str(refused.value)


def test_a_bucket_that_is_not_there_is_named_before_pictures_are_read(s3_root: str) -> None:  # noqa: ARG001
    with (
        pytest.raises(StoreError, match=r"s3://no-such-bucket/faces/.writable cannot be written.*NO_SUCH_BUCKET"),
        DatasetWriter("s3://no-such-bucket/faces", "a test"),
    ):
        raise AssertionError("not reached")


def test_a_slice_is_a_few_requests_for_its_rows_and_the_index_few_for_all(
    s3_port: int, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = below(s3_root, "faces")
    write(out)
    with SlowDown(s3_port, lambda *_: None) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        dataset = open_dataset(out)
        assert len(proxy.requests) <= 9

        def cost(*read: Any) -> tuple[int, int]:
            """Requests, and bytes that they brought."""
            before, old = len(proxy.requests), proxy.num_bytes
            for what in read:
                what()
            return len(proxy.requests) - before, proxy.num_bytes - old

        requests, num_bytes = cost(lambda: dataset.index().sample_ids)
        assert requests <= 2 * 5
        assert num_bytes < 100_000
        ids = dataset.index().sample_ids[64:128]
        requests, num_bytes = cost(
            lambda: dataset.samples(64, 128), lambda: list(dataset.index().row_digests_of(64, 128))
        )
        assert requests <= 4
        assert num_bytes < 30_000
        requests, num_bytes = cost(lambda: dataset.images(64, 128, ids))
        assert requests <= 3
        assert num_bytes < 1.1 * ROW_GROUP_PICTURES * PICTURE_BYTES


def test_a_service_that_is_busy_while_rows_are_read_is_asked_again(
    s3_port: int, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = below(s3_root, "faces")
    write(out, rows=70)
    seen: Counter[str] = Counter()
    is_gone = False

    def fault(method: str, path: str) -> str | None:
        seen[f"{method} {path}"] += 1
        return "busy" if is_gone or (method == "GET" and seen[f"{method} {path}"] == 1) else None

    with SlowDown(s3_port, fault) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        dataset = open_dataset(out)
        assert [len(image) for (image,) in dataset.images(60, 70, ["s0060", "s0069"]).values()] == [PICTURE_BYTES] * 2
        monkeypatch.setattr(dataset._samples._storage, "_retry_s", 0.5)
        is_gone = True
        with pytest.raises(StoreError, match=r"parquet cannot be read \(.*check the bucket"):
            dataset.samples(0, 70)


SWEEP = ["model=echo", "model.engine.latency_s=0.05", "model.engine.max_num_seqs=4", "judge=echo", "tracking=none"]
SWEEP += ["dataset=prepared", "dataset.name=faces", "cluster.num_cpus=2", "cluster.stop_timeout_s=10"]
SWEEP += ["store.slice_rows=4"]


def start_run(folder: Path, dataset: str, store: str) -> subprocess.Popen[str]:
    """A run that does not end, since one of its answers does not come, in a process group of its own."""
    folder.mkdir(exist_ok=True)
    call = [sys.executable, "-m", "eibench_ray.cli.app", "run", "--json", *SWEEP, "model.engine.hangs_on=person 17"]
    call += [f"dataset.path={dataset}", f"store.root={store}"]
    return subprocess.Popen(call, cwd=folder, text=True, start_new_session=True, stdout=-1, stderr=-1)


def count_slices(root: str) -> int:
    storage, folder = open_storage(root)
    steps = [folder / "steps" / entry.name for entry in storage.list(folder / "steps")]
    return sum(entry.name.endswith(".parquet") for step in steps for entry in storage.list(step))


@pytest.mark.slow
def test_a_sweep_whose_data_and_store_are_in_a_bucket_is_killed_and_goes_on_to_the_rows_of_a_folder(
    tmp_path: Path,
    sweeps: Sweeps,
    s3_root: str,
    commands_share_ray: None,  # noqa: ARG001 - after the bucket: its replicas have the variables, too
    command: Callable[..., Called],
) -> None:
    here = sweeps.write_dataset(range(24))
    there = below(s3_root, "data/faces")
    with DatasetWriter(there, "faces for a test") as writer:
        dataset = open_dataset(str(here))
        pictures = dataset.images(0, 24, dataset.index().sample_ids)
        for sample in dataset.samples(0, 24):
            writer.add(sample, pictures[sample.sample_id])
    called = command("run", "--json", *SWEEP, f"dataset.path={here}", f"store.root={tmp_path / 'store'}")
    assert called.code == 0, called.err
    first = called.json
    killed = start_run(tmp_path / "bucket", there, s3_root)
    deadline = time.monotonic() + 90
    while count_slices(s3_root) < 2:
        assert time.monotonic() < deadline
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    done = count_slices(s3_root)
    assert done < 12
    called = command("run", "--json", *SWEEP, f"dataset.path={there}", f"store.root={s3_root}")
    assert called.code == 0, called.err
    second = called.json
    assert (first["completions_new"], second["store"], second["errors"]) == (48, s3_root, 0)
    assert 0 < second["completions_new"] <= 48 - 4 * done
    assert second["rows"] == first["rows"]
    stores = [Store(str(tmp_path / "store")), Store(s3_root)]
    manifest, status, store = read_run(Path(second["run_dir"]))
    assert (status.state, store.root) == ("finished", s3_root)
    assert to_json_rows(score_run(manifest, store)) == second["rows"]
    assert describe_run(find_run(second["run_dir"]))["requests_done"] == 48
    assert check_store(store, lambda *_: None).findings == ()
    assert not (tmp_path / "bucket" / "store").exists()
    storage, root = open_storage(s3_root)
    assert [entry.name for entry in storage.list(root / "leases") if not entry.is_folder] == []
    ids = dataset.index().sample_ids
    for step in manifest.plan.steps:
        folder, bucket = ({row.sample_id: row.text for row in s.read_rows(step, 0, ids).values()} for s in stores)
        assert len(folder) == 24
        assert folder == bucket
