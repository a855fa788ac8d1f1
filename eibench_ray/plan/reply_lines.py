"""The lines of an answer, such as the questions that a model was asked to list.

Where some line is numbered or bulleted (`1.`, `2)`, `(3)`, `-`, `*`, `•`), such lines count, without their mark, and no
other: what introduces a list or follows it is left out. A line that was wrapped belongs to the one above: what stands
deeper than its mark, and what stands between two numbers. Where no line is marked, every line counts but one that ends
with a colon. Empty lines and marks with nothing behind them never count, and the asterisks of bold text are left out.
What a numbered line is: `eibench_ray.rows.numbered_lists`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from eibench_ray.rows.numbered_lists import NumberedItem, indent_of, read_numbered

_BULLET = re.compile(r"\s*[-*\u2022](?=\s|$)")


@lru_cache(maxsize=4096)  # each item of a fan-out, and what reads them, splits the same answers
def split_lines(text: str) -> tuple[str, ...]:
    """The lines that count, in their order."""
    lines = [line for line in (line.replace("**", "") for line in text.splitlines()) if line.strip()]
    found = read_numbered(text)
    if found is None and not any(_BULLET.match(line) for line in lines):
        return tuple(line.strip() for line in lines if line.strip()[-1] != ":")
    if found is None:
        pieces = list(_bulleted(lines))
    elif len(found.items) == 1:
        pieces = [*_bulleted(found.preamble), *_only_item(found.items[0])]
    else:
        *earlier, last = found.items
        pieces = [*_bulleted(found.preamble), *map(_paragraph, earlier), _with_deeper(last.lines, last.indent)]
    return tuple(piece for piece in pieces if piece)


def _paragraph(item: NumberedItem) -> str:
    """An item that another one follows: its lines up to an empty one."""
    return _with_deeper(item.lines, -1)


def _with_deeper(lines: Sequence[str], indent: int) -> str:
    """The first line that says something, and those below that stand deeper than `indent`, up to an empty one."""
    kept: list[str] = []
    for line in lines:
        if not line.strip() and kept:
            break
        if kept and indent_of(line) <= indent:
            break
        if line.strip():
            kept.append(line.strip())
    return " ".join(kept)


def _only_item(item: NumberedItem) -> Iterator[str]:
    """The only numbered line, and the bullets beside it."""
    yield _with_deeper(item.lines, item.indent)
    yield from _bulleted([line for line in item.lines[1:] if indent_of(line) <= item.indent])


def _bulleted(lines: Sequence[str]) -> Iterator[str]:
    """Each line with a bullet, and what stands deeper below it."""
    starts = [number for number, line in enumerate(lines) if _BULLET.match(line)]
    for start, stop in pairwise([*starts, len(lines)]):
        mark = _BULLET.match(lines[start])
        assert mark is not None
        yield _with_deeper([lines[start][mark.end() :], *lines[start + 1 : stop]], indent_of(lines[start]))
