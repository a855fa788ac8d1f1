"""Processes of a chaos run, and what is left when nothing should be: orphans, reservations."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

# The variable that all processes of a chaos run inherit, and that of a replica.
CHAOS_ID = "EIBENCH_CHAOS"
REPLICA = "EIBENCH_REPLICA"
# vLLM's own processes. By giving them these names, setproctitle overwrites their environment: nobody can read any more
# whose they are. They are known by the folder in which they work, which is the command's, and no other process's.
VLLM = "VLLM::"
ENGINE_CORE = "VLLM::EngineCor"  # as the kernel cuts it, which is not all that psutil knows
WORKER = "VLLM::Worker"
# Ray's agents try for a minute to report the death of a raylet to a head that died with it, and a worker that had just
# been started tries for as long to reach its raylet (Ray 2.60).
_GONE_TIMEOUT_S = 90.0

_COUNT_GROUPS = """
import json, sys, time
import ray
from ray.util import placement_group_table
ray.init(address=sys.argv[1], namespace="eibench_ray", log_to_driver=False, logging_level=50)
deadline = time.monotonic() + 20
while True:
    left = [group["name"] for group in placement_group_table().values() if group["state"] != "REMOVED"]
    if not left or time.monotonic() > deadline:
        break
    time.sleep(0.5)
print(json.dumps(left))
"""


@dataclass(frozen=True, slots=True)
class Family:
    """The processes of a chaos run.

    Attributes:
        chaos_id: what they have in their environment.
        folder: where the command, and what its replicas start, work.
    """

    chaos_id: str
    folder: Path

    def members(self) -> Iterator[tuple[psutil.Process, bool]]:
        """All of them but this process, and whether each belongs to a replica."""
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.name().startswith(VLLM):
                    if Path(process.cwd()) == self.folder:
                        yield process, True
                elif (environment := process.environ()).get(CHAOS_ID) == self.chaos_id:
                    yield process, REPLICA in environment
            except (psutil.Error, OSError):
                continue

    def replicas(self) -> list[psutil.Process]:
        """The processes of replicas, without what they have started."""
        return self._named(lambda process: process.cmdline()[0].startswith("ray::Replica"))

    def loaded_replicas(self) -> list[psutil.Process]:
        """Those of them that do not load any more: Ray names a process by what it does."""
        return self._named(lambda process: process.cmdline()[0] in ("ray::Replica", "ray::Replica.run_task"))

    def engine_cores(self) -> list[psutil.Process]:
        """The processes in which vLLM computes, where they are not the replica's own."""
        return self._named(lambda process: process.name().startswith(ENGINE_CORE))

    def workers(self) -> list[psutil.Process]:
        """The processes that hold parts of a model, where they are not the EngineCore's own."""
        return self._named(lambda process: process.name().startswith(WORKER))

    def end(self) -> None:
        """Kills whatever is left."""
        for process, _ in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _named(self, is_it: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
        found = []
        for process, is_replicas in self.members():
            with contextlib.suppress(psutil.Error, IndexError):
                if is_replicas and is_it(process):
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)


def find_orphans(family: Family, *, is_cluster_up: bool) -> list[str]:
    """Processes that run on without an owner, after a while: a replica's, and without a cluster all.

    It is killed, so that it is counted once.
    """
    deadline = time.monotonic() + _GONE_TIMEOUT_S
    while True:
        left = [process for process, is_replicas in family.members() if is_replicas or not is_cluster_up]
        if not left:
            return []
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    words = [_describe(process) for process in left]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return words


def find_groups(address: str, environment: Mapping[str, str]) -> list[str]:
    """Names of the placement groups that a cluster still holds, after a while."""
    command = [sys.executable, "-c", _COUNT_GROUPS, address]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        return [f"unknown: {done.stderr.strip()[-300:]}"]
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline()).strip()[:160]} (parent {process.ppid()})"
    except psutil.Error:
        return str(process.pid)
