"""Summary of a slice in its Parquet footer, so that a resume need not read its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, get_type_hints

from eibench_ray.rows.completion import Completion

if TYPE_CHECKING:
    import pyarrow as pa

KEY = b"eibench_ray"


@dataclass(frozen=True, slots=True)
class Summary:
    """Facts about a slice that are known without its rows.

    Attributes:
        made_from: digest of what its first `num_rows` rows were made from, where they are all that the slice was asked
            for, in the dataset's order; None where they are not.
        num_errors, num_absent: those of them that are errors, and those about which there was nothing to ask.
        num_truncated, num_empty: those that a limit of tokens cut off, and those without a word; of all of its rows
            where `made_from` is None.
    """

    cost_usd: float | None  # what all of its rows cost; None where none has a price
    made_from: str | None = None
    outputs: str = ""  # digest of what later steps read from those rows
    num_rows: int = 0
    num_errors: int = 0
    num_absent: int = 0
    is_final: bool = False  # whether none of them is asked again, whatever `retry` says
    num_truncated: int = 0
    num_empty: int = 0


_TYPES = get_type_hints(Summary)


def summarise(
    rows: Sequence[Completion], output_digests: Sequence[str], num_rows: int, made_from: str | None
) -> Summary:
    """The summary of a slice's rows, of which the first `num_rows` were made from what `made_from` says."""
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    cost_usd = sum(costs) if costs else None
    asked = rows if made_from is None else rows[:num_rows]
    num_truncated, num_empty = sum(row.is_truncated for row in asked), sum(row.is_empty for row in asked)
    if made_from is None:
        return Summary(cost_usd, num_truncated=num_truncated, num_empty=num_empty)
    return Summary(
        cost_usd=cost_usd,
        made_from=made_from,
        outputs=digest_column(output_digests[:num_rows]),
        num_rows=len(asked),
        num_errors=sum(row.error_kind is not None for row in asked),
        num_absent=sum(row.is_absent for row in asked),
        num_truncated=num_truncated,
        num_empty=num_empty,
        is_final=not any(row.is_asked_again("quarantined") for row in asked),
    )


def pack(summary: Summary) -> Mapping[bytes, bytes]:
    """The footer's metadata."""
    return {KEY: json.dumps(asdict(summary)).encode()}


def find(end: bytes) -> Summary | None:
    """The summary in the end of a slice's file; None where Parquet has to be asked.

    The footer is not decoded, which would take 100 microseconds instead of 5. What looks like a summary and is none is
    of no effect: its `made_from` is not what a slice is made from.
    """
    footer = len(end) - 8 - int.from_bytes(end[-8:-4], "little")
    if end[-4:] != b"PAR1" or (key := end.rfind(KEY, max(0, footer))) < 0:
        return None
    start = end.find(b"{", key)
    return unpack({KEY: end[start : end.find(b"}", start) + 1]})


def unpack(metadata: Mapping[bytes, bytes] | None) -> Summary | None:
    """The summary in a footer's metadata; None where there is none."""
    try:
        summary = Summary(**json.loads((metadata or {})[KEY]))
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return summary if all(isinstance(getattr(summary, name), kind) for name, kind in _TYPES.items()) else None


def digest_column(digests: Iterable[str]) -> str:
    """The digest of digests, which all have the same length."""
    return hashlib.blake2b("".join(digests).encode(), digest_size=16).hexdigest()


def digest_arrays(digests: Iterable[pa.StringArray]) -> str:
    """The same of columns of them, one after the other: their bytes are the texts in a row."""
    found = hashlib.blake2b(digest_size=16)
    for chunk in digests:
        if len(chunk):
            _, offsets, content = chunk.buffers()
            edges = memoryview(offsets).cast("i")
            first, last = edges[chunk.offset], edges[chunk.offset + len(chunk)]
            found.update(content.slice(first, last - first))
    return found.hexdigest()


def digest_sources(rows: str, outputs: Iterable[str]) -> str:
    """Digest of what a slice is made from.

    Args:
        rows: `digest_column` of the dataset's row digests.
        outputs: `digest_column` of the output digests of the same rows of each step that it reads, in the order of its
            inputs.
    """
    return digest_column([rows, *outputs])
