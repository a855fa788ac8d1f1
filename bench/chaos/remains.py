"""Processes of a chaos run, and what is left when nothing should be: orphans, reservations."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

import psutil

# The variables that all processes of this chaos run inherit, and those of a replica.
CHAOS_ID = "EIBENCH_CHAOS"
REPLICA = "EIBENCH_REPLICA"
ENGINE_CORE = "VLLM::EngineCor"  # as the kernel cuts it
_GONE_TIMEOUT_S = 20.0

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


def processes_of(chaos_id: str) -> Iterator[tuple[psutil.Process, Mapping[str, str]]]:
    """All processes of a chaos run but this one, with their environment."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get(CHAOS_ID) == chaos_id and process.status() != psutil.STATUS_ZOMBIE:
                yield process, environment
        except (psutil.Error, OSError):
            continue


def replicas_of(chaos_id: str) -> list[psutil.Process]:
    """The processes of replicas, without what they have started."""
    found = []
    for process, environment in processes_of(chaos_id):
        try:
            if REPLICA in environment and process.cmdline()[0].startswith("ray::Replica"):
                found.append(process)
        except (psutil.Error, IndexError):
            continue
    return sorted(found, key=lambda process: process.pid)


def engine_cores_of(chaos_id: str) -> list[psutil.Process]:
    """The processes in which vLLM computes, where they are not the replica's own."""
    found = []
    for process, _ in processes_of(chaos_id):
        try:
            if process.name() == ENGINE_CORE:
                found.append(process)
        except psutil.Error:
            continue
    return sorted(found, key=lambda process: process.pid)


def find_orphans(chaos_id: str, *, is_cluster_up: bool) -> list[str]:
    """What runs on without an owner, after a while: what belongs to a replica, and without a cluster everything."""
    deadline = time.monotonic() + _GONE_TIMEOUT_S
    while True:
        left = [
            process for process, environment in processes_of(chaos_id) if not is_cluster_up or REPLICA in environment
        ]
        if not left or time.monotonic() > deadline:
            return [_describe(process) for process in left]
        time.sleep(0.5)


def end_all(chaos_id: str) -> None:
    """Kills whatever is left of a chaos run."""
    for process, _ in processes_of(chaos_id):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


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
        return f"{process.pid} {' '.join(process.cmdline())[:80]} (parent {process.ppid()})"
    except psutil.Error:
        return str(process.pid)
