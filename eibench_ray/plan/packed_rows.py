"""Numbers of rows as a short text, for a plan that is kept: half of a million rows take some 260 KB. Pure.

>>> list(unpack(pack([3, 4, 1000])))
[3, 4, 1000]
"""

from __future__ import annotations

import base64
import sys
import zlib
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise


def pack(rows: Sequence[int]) -> str:
    """The text for some row numbers, which ascend."""
    gaps = _little_endian(array("I", (after - before for before, after in pairwise((0, *rows)))))
    return base64.b64encode(zlib.compress(gaps.tobytes(), 9)).decode()


@lru_cache(maxsize=16)
def unpack(text: str) -> Sequence[int]:
    """The row numbers in a text; four bytes each.

    Raises:
        ValueError: it is none that `pack` made.
    """
    try:
        gaps = array("I", zlib.decompress(base64.b64decode(text, validate=True)))
    except zlib.error as error:
        raise ValueError(f"no row numbers: {error}") from error
    return array("I", accumulate(_little_endian(gaps)))


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
