r"""Words of many texts, counted in their bytes: a third of the time that splitting each takes.

>>> count_words(pa.chunked_array([["Both name the lake.", " \n", None, "a\u2003b"]]))
array([ 4,  0, -1,  2])
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_BLANK, _WIDE = 1, 2
_WIDE_BYTES = (0xC2, 0xE1, 0xE2, 0xE3)  # with which all white space beyond ASCII begins, and much that is none
_KINDS = bytes(
    _WIDE if byte in _WIDE_BYTES else _BLANK if byte < 128 and chr(byte).isspace() else 0 for byte in range(256)
)


def count_words(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """(texts,) number of words between white space, as `str.split` finds them; -1 where there is no text."""
    return np.concatenate([np.zeros(0, np.int64), *map(_count, texts.chunks)])  # one by one: they fit into the cache


def _count(texts: pa.StringArray) -> NDArray[np.int64]:
    known = texts.fill_null("") if texts.null_count else texts
    _, offsets, content = known.buffers()
    edges = np.frombuffer(offsets, np.int32)[known.offset : known.offset + len(known) + 1].astype(np.int64)
    said = (content or pa.py_buffer(b"")).slice(edges[0], edges[-1] - edges[0])
    kinds = np.frombuffer(said.to_pybytes().translate(_KINDS), np.uint8)
    edges -= edges[0]
    is_blank = kinds == _BLANK
    begins = ~is_blank
    begins[1:] &= is_blank[:-1]
    firsts = edges[:-1][np.diff(edges) > 0]
    begins[firsts] = ~is_blank[firsts]
    counts = np.diff(np.searchsorted(np.flatnonzero(begins), edges))
    for row in np.unique(np.searchsorted(edges, np.flatnonzero(kinds == _WIDE), "right") - 1).tolist():
        counts[row] = len(known[row].as_py().split())
    return np.where(texts.is_valid().to_numpy(zero_copy_only=False), counts, -1) if texts.null_count else counts
