"""Slices as versions wrote them that took every reply for an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.store.summary import KEY


def end_otherwise(path: Path, reasons: Mapping[str, str]) -> None:
    """Rewrites a slice as if replies had ended otherwise: by sample id, with which word."""
    table = pq.read_table(path)
    ids, words = table["sample_id"].to_pylist(), table["finish_reason"].to_pylist()
    place = table.schema.get_field_index("finish_reason")
    ended = pa.array([reasons.get(name, word) for name, word in zip(ids, words, strict=True)], pa.string())
    table = table.set_column(place, table.schema.field(place), ended)
    summary = json.loads((table.schema.metadata or {})[KEY])
    del summary["knows_endings"]
    pq.write_table(table.replace_schema_metadata({KEY: json.dumps(summary).encode()}), path)
