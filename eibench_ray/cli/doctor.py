"""The command `doctor`: whether this machine can run a sweep, and what to do where it cannot."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eibench_ray.cli.checks import (
    GIB,
    KEYS,
    TESTED,
    TORCH_COMPANIONS,
    Check,
    Status,
    check_disk,
    check_gpus,
    check_hub,
    check_key,
    check_memory,
    check_open_files,
    check_package,
    check_python,
    check_ray,
    check_shared_memory,
    check_store,
    check_torch_companions,
    check_vllm,
)

NVIDIA_SMI_TIMEOUT_S = 10.0  # without persistence mode the driver wakes up first
_COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}
_SHARED_MEMORY = Path("/dev/shm")


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    store: Annotated[
        str, typer.Option("--store", help="The store's root: a folder, which need not exist yet, or a bucket's URI.")
    ] = "store",
) -> None:
    """Say whether this machine can run a sweep, and what to do where it cannot. Exits with 1 if a check fails."""
    checks = examine(store, os.environ)
    is_fit = all(check.status is not Status.FAIL for check in checks)
    if json_:
        typer.echo(json.dumps({"ok": is_fit, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        Console().print(to_table(checks))
    raise typer.Exit(0 if is_fit else 1)


def to_table(checks: list[Check]) -> Table:
    """The checks as a table, one line each."""
    table = Table("check", "", "found", "what to do", box=None)
    for check in checks:
        colour = _COLOURS[check.status]
        table.add_row(check.name, f"[{colour}]{check.status}[/]", escape(check.detail), escape(check.remedy))
    return table


def examine(store: str, environ: Mapping[str, str]) -> list[Check]:
    """Every check of this machine. Reads packages' metadata and imports none of them."""
    versions = read_versions()
    shared = shutil.disk_usage(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None
    hub = hub_cache(environ)
    memory = psutil.virtual_memory()
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return [
        check_python(sys.version_info[:3]),
        Check("eibench-ray", Status.OK, versions.get("eibench-ray", "from a source tree")),
        *(check_package(name, versions) for name in ("ray", "torch", "transformers", "hydra-core", "wandb")),
        check_vllm(versions),
        check_torch_companions(versions),
        check_gpus(list_gpus(), versions),
        check_shared_memory(shared.total if shared else None, shared.free if shared else 0),
        check_memory(memory.total, memory.available),
        check_open_files(None if hard_limit == resource.RLIM_INFINITY else hard_limit),
        *examine_store(store),
        check_disk("hugging face cache", hub, free_bytes(hub), wanted=50 * GIB, needed=0),
        check_hub(environ.get("HF_HUB_OFFLINE")),
        *(check_key(name, is_set=bool(environ.get(name))) for name in KEYS),
        check_ray(count_ray_heads(), environ.get("RAY_ADDRESS")),
    ]


def examine_store(root: str) -> list[Check]:
    """Whether a store can be written, and has space."""
    if "://" not in root:
        folder = Path(root)
        disk = check_disk("store disk", folder, free_bytes(folder), wanted=10 * GIB, needed=GIB)
        return [check_store(folder, try_to_write(folder)), disk]
    from eibench_ray.errors import StoreError
    from eibench_ray.store.slices import Store

    try:
        store = Store(root)
        store.storage.check_writable(store.paths.root)
    except StoreError as error:
        return [Check("store", Status.FAIL, str(error))]
    return [Check("store", Status.OK, f"{root} can be written")]


def read_versions() -> dict[str, str]:
    """Versions of the installed packages that are checked, by name."""
    versions = {}
    for name in ("eibench-ray", *TESTED, *TORCH_COMPANIONS):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def list_gpus() -> str | None:
    """One line per GPU: name, memory, driver; None without nvidia-smi, empty where it fails or does not answer."""
    if not (command := shutil.which("nvidia-smi")):
        return None
    query = [command, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True)
    except (subprocess.SubprocessError, OSError):
        return ""
    return done.stdout


def hub_cache(environ: Mapping[str, str]) -> Path:
    """The folder where Hugging Face keeps checkpoints, by its own rules."""
    if folder := environ.get("HF_HUB_CACHE"):
        return Path(folder).expanduser()
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(environ.get("HF_HOME") or f"{cache}/huggingface").expanduser() / "hub"


def nearest_folder(path: Path) -> Path:
    """The path itself, or the nearest of its parents that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if os.access(folder, os.F_OK))


def try_to_write(folder: Path) -> OSError | None:
    """What keeps a file from being written in a folder, or in the one where it would be made; None if nothing does."""
    try:
        with tempfile.TemporaryFile(dir=nearest_folder(folder)):
            return None
    except OSError as error:
        return error


def free_bytes(path: Path) -> int:
    """Bytes that are free on the disk where a path is, or would be."""
    return shutil.disk_usage(nearest_folder(path)).free


def count_ray_heads() -> int:
    """Ray heads that run on this machine."""
    return sum(process.info["name"] == "gcs_server" for process in psutil.process_iter(["name"]))
