"""Reference triggers: from a numbered text to a list, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from eibench_ray.rows.numbered_lists import NumberedList, indent_of, read_numbered

_BULLET = re.compile(r"\s*[-*\u2022\u00b7](?=\s|$)")


def split_triggers(text: str) -> tuple[str, ...]:
    r"""The triggers of a text such as "1. Rain.\n2. A lost bag."; numbers without text are dropped.

    What stands before the first number is no trigger, unless the list begins with its second one. A text without
    numbers is one trigger per line, without a bullet before it and without a line that introduces them ("They are:").
    """
    found = read_numbered(text)
    if found is None:
        return tuple(_split_lines(text.splitlines()))
    return tuple(_texts([*_first_without_number(found), *(" ".join(item.lines) for item in found.items)]))


def find_numbered(text: str) -> tuple[str, ...]:
    r"""The numbered triggers of an answer; empty where it has no number.

    What stands before the first number, or after an empty line, is no trigger: models like to say what they do.
    """
    found = read_numbered(text)
    if found is None:
        return ()
    return tuple(_texts([*_first_without_number(found), *(_first_paragraph(item.lines) for item in found.items)]))


def number_triggers(triggers: Sequence[str]) -> str:
    """The triggers as EIBench writes them: numbered, one per line."""
    return "\n".join(f"{number}. {trigger}" for number, trigger in enumerate(triggers, start=1))


def _first_without_number(found: NumberedList) -> list[str]:
    """The text before a list that begins with "2.", which is its first trigger."""
    text = " ".join(found.preamble).strip()
    is_first = found.items[0].number == 2 and text and text[-1] != ":" and found.preamble[-1].strip()
    return [text] if is_first else []


def _first_paragraph(lines: Iterable[str]) -> str:
    """The lines up to the first empty one behind them."""
    rest = iter(lines)
    first = next((line for line in rest if line.strip()), "")
    return " ".join([first, *takewhile(str.strip, rest)])


def _split_lines(lines: Sequence[str]) -> Iterator[str]:
    """A trigger per line; in a list of bullets, deeper lines belong to the one above."""
    lines = [line for line in lines if line.strip()]
    if len(lines) > 1 and lines[0].rstrip().endswith(":"):
        lines = lines[1:]
    has_bullets = any(_BULLET.match(line) for line in lines)
    current, indent = "", 0
    for line in lines:
        deeper = indent_of(line) > indent
        if has_bullets and current and deeper:
            current += f" {line}"
            continue
        yield from _texts([current])
        bullet = _BULLET.match(line)
        current, indent = line[bullet.end() :] if bullet else line, indent_of(line)
    yield from _texts([current])


def _texts(texts: Iterable[str]) -> Iterator[str]:
    return (" ".join(text.split()) for text in texts if text.strip())
