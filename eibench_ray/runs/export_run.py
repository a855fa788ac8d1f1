"""Export: the joined view of a run, for Polars and the like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.errors import StoreError
from eibench_ray.plan.slices import cut
from eibench_ray.report.cell_folders import KEYS, CellFolders
from eibench_ray.runs.cell_scorer import COLUMN_ROWS
from eibench_ray.runs.joined_columns import CellTables, joined_schema
from eibench_ray.runs.sample_columns import SampleColumns, find_columns
from eibench_ray.storage.atomic_files import replacing

if TYPE_CHECKING:
    from eibench_ray.datasets.dataset import Dataset
    from eibench_ray.plan.graph import Cell, DatasetSpec, Plan, Source
    from eibench_ray.rows.sample import MetadataValue
    from eibench_ray.runs.results import Results
    from eibench_ray.runs.run_record import RunManifest
    from eibench_ray.store.slice_store import Store

GROUP_ROWS = 16_384


def export_rows(manifest: RunManifest, store: Store, out: Path) -> dict[str, Any]:
    """Writes rows/model=/.../rows.parquet, and returns counts of what was written.

    Raises:
        StoreError: `out` holds something else, or cannot be written.
    """
    from eibench_ray.runs.results import Results

    if out.exists() and not out.is_dir():
        raise StoreError(f"{out} is a file: name a folder with --out")
    plan, results = manifest.plan, Results(manifest.plan, store)
    num_rows = 0
    ended = Counter({"answer_truncated": 0, "answer_empty": 0, "reply_truncated": 0})
    partial: list[str] = []
    folders = CellFolders(plan.cells)
    columns = _columns(plan, results)
    for cell in plan.cells:
        tables = CellTables(plan, results, cell, columns)
        _write_parquet(tables.read(), joined_schema(columns), folders.of(out / "rows", cell, *KEYS))
        ended["answer_truncated"] += tables.num_truncated
        ended["answer_empty"] += tables.num_empty
        ended["reply_truncated"] += tables.num_replies_truncated
        num_rows += tables.num_rows
        if tables.is_partial:
            partial.append(cell.name)
    num_blocked = sum(cell.blocked is not None for cell in plan.cells)
    return {
        "cells": len(plan.cells),
        "cells_blocked": num_blocked,
        "cells_partial": partial,
        "cells_made_up": [cell.name for cell in plan.cells if "made_up" in _sources(plan, cell)],
        "cells_recorded": [cell.name for cell in plan.cells if "recorded" in _sources(plan, cell)],
        "rows": num_rows,
        **ended,
    }


def _sources(plan: Plan, cell: Cell) -> tuple[Source, Source]:
    return plan.answer_source(cell), plan.judge_source(cell)


def joined_tables(plan: Plan, store: Store) -> Iterator[pa.Table]:
    """Yields the joined rows of all cells as `export_rows` writes them."""
    from eibench_ray.runs.results import Results

    results = Results(plan, store)
    columns = _columns(plan, results)
    for cell in plan.cells:
        yield from CellTables(plan, results, cell, columns).read()


def _columns(plan: Plan, results: Results) -> SampleColumns:
    """The columns of all samples of a run: readers want the same ones in each file."""
    return find_columns(
        chain.from_iterable(_words(results.dataset(name), spec) for name, spec in plan.datasets.items())
    )


def _words(
    dataset: Dataset, spec: DatasetSpec
) -> Iterator[tuple[Iterable[str], Iterable[Mapping[str, MetadataValue]]]]:
    """Yields the names of inputs, and the metadata, of all samples that a plan asks of a dataset."""
    is_whole = spec.rows == range(dataset.num_rows)
    for part in cut(spec.name, spec.rows, COLUMN_ROWS):
        samples = dataset.table(part)
        # The card names the inputs of all samples, in this order; else each is read.
        yield dataset.inputs if is_whole else chain.from_iterable(samples.inputs), samples.distinct_metadata[0]


def _write_parquet(tables: Iterable[pa.Table], schema: pa.Schema, folder: Path) -> None:
    with (
        replacing(folder / "rows.parquet") as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        group: list[pa.Table] = []
        for table in tables:
            group.append(table)
            if sum(map(len, group)) >= GROUP_ROWS:
                writer.write_table(pa.concat_tables(group))
                group = []
        if group:
            writer.write_table(pa.concat_tables(group))
