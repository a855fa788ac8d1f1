"""The lines of an answer, such as the questions that a model was asked to list.

Where some line is numbered or bulleted (`1.`, `2)`, `(3)`, `-`, `*`, `•`), such lines count, without their mark, and no
other: what introduces a list or follows it is left out. Where none is, every line counts but one that ends with a
colon. Empty lines and marks with nothing behind them never count, and the asterisks of bold text are left out.
"""

from __future__ import annotations

import re
from functools import lru_cache

# "2.5 metres" is no second item, "1.Why?" is a first one.
_MARKED = re.compile(r"(?:\(?\d+[.):](?!\d)|[-*•](?=\s|$))\s*(.*)")


@lru_cache(maxsize=4096)  # each item of a fan-out, and what reads them, splits the same answers
def split_lines(text: str) -> tuple[str, ...]:
    """The lines that count, in their order."""
    lines = [line for line in (line.replace("**", "").strip() for line in text.splitlines()) if line]
    marked = [found.group(1).strip() for line in lines if (found := _MARKED.fullmatch(line))]
    return tuple(line for line in marked if line) if marked else tuple(line for line in lines if line[-1] != ":")
