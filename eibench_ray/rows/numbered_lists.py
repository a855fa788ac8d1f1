"""Numbered lists in texts: where an item begins, and which of its lines belong to it. Linear in the text's length.

`1. a`, `1) a`, `(1) a`, `1: a`, `1 - a`, `**1.** a`, `- 1. a`, `1.a` and full-width digits begin an item at the start
of a line, up to 999 items. Not one: `2.5 years` (a decimal), `1990. It rained` (a year), `5. May 2020` where item 5 is
not due, a number that jumps by ten and more, and numbers that stand deeper than their list (its sub-items). Where a
line holds several items (`1) a 2) b`), those count that are due and written like the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_DIGITS = r"(?<!\d)(?P<number>\d{1,3})"
_ENDS = r"[.):\uff0e\uff09\uff1a\u3001]"
# A line's mark. After its end no digit may follow ("2.5 years"), and behind a dash there is a blank ("3-year-old").
_LINE_MARK = re.compile(
    rf"(?P<lead>[\s>#*\u2022\u00b7-]*)(?P<open>[(\uff08]?){_DIGITS}(?:(?P<end>{_ENDS})(?!\d)|\s*(?P<dash>[-\u2013\u2014])\s(?!\s*\d))"
)
_INLINE_MARK = re.compile(rf"(?<=[\s,;])(?P<open>[(\uff08]?){_DIGITS}(?P<end>{_ENDS})(?!\d)(?=\s*\S)")
_DATE = re.compile(
    r"\s*(?:jan|feb|mar|m\u00e4r|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-z\u00e4]{0,6}\b\.?,?\s+\d{4}\b",
    re.I,
)
_MOST_SKIPPED = 9
_SENTENCE_ENDS = ".!?;,:"


@dataclass(slots=True)
class NumberedItem:
    """One item of a list."""

    number: int
    style: str
    indent: int  # columns before its mark
    lines: list[str] = field(default_factory=list)  # its lines as written, the first without its mark


@dataclass(frozen=True, slots=True)
class NumberedList:
    """A text that holds a numbered list."""

    preamble: tuple[str, ...]  # the lines before its first item
    items: tuple[NumberedItem, ...]  # with text or without


def read_numbered(text: str) -> NumberedList | None:
    r"""The numbered list in a text; None where it has none. Asterisks of bold text are left out.

    Example: "They are:\n1. rain\n   all day\n2. a bag" has the preamble "They are:" and two items, the first with two
    lines.
    """
    preamble, items = _read_lines(text.replace("**", "").splitlines())
    if not items and preamble:
        preamble, items = _read_single_line(preamble)
    if not items:
        return None
    return NumberedList(tuple(preamble), tuple(_split_items(items)))


def _read_lines(lines: Sequence[str]) -> tuple[list[str], list[NumberedItem]]:
    """Splits lines into the text before the first mark at the start of a line, and the items from there on."""
    preamble: list[str] = []
    items: list[NumberedItem] = []
    nested: int | None = None  # the indent of the sub-items that are being read
    for line in lines:
        mark = _LINE_MARK.match(line)
        indent = indent_of(line)
        if mark and items:
            if nested is not None and indent >= nested:
                mark = None
            elif _is_nested(items, mark, indent):
                nested, mark = indent, None
        if mark and _begins_item(items, mark, line, is_first_line=not any(map(str.strip, preamble))):
            nested = None
            items.append(NumberedItem(int(mark["number"]), _style(mark), indent, [line[mark.end() :]]))
        elif items:
            items[-1].lines.append(line)
        else:
            preamble.append(line)
    return preamble, items


def _is_nested(items: Sequence[NumberedItem], mark: re.Match[str], indent: int) -> bool:
    """Whether a mark that stands deeper than its list begins a list of its own."""
    return indent >= items[-1].indent + 2 and int(mark["number"]) != items[-1].number + 1


def _begins_item(items: Sequence[NumberedItem], mark: re.Match[str], line: str, *, is_first_line: bool) -> bool:
    number = int(mark["number"])
    due = items[-1].number + 1 if items else 1
    if number == due:
        return True
    if mark["dash"] or _DATE.match(line, mark.end()):
        return False
    return (not items and is_first_line) or number <= due + _MOST_SKIPPED


def _read_single_line(lines: list[str]) -> tuple[list[str], list[NumberedItem]]:
    """A list that begins within a line: "Two reasons: 1) rain 2) a bag"."""
    for position, line in enumerate(lines):
        marks = list(_INLINE_MARK.finditer(line))
        for place, mark in enumerate(marks):
            if int(mark["number"]) != 1:
                continue
            goes_on = any(int(later["number"]) == 2 and _style(later) == _style(mark) for later in marks[place + 1 :])
            if goes_on or line[: mark.start()].rstrip().endswith(":"):
                rest = [line[mark.end() :], *lines[position + 1 :]]
                return [*lines[:position], line[: mark.start()]], [NumberedItem(1, _style(mark), indent_of(line), rest)]
            break  # a later 1 on the line would need a 2 as well
    return lines, []


def _split_items(items: Sequence[NumberedItem]) -> Iterator[NumberedItem]:
    """The items, those of one line apart."""
    pairs = list(pairwise(items))
    one_per_line = any(later.number == earlier.number + 1 for earlier, later in pairs)
    following = [later.number for _, later in pairs]
    for item, upcoming in zip(items, [*following, None], strict=True):
        if upcoming == item.number + 1:  # the list goes on in the next line
            yield item
        else:
            yield from _split_item(item, upcoming, needs_sentence=one_per_line)


def _split_item(item: NumberedItem, upcoming: int | None, *, needs_sentence: bool) -> Iterator[NumberedItem]:
    """An item, and those that begin within its lines.

    Args:
        item: as its mark at the start of a line opened it.
        upcoming: the number that the next line's mark has; None: there is none.
        needs_sentence: whether a number with a full stop must follow the end of a sentence: the list has an item per
            line, so "she came 3. Then" is no item 3.
    """
    current = NumberedItem(item.number, item.style, item.indent)
    for line in item.lines:
        start = 0
        for mark in _INLINE_MARK.finditer(line):
            number = int(mark["number"])
            before = line[: mark.start()].rstrip()[-1:] if needs_sentence and mark["end"] == "." else _SENTENCE_ENDS
            if number != current.number + 1 or number == upcoming or _style(mark) != item.style:
                continue
            if not before or before[-1] not in _SENTENCE_ENDS or _DATE.match(line, mark.end()):
                continue
            current.lines.append(line[start : mark.start()])
            yield current
            current, start = NumberedItem(number, item.style, item.indent), mark.end()
        current.lines.append(line[start:])
    yield current


def _style(mark: re.Match[str]) -> str:
    return f"{mark['open']}1{mark['end']}"


def indent_of(line: str) -> int:
    """The columns before a line's text."""
    line = line.expandtabs(4)
    return len(line) - len(line.lstrip())
