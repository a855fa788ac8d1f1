"""Fuzz targets: functions over bytes that raise where a promise is broken, and bytes to begin with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eibench_ray.errors import EibenchError

# Between the parts of an input that stands for several files.
MARK = b"\n%%\n"

# JSON at which Python's own reader stops with something else than a JSONDecodeError.
AWKWARD_JSON = (b"[" * 3000, b"9" * 5000, b'"\\ud800"', b"1e999", b"NaN")

Check = Callable[[bytes, Path], None]
Seeds = Callable[[], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Target:
    """One reader under test.

    Attributes:
        check: reads the bytes, with a folder to write in (its files are overwritten by the next input); raises where an
            error is not the project's own, or something read is not what is promised.
        seeds: inputs that are understood, for mutations to begin with.
    """

    name: str
    check: Check
    seeds: Seeds


TARGETS: dict[str, Target] = {}


def target(seeds: Seeds) -> Callable[[Check], Check]:
    """Registers a check under its function's name."""

    def register(check: Check) -> Check:
        TARGETS[check.__name__] = Target(check.__name__, check, seeds)
        return check

    return register


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Lets the project's own errors pass, if each is one paragraph."""
    try:
        yield
    except EibenchError as error:
        check_paragraph(error)


def check_paragraph(error: Exception) -> None:
    """Passes an error whose message is one paragraph."""
    text = str(error)
    assert text.strip(), f"{type(error).__name__} says nothing"
    assert "\n" not in text.strip(), f"{type(error).__name__} is more than one paragraph: {text!r}"


def split(data: bytes, num_parts: int) -> list[bytes]:
    """The parts of an input; those that it lacks are empty."""
    parts = data.split(MARK, num_parts - 1)
    return parts + [b""] * (num_parts - len(parts))


def join(*parts: bytes | str) -> bytes:
    """An input of several parts."""
    return MARK.join(part.encode() if isinstance(part, str) else part for part in parts)


def to_text(data: bytes) -> str:
    """The text in an input, as an engine or a command line may give it: valid Unicode."""
    return data.decode("utf-8", "replace")
