"""Tables of rows from outside: text files, Parquet, and what the `datasets` package reads."""

from __future__ import annotations

from eibench_ray.data.hub_tables import read_hf
from eibench_ray.data.parquet_tables import read_parquet
from eibench_ray.data.table import Row, Table
from eibench_ray.data.text_tables import read_jsonl

__all__ = ["Row", "Table", "read_hf", "read_jsonl", "read_parquet"]
