"""Slices: one Parquet file per fixed range of a step's rows, the unit of commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.errors import StoreError
from eibench_ray.records import ABSENT, ABSENT_OUTPUT, Completion, RowErrorKind
from eibench_ray.store.files import read_json, replacing, write_json
from eibench_ray.store.paths import StorePaths

# Columns that join at the end and may be null need no other version: a slice without them is read as having nulls.
SCHEMA_VERSION = 1

SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("request_digest", pa.string(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("error_kind", pa.string()),
        pa.field("error", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("prompt_tokens", pa.int32(), nullable=False),
        pa.field("completion_tokens", pa.int32(), nullable=False),
        pa.field("cached_tokens", pa.int32(), nullable=False),
        pa.field("attempt", pa.int16(), nullable=False),
        pa.field("latency_s", pa.float32(), nullable=False),
        pa.field("finished_at", pa.float64(), nullable=False),
        pa.field("engine", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("input_digest", pa.string(), nullable=False),
        pa.field("output_digest", pa.string(), nullable=False),
        pa.field("cost_usd", pa.float64()),
        pa.field("mean_logprob", pa.float32()),
    ]
)

_FIELDS = tuple(field.name for field in fields(Completion))
_STATE_COLUMNS = ["sample_id", "input_digest", "output_digest", "error_kind", "finished_at"]


@dataclass(frozen=True, slots=True)
class RowState:
    """What resuming needs to know of a committed row."""

    input_digest: str
    output_digest: str
    error_kind: str | None
    is_absent: bool
    is_final: bool
    finished_at: float


_Row = TypeVar("_Row", RowState, Completion)


class Store:
    """The Parquet root. Reading needs only the files; writing is atomic per slice.

    A sample that moved to another slice, because its dataset lost or gained rows before it, leaves its old row behind:
    where slices are read together, the newest row of a sample counts.
    """

    def __init__(self, root: Path) -> None:
        self.paths = StorePaths(root)
        self._slice_rows: dict[str, int] = {}

    def fix_slice_rows(self, step_id: str, slice_rows: int, description: Mapping[str, Any]) -> int:
        """The rows per slice of a step, fixed in its manifest when it first runs.

        Args:
            step_id: the step.
            slice_rows: for a step that is new to the store.
            description: what the step is, for people and for later checks.
        """
        if (known := self.slice_rows(step_id)) is not None:
            return known
        manifest = {"schema_version": SCHEMA_VERSION, "id": step_id, "slice_rows": slice_rows, "step": description}
        write_json(self.paths.manifest(step_id), manifest)
        return slice_rows

    def slice_rows(self, step_id: str) -> int | None:
        """The rows per slice of a step that the store knows; None for one that is new."""
        if step_id in self._slice_rows:
            return self._slice_rows[step_id]
        path = self.paths.manifest(step_id)
        if not path.exists():
            return None
        manifest = read_json(path)
        if manifest.get("schema_version") != SCHEMA_VERSION:
            raise StoreError(
                f"{path} has schema version {manifest.get('schema_version')}, this program reads {SCHEMA_VERSION}: "
                f"use the version that wrote it, or another store.root"
            )
        return self._slice_rows.setdefault(step_id, int(manifest["slice_rows"]))

    def write_slice(self, step_id: str, index: int, rows: Sequence[Completion]) -> None:
        """Commits a slice; one that is there is replaced.

        Raises:
            StoreError: two rows of one sample, or the file cannot be written.
        """
        if len({row.sample_id for row in rows}) != len(rows):
            raise StoreError(f"slice {index} of step {step_id} has two rows for one sample: nothing was written")
        columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in SCHEMA]
        table = pa.Table.from_arrays(columns, schema=SCHEMA)
        with replacing(self.paths.slice(step_id, index)) as temporary:
            # Without checksums a flipped bit in a compressed page comes back as another answer, and nobody notices.
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)

    def read_slice(self, step_id: str, index: int) -> dict[str, Completion]:
        """The committed rows of a slice by sample id; empty where none was committed."""
        table = _read(self.paths.slice(step_id, index), list(_FIELDS))
        if table is None:
            return {}
        columns = [table[name].to_pylist() for name in _FIELDS]
        return dict(zip(columns[0], map(Completion, *columns), strict=True))

    def read_rows(self, step_id: str, start: int, stop: int) -> dict[str, Completion]:
        """The committed rows of the slices that a range of dataset rows touches, by sample id."""
        found: dict[str, Completion] = {}
        for index in self.slices_of(step_id, start, stop):
            found = _newest(found, self.read_slice(step_id, index))
        return found

    def read_states(self, step_id: str, start: int, stop: int) -> dict[str, RowState]:
        """What resuming needs of the rows in a range of dataset rows, by sample id; reads the narrow columns only."""
        found: dict[str, RowState] = {}
        for index in self.slices_of(step_id, start, stop):
            table = _read(self.paths.slice(step_id, index), _STATE_COLUMNS)
            if table is not None:
                found = _newest(found, dict(_states(table)))
        return found

    def read_unanswered(self, step_id: str, index: int) -> dict[str, str]:
        """The samples without an answer in a committed slice, with the kind of the error, or `absent`."""
        table = _read(self.paths.slice(step_id, index), ["sample_id", "error_kind", "output_digest"])
        if table is None:
            return {}
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        return {sample_id: kind or ABSENT for sample_id, kind, said in rows if kind or said == ABSENT_OUTPUT}

    def read_cost(self, step_id: str) -> float:
        """What all committed rows of a step cost, in US dollars, those that no run asks any more included."""
        tables = (_read(path, ["cost_usd"]) for path in self.paths.slices(step_id))
        costs: list[float | None] = [cost for table in tables if table for cost in table["cost_usd"].to_pylist()]
        return sum(cost for cost in costs if cost)

    def slices_of(self, step_id: str, start: int, stop: int) -> Iterable[int]:
        """The slices of a step that a range of dataset rows touches."""
        size = self.slice_rows(step_id)
        return () if size is None or stop <= start else range(start // size, (stop - 1) // size + 1)


def _read(path: Path, columns: list[str]) -> pa.Table | None:
    """Columns of a slice's file; None where there is no file."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return _with_nulls(file.read(columns, use_threads=False), columns)
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{path} cannot be read ({reason}): move it away, and its rows are asked again") from None


def _with_nulls(table: pa.Table, columns: Iterable[str]) -> pa.Table:
    """The table with all of the columns; what its file does not have yet is null."""
    for name in columns:
        if name not in table.column_names:
            table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), SCHEMA.field(name).type))
    return table


def _states(table: pa.Table) -> Iterable[tuple[str, RowState]]:
    columns = (table.column(name).to_pylist() for name in _STATE_COLUMNS)
    for sample_id, input_digest, output_digest, error_kind, finished_at in zip(*columns, strict=True):
        is_final = error_kind is None or not RowErrorKind(error_kind).is_transient
        is_absent = output_digest == ABSENT_OUTPUT
        yield sample_id, RowState(input_digest, output_digest, error_kind, is_absent, is_final, finished_at)


def _newest(found: dict[str, _Row], more: dict[str, _Row]) -> dict[str, _Row]:
    """The rows of both, the newer one of a sample that is in both."""
    if not found:
        return more
    for sample_id, row in more.items():
        if sample_id not in found or row.finished_at >= found[sample_id].finished_at:
            found[sample_id] = row
    return found
