"""Measurements of runs, in their store: a small file for each run and engine, and one for each run itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import PurePath
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from eibench_ray.errors import StoreError
from eibench_ray.schedule.measured_engine import MeasuredEngine, MeasuredRun
from eibench_ray.storage.atomic_files import parse_json
from eibench_ray.store.slice_store import Store

log = logging.getLogger(__name__)

# The latest ones: how fast a machine is does not stay as it was.
MOST_RECORDS = 3
RUNS = "runs"  # in the place of an engine's key: the runs' own records

_ENGINE = TypeAdapter(MeasuredEngine)
_RUN = TypeAdapter(MeasuredRun)
_Record = TypeVar("_Record", MeasuredEngine, MeasuredRun)


def write_speeds(store: Store, engines: dict[str, MeasuredEngine], run: MeasuredRun | None) -> None:
    """Keeps what a run has measured, by the engines' keys.

    Raises:
        StoreError: the store does not take it.
    """
    for key, measured in engines.items():
        store.storage.write_json(store.paths.speeds(key) / f"{measured.run}.json", asdict(measured))
    if run is not None:
        store.storage.write_json(store.paths.speeds(RUNS) / f"{run.run}.json", asdict(run))


def read_speeds(store: Store, engines: Iterable[str]) -> dict[str, list[MeasuredEngine]]:
    """The latest measurements of engines, the last one first; of those that no run has measured, none."""
    there = {entry.name for entry in store.storage.list(store.paths.speeds(""))}
    found = {key: _read(store, key, _ENGINE) for key in engines if key in there}
    return {key: records for key, records in found.items() if records}


def read_run_speeds(store: Store) -> list[MeasuredRun]:
    """The latest runs' measurements of themselves, the last one first."""
    return _read(store, RUNS, _RUN)


def _read(store: Store, name: str, kind: TypeAdapter[_Record]) -> list[_Record]:
    folder = store.paths.speeds(name)
    names = sorted((entry.name for entry in store.storage.list(folder) if entry.name.endswith(".json")), reverse=True)
    found = (_read_one(store, folder / name, kind) for name in names[:MOST_RECORDS])
    return [record for record in found if record is not None]


def _read_one(store: Store, path: PurePath, kind: TypeAdapter[_Record]) -> _Record | None:
    """A record; None where it cannot be read: then it is expected as if it had not been measured."""
    try:
        content = store.storage.read(path)
        return None if content is None else kind.validate_python(parse_json(content, store.storage.name(path)))
    except (StoreError, ValidationError) as error:
        log.warning("what a run measured is left aside: %s", " ".join(str(error).split())[:200])
        return None
