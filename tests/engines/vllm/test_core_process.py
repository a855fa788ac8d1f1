"""vLLM's processes on their way from the fork server: whether they come from it, and what they have of the replica."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from needed import need

from eibench_ray.engines.vllm import core_process
from eibench_ray.engines.vllm.vllm_engine import threads_for_loading
from eibench_ray.engines.vllm.vllm_section import VllmSection

need("torch", "the engine needs eibench-ray[cpu] or [gpu]")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fork server that imports nothing ahead, and ends with the test."""
    monkeypatch.setattr(core_process, "_MODULES", [])
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def section(**args: Any) -> VllmSection:
    return VllmSection.model_validate({"kind": "vllm", "source": "me/m", "max_model_len": 512, "args": args})


@pytest.mark.parametrize(
    ("device", "threads", "method", "args", "is_forked"),
    [
        ("cpu", "1", "", {}, True),
        ("cpu", "2", "", {}, False),
        ("cuda", "8", "", {}, True),
        ("cuda", "1", "", {"distributed_executor_backend": "mp"}, True),
        ("cuda", "1", "", {"distributed_executor_backend": "ray"}, False),
        ("cuda", "1", "", {"numa_bind": True}, False),
        ("cuda", "1", "spawn", {}, False),
    ],
)
def test_processes_that_need_a_start_of_their_own_are_spawned(
    device: Any, threads: str, method: str, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, is_forked: bool
) -> None:
    started: list[str] = []
    monkeypatch.setattr(forkserver, "ensure_running", lambda: started.append("server"))
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", method)
    assert core_process.begin_imports(section(**args), device) is is_forked
    assert started == ["server"] * is_forked


def tell(file: Path) -> None:
    """Writes down variables, threads and group of the process that it runs in."""
    import torch

    told = {"colour": os.environ.get("COLOUR"), "gone": "GONE" in os.environ, "threads": torch.get_num_threads()}
    file.write_text(json.dumps(told | {"group": os.getpgrp()}))


@pytest.mark.usefixtures("server")
def test_a_forked_process_has_the_variables_and_threads_of_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GONE", "1")
    assert core_process.begin_imports(section(), "cpu")
    monkeypatch.delenv("GONE")
    monkeypatch.setenv("COLOUR", "blue")
    process = core_process.CoreContext().Process(target=tell, name="told", kwargs={"file": tmp_path / "told"})
    own = torch.get_num_threads()
    torch.set_num_threads(own + 1)
    try:
        process.start()
    finally:
        torch.set_num_threads(own)
    process.join()
    told = json.loads((tmp_path / "told").read_text())
    # The guard of a replica kills its group.
    assert told == {"colour": "blue", "gone": False, "threads": own + 1, "group": os.getpgrp()}


@pytest.mark.usefixtures("server")
def test_a_look_at_a_class_is_taken_in_a_forked_process(monkeypatch: pytest.MonkeyPatch) -> None:
    need("vllm", "the engine needs eibench-ray[cpu] or [gpu]")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert core_process.begin_imports(section(), "cpu")
    own = os.getpid()
    assert core_process.look_in_fork(lambda: (os.getpid() != own, os.getpgrp()), lambda _: None) == (True, os.getpgrp())


def test_a_look_that_fails_in_a_forked_process_is_taken_as_vllm_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cloudpickle", reason="vLLM brings it along")
    failed = SimpleNamespace(start=lambda: None, join=lambda: None, exitcode=1)
    monkeypatch.setattr(core_process.CoreContext, "Process", lambda *_, **__: failed)
    assert core_process.look_in_fork(lambda: "forked", lambda look: f"apart, not {look()}") == "apart, not forked"


@pytest.mark.parametrize(("device", "configured", "is_changed"), [("cuda", {}, True), ("cpu", {}, False)])
def test_what_loads_onto_gpus_may_use_all_cores(
    device: Any, configured: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, is_changed: bool
) -> None:
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    own = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threads_for_loading(device, configured):
            assert ("OMP_NUM_THREADS" in os.environ) is not is_changed
            assert torch.get_num_threads() == (len(os.sched_getaffinity(0)) if is_changed else 1)
        assert (os.environ["OMP_NUM_THREADS"], torch.get_num_threads()) == ("1", 1)
    finally:
        torch.set_num_threads(own)
