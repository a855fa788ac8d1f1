"""Names as names of files and folders: each its own, on every file system, and the same name again where Hive reads it.

Two names never share a path: not `org/m` and `org.m`, nor, where a disk does not tell case apart, `Llama` and `llama`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

MOST_BYTES = 180  # of the 255 that a file's name may have: the rest is for what stands around it
_UNSAFE = re.compile(r"[^A-Za-z0-9_.\- ]")
_SHARED = re.compile(r"[A-Z.]")  # what else is told apart where names would meet
_AT_ENDS = re.compile(r"^[. ]+|[. ]+$")  # hidden, or dropped without a word
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?|__hive_default_partition__|", re.IGNORECASE)
_CUT = "~"  # no name has it otherwise: it is escaped like others


def path_names(keys: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """A path's name for each of these keys, whose parts a dot separates.

    A part is percent-encoded as Hive's readers expect. What is too long, or reserved, is cut and ends in a digest.
    `{("org/m",): "org%2Fm", ("org.m",): "org.m"}`.
    """
    plain = {key: ".".join(_encode(part, _UNSAFE) for part in key) for key in keys}
    met = Counter(name.casefold() for name in plain.values())
    apart = re.compile(f"{_UNSAFE.pattern}|{_SHARED.pattern}")
    return {
        key: _fit(key, name if met[name.casefold()] == 1 else ".".join(_encode(part, apart) for part in key))
        for key, name in plain.items()
    }


def _encode(text: str, unsafe: re.Pattern[str]) -> str:
    return _AT_ENDS.sub(_escape, unsafe.sub(_escape, text))


def _escape(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found.group().encode("utf-8", "surrogatepass"))


def _fit(key: tuple[str, ...], name: str) -> str:
    if len(name) <= MOST_BYTES and not _RESERVED.fullmatch(name):
        return name
    digest = hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    kept = re.sub(r"%.?$", "", name[: MOST_BYTES - len(digest) - 1])
    return f"{kept}{_CUT}{digest}"
