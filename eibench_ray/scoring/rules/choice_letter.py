# ruff: noqa: RUF001 - these marks are what models write
"""The letter that a reply to a multiple-choice question chooses, as models write it: "The answer is (B)", "**B**"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from eibench_ray.scoring.rules.normal_text import normal_text

# What a letter that stands alone may be where the options are not known; I, the pronoun, is not among them.
_LIKELY = "ABCDEFGHJ"
# Bounded and possessive: a reply of marks alone takes no longer than one of words.
_MARKS = r"[\s*_`\"'“”‘’(\[{$]{0,20}+(?:\\(?:boxed|text|textbf|mathrm|mathbf)\{[\s*(]{0,4}+){0,3}+"
# A capital letter that is no part of a word; a small one only where no word can follow.
_LETTER = r"(?:(?:(?!I\s+[a-z])([A-Z]))(?![\w'’/&+])|([a-z])(?=[)\]}*.,;:\"'”’`$]|\s*(?:\n|\Z)))"
_NAMED = rf"(?i:(?:the\s+)?(?:option|choice|letter)\s+{_MARKS})?"
_ANSWERS = r"(?:(?i:\banswer\b[^.:;=\n]{0,60}?(?:\b(?:is|was|be)\b\s*:?|[:=–—-]))|\A\s*A:\s|(?=\\boxed\{))"
_CHOOSES = r"(?i:\b(?:(?:option|choice|letter|one)\s+(?:is|was)\b\s*:?|choose|choosing|select|pick)\b)"
# The stronger one first: who says "to measure it you would select option A" has not answered by it.
_STATED = tuple(re.compile(f"{words}{_MARKS}{_NAMED}{_LETTER}") for words in (_ANSWERS, _CHOOSES))
_STATED_TEXT = re.compile(f"{_ANSWERS}{_MARKS}")
_LINE = re.compile(rf"{_MARKS}(?i:(?:option|choice)\s+)?{_MARKS}([A-Za-z])[\s.:,;!*_`\"'“”‘’)\]}}$]{{0,20}}")
_START = re.compile(r"[\s*_`\"'“”‘’]{0,20}+(?:[(\[]\s*([A-Za-z])\s*[)\]]|([A-Z])\s*[.):\]])")
# Not an article, a pronoun, an initial or a part of a name such as "A/B" or "C++".
_LONE = re.compile(r"(?<![\w'’/&+.-])(?![AI]\s+(?!or\b|and\b|is\b)[a-z])([A-Z])(?![\w'’/&+-]|\.\s?\w)")
# Characters after a statement in which an option's text is looked for.
_TEXT_CHARS = 2000


def find_letter(reply: str, options: Sequence[str] = (), *, first: bool = False) -> str | None:
    """The capital letter that a reply chooses; None where it chooses none, or more than one.

    Looked for in this order: what it states ("the answer is B"; the last statement, as models correct themselves), a
    last or first line that is a letter, an option's letter at its beginning ("B. Paris"), an option's text, and the
    only capital letter that stands alone.

    Args:
        reply: any text.
        options: texts of the options in the order of their letters; empty: not known.
        first: take the first statement instead of the last one.
    """
    letters = ascii_uppercase[: len(options)] or _LIKELY
    which = 0 if first else -1
    texts = [normal_text(option) for option in options]
    ends = [found.end() for found in _STATED_TEXT.finditer(reply)] if options else []
    said = reply[ends[which] : ends[which] + _TEXT_CHARS] if ends else ""
    said_text = _option_in(normal_text(said), texts, at_start=True)
    for statement in _STATED:
        if stated := statement.findall(reply):
            letter = "".join(stated[which]).upper()
            # "The answer is A dog" names the option that is a dog.
            return said_text if letter == "A" and said_text else letter
    if said_text:
        return said_text
    lines = [line for line in reply.splitlines() if line.strip()]
    for line in lines[-1:] + lines[:1]:
        if (found := _LINE.fullmatch(line)) and found[1].upper() in letters:
            return found[1].upper()
    starts = [(found[1] or found[2]).upper() if (found := _START.match(line)) else None for line in lines]
    if starts and starts[0] and starts[0] in letters and set(starts) <= {starts[0], None}:
        return starts[0]
    if named := _option_in(normal_text(reply), texts):
        return named
    lone = set(_LONE.findall(reply)) & set(letters)
    return lone.pop() if len(lone) == 1 else None


def _option_in(text: str, options: Sequence[str], *, at_start: bool = False) -> str | None:
    """The letter of the only option whose text stands in another text, or at its start.

    An option that is a part of another one which stands there does not count: York, where New York is meant.
    """
    spaced = f" {text} "
    named = [number for number, option in enumerate(options) if option and _is_in(f" {option} ", spaced, at_start)]
    longest = [
        number
        for number in named
        if not any(
            f" {options[number]} " in f" {options[other]} " for other in named if options[other] != options[number]
        )
    ]
    return ascii_uppercase[longest[0]] if len(longest) == 1 else None


def _is_in(option: str, text: str, at_start: bool) -> bool:
    return text.startswith(option) if at_start else option in text
