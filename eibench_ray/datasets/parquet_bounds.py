"""Bounds on what a Parquet file may unpack to: kilobytes can say that they are gigabytes, and Arrow believes them.

Only the sums of row groups are looked at: pyarrow ends the whole process where a damaged footer lacks what it says of a
column.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from eibench_ray.errors import DataError

# Texts shrink to a tenth, flags to a hundredth, pictures not at all.
_MOST_SHRUNK = 100
_MOST_CANDIDATE_BYTES = 64 << 20
# Each value of a dictionary may be repeated in all rows without a byte more.
_MOST_REPEATED_BYTES = 4 << 30
# Rows held in memory at once; with pictures of 100 KB, 6 MB.
_BATCH_ROWS = 64
_BATCH_BYTES = 256 << 20
# Items of the lists in one cell. As Python's objects, 200 million of them (1.1 KB in a file) take 10 GB.
MOST_ITEMS = 1_000_000
_LISTS = (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray, pa.ListViewArray, pa.LargeListViewArray)


def require_bounded(metadata: Any, num_bytes: int, path: object) -> None:
    """Nothing, unless the file would unpack to far more than any data does.

    Raises:
        DataError: which row group, and its two sizes.
    """
    for number, large, num_rows in _groups(metadata):
        if large <= _MOST_SHRUNK * num_bytes:
            continue
        if large > _MOST_CANDIDATE_BYTES or large * num_rows > _MOST_REPEATED_BYTES:
            raise DataError(
                f"{path} has {num_bytes:,} bytes, and its row group {number} would unpack to {large:,} for "
                f"{num_rows:,} rows: it is damaged, or made to fill the memory"
            )


def batch_rows(metadata: Any) -> int:
    """Number of rows to read at once: fewer where each may be as large as its row group says it is."""
    largest = max((large for _, large, _ in _groups(metadata)), default=1)
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, largest)))


def count_items(cells: pa.Array) -> int:
    """Number of items in the lists of some cells, nested lists included."""
    if isinstance(cells, pa.MapArray):  # is a list to Python, and cannot be flattened
        return int(cells.offsets[-1].as_py() - cells.offsets[0].as_py())
    if isinstance(cells, _LISTS):
        items = cells.flatten()
        return len(items) + count_items(items)
    if isinstance(cells, pa.StructArray):
        return sum(count_items(cells.field(number)) for number in range(cells.type.num_fields))
    return 0


def _groups(metadata: Any) -> list[tuple[int, int, int]]:
    """Number, unpacked bytes and rows of each row group."""
    groups = ((number, metadata.row_group(number)) for number in range(metadata.num_row_groups))
    return [(number, int(group.total_byte_size), int(group.num_rows)) for number, group in groups]
