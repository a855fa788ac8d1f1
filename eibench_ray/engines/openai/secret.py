"""Reads a key, and keeps it out of everything that is said."""

from __future__ import annotations

import os
import re
from itertools import groupby

from eibench_ray.errors import EngineError

HIDDEN = "[key]"

# An Authorization header, and a key as servers echo it when they half hide it: sk-ab****yz.
_BEARER = re.compile(r"(bearer\s+)[^\s\"',}\]]+", re.IGNORECASE)
_LIKE_A_KEY = re.compile(r"[\w.\-]*\*{2,}[\w.\-*]*|\bsk-[\w.\-]{6,}")
# Shorter pieces of a key are words like others ("sk-proj"), and shorter keys are no secrets ("EMPTY").
_PIECE_CHARS = 8
_MAX_CHARS = 400
_READ_CHARS = 4000  # an error page may be long


def read_key(variable: str, option: str) -> str:
    """The key in an environment variable, without blanks around it.

    Args:
        variable: its name.
        option: where a person has named it, for errors.

    Raises:
        EngineError: it is not set, or what it holds is no key.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise EngineError(
            f"the variable {variable} holds no key ({option} names it): export it where the cluster is started, so "
            f"that every node has it"
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise EngineError(f"what the variable {variable} holds is no key: it has blanks or characters beyond ASCII")
    return key


class Secret:
    """A key that is never shown."""

    def __init__(self, value: str | None) -> None:
        self._value = value or ""
        num_pieces = len(self._value) - _PIECE_CHARS + 1
        self._pieces = {self._value[start : start + _PIECE_CHARS] for start in range(num_pieces)}

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def hide(self, text: str) -> str:
        """A text without the key; for answers, which may hold anything else."""
        return text.replace(self._value, HIDDEN) if self._pieces else text

    def scrub(self, message: str) -> str:
        """What a server says, in one bounded line, without the key, pieces of it, and what looks like one."""
        line = _BEARER.sub(rf"\1{HIDDEN}", self._hide_pieces(" ".join(message[:_READ_CHARS].split())))
        line = _LIKE_A_KEY.sub(HIDDEN, line)
        return line if len(line) <= _MAX_CHARS else f"{line[:_MAX_CHARS]}..."

    def _hide_pieces(self, line: str) -> str:
        is_hidden = [False] * len(line)
        for piece in self._pieces:
            start = line.find(piece)
            while start >= 0:
                is_hidden[start : start + _PIECE_CHARS] = [True] * _PIECE_CHARS
                start = line.find(piece, start + 1)
        runs = groupby(zip(line, is_hidden, strict=True), key=lambda pair: pair[1])
        return "".join(HIDDEN if hidden else "".join(char for char, _ in run) for hidden, run in runs)
