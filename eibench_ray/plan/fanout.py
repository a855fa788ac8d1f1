"""Calls that are asked several times: once per text, or once per line of an earlier answer.

Each time is a step of its own, so rows, slices and scheduling need not know. A text is part of what its step is; a line
is known when the answer is: a row whose answer has no such line is absent, it is never asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eibench_ray.plan.reply_lines import split_lines

ITEM = "item"  # the word under which a prompt reads what its step is about


@dataclass(frozen=True, slots=True)
class Item:
    """The subject of one step of a fan-out: a text of the setting, or a line of an earlier answer."""

    text: str | None = None  # the text; None for a line
    source: str | None = None  # the word under which the step reads the answer; None for a text
    line: int = 0  # which of its lines, from 1

    def read(self, answers: Mapping[str, str]) -> str | None:
        """Its text; None where the answer has no such line."""
        if self.source is None:
            return self.text
        lines = split_lines(answers[self.source])
        return lines[self.line - 1] if self.line <= len(lines) else None


@dataclass(frozen=True, slots=True)
class ItemAnswer:
    """An element of the list that a later prompt reads."""

    item: str
    answer: str


def part_word(name: str, number: int) -> str:
    """The word of one step of a fan-out, from 1: no prompt can read it, only the list of them all."""
    return f"{name}[{number}]"


def words_of(name: str, items: tuple[Item, ...]) -> set[str]:
    """The words of all that is needed to read a fan-out as a list."""
    steps = {part_word(name, number) for number in range(1, len(items) + 1)}
    return steps | {item.source for item in items if item.source is not None}


def read_parts(name: str, items: tuple[Item, ...], answers: Mapping[str, str]) -> list[ItemAnswer]:
    """The items of a fan-out with the answers about them; those that are absent are left out."""
    said = [(item.read(answers), answers.get(part_word(name, number))) for number, item in enumerate(items, start=1)]
    return [ItemAnswer(item, answer) for item, answer in said if item is not None and answer is not None]
