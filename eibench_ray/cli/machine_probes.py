"""Reads this machine and probes its surroundings for the doctor; imports nothing heavy."""

from __future__ import annotations

import re
import resource
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from importlib import metadata, util
from pathlib import Path

import psutil
import yaml
from packaging.requirements import Requirement

from eibench_ray.cli.machine_checks import TESTED, TORCH_COMPANIONS
from eibench_ray.storage.disk_space import nearest_folder
from eibench_ray.versions import installed_version, installed_versions

COMMAND_TIMEOUT_S = 10.0  # without persistence mode a GPU's driver wakes up first
HUB_TIMEOUT_S = 5.0
_PIDS_OF_CONTAINER = Path("/sys/fs/cgroup/pids.max")


def read_versions() -> dict[str, str]:
    """Versions of the installed packages that are checked, by name."""
    return installed_versions(("eibench-ray", *TESTED, *TORCH_COMPANIONS))


def find_misfits(distribution: str) -> list[str]:
    """Packages whose installed versions another package does not accept; those that are not installed do not count."""
    try:
        wanted = [Requirement(text) for text in metadata.requires(distribution) or ()]
    except metadata.PackageNotFoundError:
        return []
    misfits = []
    for one in wanted:
        applies = one.marker is None or one.marker.evaluate({"extra": ""})
        version = installed_version(one.name) if applies else None
        if version and not one.specifier.contains(version, prereleases=True):
            misfits.append(f"{one.name} {version} (wants {one.specifier})")
    return misfits


def cuda_of_torch() -> str | None:
    """The CUDA that the installed torch was built with, from its files; None for the CPU, or without torch."""
    spec = util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text()
    except OSError:
        return None
    found = re.search(r"^cuda\b.*?=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return found[1] if found else None


def list_gpus() -> str | None:
    """One line per GPU: name, memory, driver; None without nvidia-smi, empty where it fails or does not answer."""
    return ask_command("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")


def ask_command(name: str, *arguments: str) -> str | None:
    """Output of a command; None where there is no such command, empty where it fails or does not answer."""
    if not (command := shutil.which(name)):
        return None
    try:
        done = subprocess.run(
            [command, *arguments], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=True
        )
    except (subprocess.SubprocessError, OSError):
        return ""
    return done.stdout


def limit_of(kind: int, *, hard: bool) -> int | None:
    """A limit of this process; None is no limit."""
    value = resource.getrlimit(kind)[int(hard)]
    return None if value == resource.RLIM_INFINITY else value


def limit_of_processes(container: Path = _PIDS_OF_CONTAINER) -> int | None:
    """Processes and threads that the user, or the container, may have; None is no limit."""
    limits = [limit_of(resource.RLIMIT_NPROC, hard=False)]
    try:
        said = container.read_text().strip()
        limits.append(int(said) if said.isdigit() else None)
    except OSError:
        pass
    return min((limit for limit in limits if limit is not None), default=None)


def try_to_write(folder: Path) -> OSError | None:
    """The error that keeps a file from being written in a folder, or in the one where it would be made; else None."""
    try:
        with tempfile.TemporaryFile(dir=nearest_folder(folder)):
            return None
    except OSError as error:
        return error


def count_ray_heads() -> int:
    """Ray heads that run on this machine."""
    return sum(process.info["name"] == "gcs_server" for process in psutil.process_iter(["name"]))


def find_holder(port: int) -> str | None:
    """The process that listens on a port of this machine, in words; None where none does."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            pass
        else:
            return None
    try:
        found = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN)
        pid = next((each.pid for each in found if each.laddr and each.laddr[1] == port), None)
        return f"{psutil.Process(pid).name()} (process {pid})" if pid else "another user's process"
    except psutil.Error:
        return "another user's process"


def ask_hub(endpoint: str) -> str | None:
    """The reason why the hub does not answer, through the environment's proxies; None where it does."""
    try:
        with urllib.request.urlopen(f"{endpoint.rstrip('/')}/api/models?limit=1", timeout=HUB_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:  # it is there, whatever it says
        return None if error.code < 500 else f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


def keys_of_options(folder: Path) -> dict[str, list[str]]:
    """The variables that models' endpoints take their keys from, and whose they are."""
    keys: dict[str, list[str]] = {}
    for path in sorted((folder / "model").glob("[!_]*.yaml")):
        option = yaml.safe_load(path.read_text(encoding="utf-8"))
        engine = option.get("engine") if isinstance(option, dict) else None
        if isinstance(engine, dict) and (name := engine.get("api_key_env")):
            keys.setdefault(str(name), []).append(path.stem)
    return keys
