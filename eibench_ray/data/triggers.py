"""Reference triggers: from a numbered text to a list, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence

_EMPTY_LINE = re.compile(r"\n\s*\n")
_NUMBER = re.compile(r"^\s*\d+\s*[.)]\s*", re.MULTILINE)


def split_triggers(text: str) -> tuple[str, ...]:
    r"""The triggers of a text such as "1. Rain.\n2. A lost bag."; numbers without text are dropped.

    A text without numbers is one trigger per line.
    """
    pieces = _NUMBER.split(text) if _NUMBER.search(text) else text.splitlines()
    return tuple(" ".join(piece.split()) for piece in pieces if piece.strip())


def find_numbered(text: str) -> tuple[str, ...]:
    r"""The numbered triggers of an answer; empty where it has no number.

    What stands before the first number, or after an empty line, is no trigger: models like to say what they do.
    """
    _, *pieces = _NUMBER.split(text.replace("**", ""))
    firsts = (_EMPTY_LINE.split(piece.strip())[0] for piece in pieces)
    return tuple(" ".join(piece.split()) for piece in firsts if piece)


def number_triggers(triggers: Sequence[str]) -> str:
    """The triggers as EIBench writes them: numbered, one per line."""
    return "\n".join(f"{number}. {trigger}" for number, trigger in enumerate(triggers, start=1))
