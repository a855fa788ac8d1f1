"""Digests: the names of what is content-addressed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

# One encoder for all: json.dumps makes a new one per call when it is given options.
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def digest(value: Any, size: int = 16) -> str:
    """Hex digest of a JSON-able value; equal values have equal digests, whatever the order of their keys."""
    return hashlib.blake2b(_encode(value).encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def derive_seed(base: int, *parts: str | int) -> int:
    """A seed in [0, 2**31) that follows from a base and what it is for."""
    return int(digest([base, *parts], size=4), 16) >> 1


def digest_input(row_digest: str, outputs: Sequence[str]) -> str:
    """Digest of what a row is made from."""
    # Joined, not as JSON: half the time, on what every row of a run, of a resume and of a score needs.
    return hashlib.blake2b(":".join((row_digest, *outputs)).encode(), digest_size=8).hexdigest()
