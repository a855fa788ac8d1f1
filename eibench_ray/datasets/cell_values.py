"""Reads a table's cell as a text, triggers, or nothing; refuses what has no single meaning, with the reason.

Examples: 101.0 is "101", Decimal("1.50") is "1.50", b"abc" is "abc", ["sad"] is "sad". An object, true, infinity, a
number that a float cannot hold exactly and bytes that are no text are refused: what they were to say cannot be known.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterable
from datetime import date, time
from decimal import Decimal
from uuid import UUID

from eibench_ray.benchmarks.eibench.triggers import find_numbered, number_triggers, split_triggers
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


def to_field(value: object, *, separator: str | None = None) -> str:
    """The text of a field, empty where it holds nothing; a list of one is what it holds.

    Args:
        value: the cell.
        separator: what joins the texts of a longer list; None: there can be only one.

    Raises:
        ValueRefusedError: it has no single meaning.
    """
    if is_missing(value):
        return ""
    if not isinstance(value, list | tuple):
        return to_text(value)
    texts = [_in_list(to_text, number, item) for number, item in enumerate(value, start=1)]
    if len(texts) > 1 and separator is None:
        raise ValueRefusedError(f"a list of {len(texts)}, and a sample has one: {quote(value)}")
    return (separator or "").join(texts)


def to_triggers(value: object) -> tuple[str, ...]:
    """The triggers in a cell: a list of them, a text that lists them, or such a text's JSON.

    Raises:
        ValueRefusedError: one of them is no text, or empty.
    """
    if is_missing(value):
        return ()
    if isinstance(value, str) and (listed := _read_list(value)) is not None:
        value = listed
    if not isinstance(value, list | tuple):
        return split_triggers(to_text(value))
    texts = tuple(_in_list(_to_trigger, number, item) for number, item in enumerate(value, start=1))
    inner = find_numbered(texts[0]) if len(texts) == 1 else ()
    return inner if len(inner) > 1 else texts


def to_reference(value: object) -> str:
    """A reference's text; a list of triggers is numbered.

    Raises:
        ValueRefusedError: it has no single meaning.
    """
    return number_triggers(to_triggers(value)) if isinstance(value, list | tuple) else to_field(value)


def _to_trigger(value: object) -> str:
    text = to_text(value).strip()
    if not text:
        raise ValueRefusedError("an empty text is no trigger")
    return text


def _in_list(convert: object, number: int, item: object) -> str:
    assert callable(convert)
    try:
        return str(convert(item))
    except ValueRefusedError as error:
        raise ValueRefusedError(f"item {number} of its list: {error}") from error


def _read_list(text: str) -> list[object] | None:
    """The list that a text spells out, as JSON or (from a table that pandas wrote) as Python; None for other texts."""
    if not (text.lstrip().startswith("[") and text.rstrip().endswith("]")):
        return None
    readers: Iterable[object] = (json.loads, ast.literal_eval)
    for read in readers:
        assert callable(read)
        try:
            found = read(text.strip())
        # MemoryError and RecursionError: brackets within brackets.
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(found, list):
            return found
    return None


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
