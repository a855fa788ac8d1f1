"""Reads a table's cell as a text, a number, a list, or nothing; refuses what has no single meaning, with the reason.

Examples: 101.0 is "101", Decimal("1.50") is "1.50", b"abc" is "abc", ["sad"] is "sad". An object, true, infinity, a
number that a float cannot hold exactly and bytes that are no text are refused: what they were to say cannot be known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, time
from decimal import Decimal
from uuid import UUID

from eibench_ray.rows.sample import MetadataValue, TargetValue
from eibench_ray.visible_text import quote

_MOST_EXACT = 2**53  # beyond, a float holds every second integer at best


class ValueRefusedError(ValueError):
    """A cell that has no single meaning; the message says what it is."""


def is_missing(value: object) -> bool:
    """Whether a cell holds nothing: null, or the NaN that stands for it in tables made with pandas."""
    return value is None or (isinstance(value, float | Decimal) and value != value)


def to_text(value: object) -> str:
    """The text that one value is.

    Raises:
        ValueRefusedError: it has no single meaning as a text.
    """
    match value:
        case str():
            return _check_characters(value)
        case bool():
            raise ValueRefusedError(f"{str(value).lower()} is no text")
        case int() | UUID():
            return str(value)
        case float():
            return _float_to_text(value)
        case Decimal():
            if not value.is_finite():
                raise ValueRefusedError(f"{value} is no text")
            return str(int(value)) if value == value.to_integral_value() else format(value, "f")
        case date() | time():  # a datetime is a date
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return _bytes_to_text(bytes(value))
        case None:
            raise ValueRefusedError("null is no text")
    raise ValueRefusedError(f"{_name(value)} is no text: {quote(value)}")


def to_field(value: object) -> str:
    """The text of an input, empty where the cell holds nothing; a list of one is what it holds.

    Raises:
        ValueRefusedError: it has no single meaning.
    """
    if is_missing(value):
        return ""
    if not isinstance(value, list | tuple):
        return to_text(value)
    texts = _to_texts(value)
    if len(texts) > 1:
        raise ValueRefusedError(
            f"a list of {len(texts)}, and an input is one text: {quote(value)}; as metadata (without --map) prompts "
            f"read it as a list"
        )
    return "".join(texts)


def to_target(value: object) -> TargetValue:
    """The target in a cell: a text, a number, or a list of texts; None where it holds nothing.

    Raises:
        ValueRefusedError: it has no single meaning.
    """
    if isinstance(value, list | tuple):
        texts = _to_texts(value)
        for number, text in enumerate(texts, start=1):
            if not text.strip():
                raise ValueRefusedError(f"item {number} of its list: an empty text is no target")
        return tuple(text.strip() for text in texts) or None
    found = _to_plain(value)
    if isinstance(found, bool):
        raise ValueRefusedError(
            f"{str(found).lower()} is no target: write it as the text that is right, e.g. yes or no"
        )
    return found or None if isinstance(found, str) else found


def to_metadata(value: object) -> MetadataValue:
    """The value of a column that is kept: a text, a number, a boolean, a list of texts, or nothing.

    Raises:
        ValueRefusedError: it is none of these.
    """
    return _to_texts(value) if isinstance(value, list | tuple) else _to_plain(value)


def _to_plain(value: object) -> str | int | float | bool | None:
    """A cell's text, number or boolean; a float that is whole is an integer."""
    if is_missing(value):
        return None
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float | Decimal):
        text = to_text(value)
        return float(value) if "." in text else int(text)
    return to_text(value)


def _to_texts(values: Iterable[object]) -> tuple[str, ...]:
    texts = []
    for number, item in enumerate(values, start=1):
        try:
            texts.append(to_text(item))
        except ValueRefusedError as error:
            raise ValueRefusedError(f"item {number} of its list: {error}") from error
    return tuple(texts)


def _float_to_text(value: float) -> str:
    if not math.isfinite(value):
        raise ValueRefusedError(f"{value} is no text")
    if not value.is_integer():
        return repr(value)
    if abs(value) >= _MOST_EXACT:
        raise ValueRefusedError(
            f"{value!r} is too large for its type (a float), which has rounded it: write it as text or as an integer"
        )
    return str(int(value))


def _bytes_to_text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable():
        hint = ", as a UUID has: write it as text" if len(value) == 16 else ": write them as text"
        raise ValueRefusedError(f"{len(value)} bytes that are no text{hint}")
    return text


def _check_characters(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueRefusedError(
            f"it has half of a surrogate pair at character {error.start + 1}, which no file can hold: {quote(text)}"
        ) from error
    if "\0" in text:
        raise ValueRefusedError(f"it has a NUL character, which no text has (UTF-16 read as UTF-8?): {quote(text)}")
    return text


def _name(value: object) -> str:
    match value:
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"
