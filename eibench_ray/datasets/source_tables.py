"""Tables of rows from outside: text files, Parquet, and what the `datasets` package reads."""

from __future__ import annotations

from eibench_ray.datasets.hub_tables import read_hf
from eibench_ray.datasets.parquet_tables import read_parquet
from eibench_ray.datasets.table_rows import Row, Table
from eibench_ray.datasets.text_tables import read_jsonl

__all__ = ["Row", "Table", "read_hf", "read_jsonl", "read_parquet"]
