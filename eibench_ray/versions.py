"""Installed packages, and commands that install more. Packages' metadata is read, and none is imported."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

__version__ = "0.1.0"

_OWN = "eibench-ray"


def installed_version(distribution: str) -> str | None:
    """The version of an installed package; None where it is not there."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def installed_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Those of several; packages that are not there are left out."""
    found = {name: installed_version(name) for name in distributions}
    return {name: known for name, known in found.items() if known is not None}


def install_command(*packages: str) -> str:
    """The command that installs packages into the very Python that runs this: environments of uv's have no pip."""
    return f"{_installer('install')} {shlex.join(packages)}"


def uninstall_command(*packages: str) -> str:
    """The command that removes packages from the very Python that runs this."""
    return f"{_installer('uninstall')} {shlex.join(packages)}"


def extra_command(extra: str) -> str:
    """The command that installs this package again with one of its extras, from where it came."""
    source = _source()
    if source is None:
        return install_command(f"{_OWN}[{extra}]")
    folder, is_editable = source
    return install_command(*(["-e"] if is_editable else []), f"{folder}[{extra}]")


def _installer(verb: str) -> str:
    python = shlex.quote(sys.executable)
    if _has_pip():
        return f"{python} -m pip {verb}"
    own = Path(sys.prefix) / "uv" / "bin" / "uv"  # where `make setup` puts it
    if (uv := shutil.which("uv") or (str(own) if own.is_file() else None)) is not None:
        return f"{shlex.quote(uv)} pip {verb} --python {python}"
    return f"{python} -m ensurepip && {python} -m pip {verb}"


def _has_pip() -> bool:
    # Not by importlib.util.find_spec: setuptools answers that one for pip, and cannot be imported in this process then.
    return PathFinder.find_spec("pip") is not None


def _source() -> tuple[str, bool] | None:
    """The folder that this package was installed from, and whether it is used in place; None: from an index."""
    try:
        told = json.loads(distribution(_OWN).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return None
    url = str(told.get("url", ""))
    return (url.removeprefix("file://"), bool(told["dir_info"].get("editable"))) if "dir_info" in told else None
