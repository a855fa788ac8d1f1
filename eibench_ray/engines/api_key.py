"""Reads a key, and keeps it out of everything that is said."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable
from itertools import groupby
from urllib.parse import quote

from eibench_ray.errors import EngineError
from eibench_ray.visible_text import in_line

HIDDEN = "[key]"

# An Authorization header, and a key as servers echo it when they half hide it: sk-ab****yz.
_BEARER = re.compile(r"(bearer\s+)[^\s\"',}\]]+", re.IGNORECASE)
# It begins where a word does: else each place in a long word would be tried as its beginning.
_LIKE_A_KEY = re.compile(r"(?<![\w.\-])[\w.\-]*+\*{2,}[\w.\-*]*|\bsk-[\w.\-]{6,}")
# Shorter pieces of a key are words like others ("sk-proj"), and shorter keys are no secrets ("EMPTY").
_PIECE_CHARS = 8
_MAX_CHARS = 400
_URL_SAFE = str.maketrans("+/", "-_")
_READ_CHARS = 4000  # an error page may be long


def read_key(variable: str, option: str) -> str:
    """The key in an environment variable, without blanks around it.

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


def _writings(key: str) -> dict[int, set[str]]:
    """A key's encodings, by the length of a piece that gives as much of it away as `_PIECE_CHARS` of its own."""
    data = key.encode()
    in_base64 = set()
    for before in range(3):  # what stands before it ("user:key") moves the borders of its sextets
        packed = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        # Without the sextets that also hold bits of what stands around it.
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        in_base64 |= {packed[first:last], packed[first:last].translate(_URL_SAFE)}
    in_hex = data.hex()
    percent = "".join(f"%{byte:02X}" for byte in data)
    return {
        _PIECE_CHARS: {key, key[::-1], quote(key, safe="")},
        _PIECE_CHARS * 4 // 3: in_base64,
        _PIECE_CHARS * 2: {in_hex, in_hex.upper()},
        _PIECE_CHARS * 3: {percent, percent.lower()},
    }


def _pieces(texts: Iterable[str], size: int) -> set[str]:
    return {text[start : start + size] for text in texts for start in range(len(text) - size + 1)}


class Secret:
    """A key that is never shown."""

    def __init__(self, value: str | None) -> None:
        self._value = value or ""
        # Shorter ones are no secrets, in any writing.
        is_secret = len(self._value) >= _PIECE_CHARS
        self._writings = _writings(self._value) if is_secret else {}
        self._pieces = {size: _pieces(texts, size) for size, texts in self._writings.items()}

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def hide(self, text: str) -> str:
        """A text without the key, however it is written; for answers, which may hold anything else."""
        for texts in self._writings.values():
            for written in texts:
                text = text.replace(written, HIDDEN)
        return text

    def scrub(self, message: str) -> str:
        """A server's message in one bounded line, without the key, pieces of it, and what looks like one.

        Control characters, which could act on the terminal where it is shown, are shown as what they are.
        """
        line = self._hide_pieces(" ".join(message[:_READ_CHARS].split()))
        line = _BEARER.sub(rf"\1{HIDDEN}", in_line(line))
        line = _LIKE_A_KEY.sub(HIDDEN, line)
        return line if len(line) <= _MAX_CHARS else f"{line[:_MAX_CHARS]}..."

    def _hide_pieces(self, line: str) -> str:
        is_hidden = [False] * len(line)
        for size, pieces in self._pieces.items():
            for start in range(len(line) - size + 1):
                if line[start : start + size] in pieces:
                    is_hidden[start : start + size] = [True] * size
        runs = groupby(zip(line, is_hidden, strict=True), key=lambda pair: pair[1])
        return "".join(HIDDEN if hidden else "".join(char for char, _ in run) for hidden, run in runs)
