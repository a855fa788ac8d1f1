"""Turns at compiling: one process first, then all others at once, and none waits for one that died."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from eibench_ray.engines.vllm.compile_turn import compile_turn

SPAWN = multiprocessing.get_context("spawn")


def take_turn(folder: Path, key: str, says: Connection) -> None:
    with compile_turn(folder, key):
        says.send("begun")
        says.recv()
    says.send("done")


def start(folder: Path, key: str = "llama") -> tuple[Connection, int]:
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=take_turn, args=(folder, key, there), daemon=True)
    process.start()
    assert process.pid is not None
    return here, process.pid


def finish(one: Connection) -> None:
    one.send("go on")
    assert one.recv() == "done"


def test_others_wait_for_the_first_and_then_go_at_the_same_time(tmp_path: Path) -> None:
    first, _ = start(tmp_path)
    assert first.recv() == "begun"
    others = [start(tmp_path)[0] for _ in range(2)]
    stranger, _ = start(tmp_path, "qwen")
    assert stranger.recv() == "begun"  # by now the others have had the time to begin, too
    assert not any(one.poll(0.2) for one in others)
    finish(first)
    assert [one.recv() for one in others] == ["begun", "begun"]
    for one in (*others, stranger):
        finish(one)


def test_a_process_that_dies_gives_its_turn_to_the_next(tmp_path: Path) -> None:
    first, pid = start(tmp_path)
    assert first.recv() == "begun"
    second, _ = start(tmp_path)
    os.kill(pid, signal.SIGKILL)
    assert second.recv() == "begun"
    third, _ = start(tmp_path)
    assert not third.poll(0.2)
    finish(second)
    assert third.recv() == "begun"
    finish(third)


def test_a_turn_that_fails_says_of_nothing_that_it_is_compiled(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no memory"), compile_turn(tmp_path, "llama"):
        raise RuntimeError("no memory")
    assert not list(tmp_path.glob("*.compiled"))
    with compile_turn(tmp_path, "llama"):
        pass
    assert [path.name for path in tmp_path.glob("*.compiled")] == ["llama.compiled"]
