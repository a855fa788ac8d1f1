"""Bounds on what a Parquet file may unpack to: kilobytes can say that they are gigabytes, and Arrow believes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eibench_ray.errors import DataError

# Texts shrink to a tenth, flags to a hundredth, pictures not at all.
_MOST_SHRUNK = 100
_MOST_SUSPECT_BYTES = 64 << 20
# Rows held in memory at once; with pictures of 100 KB, 6 MB.
_BATCH_ROWS = 64
_BATCH_BYTES = 256 << 20
_MOST_ITEMS_PER_ROW = 10_000


def require_bounded(metadata: Any, path: object) -> None:
    """Nothing, unless a column of the file would unpack to far more than any data does.

    Args:
        metadata: the file's footer, as pyarrow reads it.
        path: the file, for messages.

    Raises:
        DataError: which column, and its two sizes.
    """
    for group, chunk in _chunks(metadata):
        large, small = chunk.total_uncompressed_size, max(1, chunk.total_compressed_size)
        # Each value of a dictionary may be repeated without a byte more.
        repeated = large * chunk.num_values if chunk.has_dictionary_page else large
        num_rows = metadata.row_group(group).num_rows
        if chunk.num_values > max(1, num_rows) * _MOST_ITEMS_PER_ROW:
            raise DataError(
                f"{path}: column {chunk.path_in_schema} has {chunk.num_values:,} items in {num_rows:,} rows: it is "
                f"damaged, or no table of samples"
            )
        if large > _MOST_SHRUNK * small and (large > _MOST_SUSPECT_BYTES or repeated > 64 * _MOST_SUSPECT_BYTES):
            raise DataError(
                f"{path}: column {chunk.path_in_schema} has {small:,} bytes that unpack to {large:,}: it is damaged, "
                f"or made to fill the memory"
            )


def batch_rows(metadata: Any) -> int:
    """How many rows can be read at once: fewer where each may be as large as its column's dictionary."""
    largest = max(
        (chunk.total_uncompressed_size for _, chunk in _chunks(metadata) if chunk.has_dictionary_page), default=1
    )
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, largest)))


def _chunks(metadata: Any) -> Iterator[tuple[int, Any]]:
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        # A damaged footer may say that a group has fewer, and pyarrow reads beyond them; reading it is an error.
        for column in range(min(metadata.num_columns, row_group.num_columns)):
            yield group, row_group.column(column)
