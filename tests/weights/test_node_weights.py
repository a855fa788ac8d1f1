"""Weights are brought to a node once, whatever starts there and whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import TOKEN, Hub, serving

from eibench_ray.engines.vllm.vllm_kind import vllm_weights
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.errors import EngineError
from eibench_ray.weights import hub_download
from eibench_ray.weights.node_copies import copy_folder
from eibench_ray.weights.node_weights import CACHE_VARIABLE, Weights
from eibench_ray.weights.weights_request import WeightsRequest

HUB_ID = "me/eye"
NUM_BYTES = 1 << 19
FILES = {"config.json", "tokenizer.json", "model.safetensors"}


def engine(source: str = HUB_ID, revision: str | None = None, **args: object) -> WeightsRequest:
    return vllm_weights(VllmSection(kind="vllm", source=source, revision=revision, max_model_len=64, args=args))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder like a checkpoint's, with weights of 0.5 MB."""
    folder = tmp_path / "eye"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "pytorch_model.bin", "README.md"):
        (folder / name).write_text(f'{{"is": "{name}"}}')
    (folder / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}" + os.urandom(NUM_BYTES))
    return folder


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[Hub]:
    with serving() as hub:
        hub.add(HUB_ID, checkpoint)
        yield hub


@pytest.fixture
def environ(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """Of a node whose cache is empty."""
    return {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url}


def start(environ: dict[str, str]) -> subprocess.Popen[str]:
    """A process that brings the weights and prints where they are, as a replica does."""
    script = (
        "from eibench_ray.weights.checkpoint_files import CheckpointPart\n"
        "from eibench_ray.weights.node_weights import Weights\n"
        "from eibench_ray.weights.weights_request import WeightsRequest\n"
        f"weights = Weights(WeightsRequest('{HUB_ID}', part=CheckpointPart('vllm')))\n"
        "weights.bring(); print(weights.source)"
    )
    command = [sys.executable, "-c", script]
    return subprocess.Popen(
        command, env=os.environ | environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def test_processes_that_start_at_once_fetch_once(hub: Hub, environ: dict[str, str], tmp_path: Path) -> None:
    cache = {CACHE_VARIABLE: str(tmp_path / "nvme")}
    hub.chunk_pause_s = 0.02
    processes = [start(environ | (cache if number % 2 else {})) for number in range(4)]
    folders = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        folders.append(out.strip())
    assert folders[0] == folders[2] != folders[1] == folders[3]
    assert Path(folders[1]).parent == tmp_path / "nvme"
    assert hub.asked == dict.fromkeys(FILES, 1)
    assert all(names(folder) == FILES for folder in folders)
    assert (Path(folders[1]) / "model.safetensors").stat().st_size == NUM_BYTES + 10
    asked = hub.num_requests
    weights = Weights(engine(), environ | cache)
    weights.bring()
    assert (weights.source, weights.revision, hub.num_requests) == (folders[1], None, asked)


def test_what_was_killed_midway_is_done_by_the_next(hub: Hub, environ: dict[str, str]) -> None:
    hub.chunk_pause_s = 0.3
    killed = start(environ)
    waiting = None
    try:
        deadline = time.monotonic() + 60
        while not (hub.asked["model.safetensors"] and hub.sent["config.json"] and hub.sent["tokenizer.json"]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        waiting = start(environ)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        hub.chunk_pause_s = 0.0
        out, err = waiting.communicate(timeout=60)
        assert waiting.returncode == 0, err
    finally:
        for process in filter(None, (killed, waiting)):
            process.kill()
            process.communicate()
    assert names(out.strip()) == FILES
    assert hub.asked == {"config.json": 1, "tokenizer.json": 1, "model.safetensors": 2}
    assert hub.sent["model.safetensors"] == 1


def test_a_branch_stays_what_the_cache_has(hub: Hub, environ: dict[str, str], checkpoint: Path) -> None:
    first = Weights(engine(), environ)
    first.bring()
    commit = hub.add(HUB_ID, checkpoint, "beef" * 10)
    again = Weights(engine(), environ)
    again.bring()
    assert again.source == first.source
    pinned = Weights(engine(revision=commit), environ)
    pinned.bring()
    assert Path(pinned.source).name == commit


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": "me/ear"}, "no weights of me/ear@main: the hub has no such repository"),
        ({"revision": "v2"}, "no weights of me/eye@v2: the hub has no revision v2: correct its engine.revision"),
    ],
)
def test_what_the_hub_does_not_have_is_said(environ: dict[str, str], change: dict[str, str], said: str) -> None:
    with pytest.raises(EngineError) as caught:
        Weights(engine(**change), environ).bring()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_gated_weights_need_a_token(
    hub: Hub, environ: dict[str, str], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    hub.add(HUB_ID, checkpoint, is_gated=True)
    with pytest.raises(EngineError, match=rf"gated: no access: accept the licence at {hub.url}/me/eye, make a token"):
        Weights(engine(), environ).bring()
    assert not hub.asked
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    Weights(engine(), environ).bring()
    assert hub.sent["model.safetensors"] == 1


def test_a_hub_that_does_not_answer_and_a_disk_that_is_full(
    hub: Hub, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match=r"http://127\.0\.0\.1:1 does not give it .*the same command goes on"):
        Weights(engine(), environ | {"HF_ENDPOINT": "http://127.0.0.1:1"}).bring()
    monkeypatch.setattr(hub_download, "SPARE_BYTES", 1 << 60)
    with pytest.raises(EngineError, match=r"no space: 0\.0 GB are to be fetched, and .*home/hub has"):
        Weights(engine(), environ).bring()
    assert not hub.asked


def test_what_a_killed_download_left_is_removed_once_it_is_old(environ: dict[str, str]) -> None:
    blobs = Path(environ["HF_HOME"]) / "hub" / "models--me--eye" / "blobs"
    blobs.mkdir(parents=True)
    old, fresh = blobs / "a.1.incomplete", blobs / "a.2.incomplete"
    for path in (old, fresh):
        path.write_text("part")
    os.utime(old, (0, 0))
    Weights(engine(), environ).bring()
    assert not old.exists()
    assert fresh.exists()


def test_a_cache_of_the_engines_own_is_left_to_it(hub: Hub, environ: dict[str, str]) -> None:
    weights = Weights(engine(download_dir="/weights"), environ)
    weights.bring()
    assert (weights.source, hub.num_requests) == (HUB_ID, 0)


def test_a_replica_over_several_nodes_keeps_its_source(hub: Hub, environ: dict[str, str], tmp_path: Path) -> None:
    wide = engine(revision="main", distributed_executor_backend="ray")
    weights = Weights(wide, environ | {CACHE_VARIABLE: str(tmp_path / "nvme")})
    weights.bring()
    assert (weights.source, weights.revision) == (HUB_ID, "main")
    assert hub.sent["model.safetensors"] == 1
    assert not (tmp_path / "nvme").exists()


def test_a_folder_is_copied_by_its_content(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path / "scratch"))
    environ = {CACHE_VARIABLE: "$SCRATCH/weights"}
    plain = Weights(engine(str(checkpoint)), {})
    plain.bring()
    assert plain.source == str(checkpoint)
    copies = []
    for _ in range(2):
        weights = Weights(engine(str(checkpoint)), environ)
        weights.bring()
        copies.append(Path(weights.source))
        assert names(weights.source) == FILES
        (checkpoint / "config.json").write_text('{"model_type": "ear"}')
    assert copies[0].parent == copies[1].parent == tmp_path / "scratch" / "weights"
    assert copies[0] != copies[1]


def test_a_copy_that_was_killed_is_made_anew(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "nvme" / "eye"
    partial = tmp_path / "nvme" / ".eye.partial"
    partial.mkdir(parents=True)
    (partial / "left").write_text("over")
    said: list[str] = []
    copy_folder(checkpoint, ["config.json", "model.safetensors"], target, said.append)
    assert names(str(target)) == {"config.json", "model.safetensors"}
    assert said[-1] == "0.0 of 0.0 GB"
    assert not partial.exists()


def test_a_copy_that_cannot_be_made_says_where(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    environ = {CACHE_VARIABLE: str(tmp_path / "file")}
    with pytest.raises(EngineError, match=r"cannot be copied to cluster\.weights_cache=.*/file .*set it to null"):
        Weights(engine(str(checkpoint)), environ).bring()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to another user")
def test_weights_that_another_user_has_put_there_are_not_loaded(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "nvme" / "eye"
    target.mkdir(parents=True)
    (target / "config.json").write_text("planted")
    os.chown(target / "config.json", 65534, 65534)
    copy = copy_folder(checkpoint, ["config.json"], target, lambda _: None)
    assert copy == copy_folder(checkpoint, ["config.json"], target, lambda _: None) == target.with_name("eye--0")
    assert (copy / "config.json").read_text() == (checkpoint / "config.json").read_text()
    os.chown(copy, 65534, 65534)
    with pytest.raises(OSError, match="hold what another user has put there"):
        copy_folder(checkpoint, ["config.json"], target, lambda _: None)


def test_a_copy_does_not_go_through_a_link(checkpoint: Path, tmp_path: Path) -> None:
    elsewhere, target = tmp_path / "elsewhere", tmp_path / "nvme" / "eye"
    elsewhere.mkdir()
    target.parent.mkdir()
    target.with_name(".eye.partial").symlink_to(elsewhere)
    with pytest.raises(OSError, match="is a link"):
        copy_folder(checkpoint, ["config.json"], target, lambda _: None)
    assert list(elsewhere.iterdir()) == []
