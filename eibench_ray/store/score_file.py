"""Files of what cells' scores were. What one says counts only while all that it was made from is as it was.

A file is a digest of the rest, then Parquet: a column per figure, a row per sample, and in its metadata what the scores
were made from and what else is known of the cell. A file of something else, or a damaged one, is as good as none: the
scores are made again from the rows, and the file is replaced.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eibench_ray.errors import StoreError
from eibench_ray.store.slice_format import DAMAGE
from eibench_ray.store.slice_store import Store

log = logging.getLogger(__name__)

_DIGEST_BYTES = 16
_MADE_FROM, _FACTS = b"made_from", b"facts"


@dataclass(frozen=True, slots=True)
class StoredScores:
    """Columns of a cell's samples, all of one length, and facts about it as plain JSON values."""

    columns: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any]


def read_scores(store: Store, cell_key: str, made_from: str) -> StoredScores | None:
    """The stored scores of a cell; None where there are none that were made from the same.

    Args:
        store: the store.
        cell_key: the cell.
        made_from: digest of all that its scores are made from today.
    """
    try:
        content = store.storage.read(store.paths.scores(cell_key))
        return None if content is None else _decode(content, made_from)
    except StoreError as error:
        log.debug("the scores of cell %s are made again: %s", cell_key, error)
        return None


def write_scores(store: Store, cell_key: str, made_from: str, scores: StoredScores) -> bool:
    """Keeps the scores of a cell, whole or not at all. Whether it could: else they are made again next time."""
    metadata = {_MADE_FROM: made_from.encode(), _FACTS: json.dumps(scores.facts).encode()}
    table = pa.table({name: pa.array(column) for name, column in scores.columns.items()}, metadata=metadata)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    try:
        store.storage.write(store.paths.scores(cell_key), _digest(content) + content)
    except StoreError as error:
        log.debug("the scores of cell %s are not kept: %s", cell_key, error)
        return False
    return True


def is_intact(content: bytes) -> bool:
    """Whether a file of scores is as it was written."""
    return content[:_DIGEST_BYTES] == _digest(content[_DIGEST_BYTES:])


def _decode(content: bytes, made_from: str) -> StoredScores | None:
    if not is_intact(content):
        return None
    try:
        # Not by read_table, which loads pyarrow.dataset first.
        with pq.ParquetFile(pa.BufferReader(memoryview(content)[_DIGEST_BYTES:])) as file:
            table = file.read(use_threads=False)
        metadata = table.schema.metadata or {}
        if metadata.get(_MADE_FROM) != made_from.encode():
            return None
        columns = {name: table[name].to_numpy() for name in table.column_names}
        return StoredScores(columns, json.loads(metadata[_FACTS]))
    except (*DAMAGE, KeyError):
        return None


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
