"""A step's manifest: the version of what lies in its folder, and how its rows are cut into slices."""

from __future__ import annotations

from typing import Any

from eibench_ray.errors import StoreError
from eibench_ray.store.store_version import SCHEMA_VERSION


def read_manifest(manifest: Any, where: str) -> int:
    """The rows per slice that a step's manifest fixes.

    Raises:
        StoreError: another version wrote it, or it is none.
    """
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != SCHEMA_VERSION:
        is_newer = isinstance(version, int) and version > SCHEMA_VERSION
        remedy = "update this program" if is_newer else "use the version that wrote it"
        raise StoreError(
            f"{where} has schema version {version}, this program reads {SCHEMA_VERSION}: {remedy}, or name another "
            f"store.root"
        )
    slice_rows = manifest.get("slice_rows")
    if not isinstance(slice_rows, int) or slice_rows < 1:
        raise StoreError(f"{where} says {slice_rows!r} rows per slice: restore it, or move the step's folder away")
    return slice_rows
