"""What is installed beside this package. Packages' metadata is read, and none is imported."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


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
