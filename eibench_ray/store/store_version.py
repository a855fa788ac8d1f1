"""The version of a store's layout, of what its files mean and of how ids are made: one number, in `store.json`."""

from __future__ import annotations

from typing import Any

from eibench_ray.errors import StoreError
from eibench_ray.storage.atomic_files import parse_json
from eibench_ray.storage.interface import Storage
from eibench_ray.store.store_paths import StorePaths

# 1: stores without a `store.json`. Raise it when a file's meaning or the ids of steps change; tests/goldens say when.
SCHEMA_VERSION = 2


def check_version(storage: Storage, paths: StorePaths) -> bool:
    """Whether the store says that it is of this version; False: it is new, and says nothing.

    Raises:
        StoreError: it is of another version, or has steps and does not say of which version.
    """
    where = storage.name(paths.root)
    if (content := storage.read(paths.version)) is None:
        if not storage.list(paths.steps):
            return False
        content = storage.read(paths.version)  # another run may have made the store at this very moment
    if content is None:
        raise StoreError(
            f"the store {where} has steps and no {paths.version.name}: an earlier version of eibench-ray made it. This "
            f"one gives steps other ids and reads stores of schema version {SCHEMA_VERSION}: set store.root to another "
            f"folder, or go on with the version that made it"
        )
    known = parse_json(content, storage.name(paths.version))
    version = known.get("schema_version") if isinstance(known, dict) else None
    if version == SCHEMA_VERSION:
        return True
    is_newer = isinstance(version, int) and version > SCHEMA_VERSION
    remedy = "update eibench-ray" if is_newer else "go on with the version that made it"
    raise StoreError(
        f"the store {where} has schema version {version!r} ({paths.version.name}), this eibench-ray reads "
        f"{SCHEMA_VERSION}: set store.root to another folder, or {remedy}"
    )


def write_version(storage: Storage, paths: StorePaths) -> None:
    """Says of a new store which version it is of."""
    storage.write_json(paths.version, {"schema_version": SCHEMA_VERSION})


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
