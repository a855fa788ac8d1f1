"""A judge's reply in JSON: the schema that is asked for, and how a reply is read.

A reply is one JSON object, bare or in one code fence, with white space around it and nothing else. A key that comes
twice says two things, so it says nothing. Further keys are ignored: an engine that cannot constrain its output may add
some.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

_FENCE = re.compile(r"```(?:json)?(.*)```", re.DOTALL | re.IGNORECASE)
_WHITE = " \t\n\r"  # in the sense of JSON
_LONGEST_ESCAPE = 5  # characters of an escape in JSON that may be there when a text breaks off, as in \ud83
# Verdicts are stored as integers of a fixed width. A number beyond 32 bits is a judge gone astray.
_MOST = 2**31 - 1
EXPLANATION = "explanation"
KEY = f'"{EXPLANATION}"'
SPACED, TIGHT = f'{KEY}: "', f'{KEY}:"'  # how its text begins; more white space is rare


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with just these properties."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def verdict_schema(key: str, verdict: dict[str, Any], *, is_explained: bool) -> dict[str, Any]:
    """The schema of a verdict, and of an explanation after it.

    The explanation has no maxLength, which makes each token of it dearer (xgrammar: 230 us instead of 6); coming last,
    it may break off without harm.
    """
    return object_schema({key: verdict} | ({EXPLANATION: {"type": "string"}} if is_explained else {}))


def describe_reply(key: str, values: str, explanation_words: int) -> str:
    """A sentence for the prompt about the form of the reply: an engine that cannot constrain it reads no schema."""
    why = f', then "{EXPLANATION}": why, in at most {explanation_words} words' if explanation_words else ""
    return f'Reply with a JSON object: "{key}": {values}{why}.'


def read_object(text: str) -> dict[str, Any]:
    """The one JSON object that the text is; empty where it is something else."""
    text = text.strip()
    if text.startswith("`") and (fenced := _FENCE.fullmatch(text)):
        text = fenced.group(1).strip(_WHITE)
    try:
        found, end = _decode(text)
    except (ValueError, RecursionError):  # ValueError: not JSON, or a number with thousands of digits
        return {}
    return found if isinstance(found, dict) and end == len(text) else {}


def read_verdict(text: str, key: str) -> tuple[Any, str | None]:
    """The value under a key and the explanation, also of an object whose text breaks off within its last text."""
    found = read_cut_object(text)
    return found.get(key), read_words(found.get(EXPLANATION))


def read_cut_object(text: str) -> dict[str, Any]:
    """The one JSON object that the text is, or would be if its last text did not break off.

    >>> read_cut_object('{"correct": true, "explanation": "Both name the la')
    {'correct': True, 'explanation': 'Both name the la'}
    """
    found = read_object(text)
    body = text.rstrip()
    for cut in range(_LONGEST_ESCAPE + 1):
        found = found or read_object(f'{body[: len(body) - cut]}"}}')
    return found


def cut_explanation(text: str) -> tuple[str, str | None]:
    """A reply without the words of its explanation, and those words; the whole reply and None where they cannot be cut.

    Replies that are equal without them hold the same object but for them: `read_object` and `read_cut_object` find
    the same in both, and each finds its own words. They are not cut where an escape might make the key a part of
    another text, nor where it is there twice.

    >>> cut_explanation('{"explanation": "Both name the lake.", "correct": true}')
    ('{"explanation": "", "correct": true}', 'Both name the lake.')
    """
    if (start := text.find(SPACED)) >= 0:
        start += len(SPACED)
    elif (start := text.find(TIGHT)) >= 0:
        start += len(TIGHT)
    else:
        return text, None
    if "\\" in text:
        try:
            words, end = _decode(text, start - 1)
        except ValueError:  # it breaks off, or has an escape that is none
            return text, None
        end -= 1
    elif (end := text.find('"', start)) >= 0:
        words = text[start:end]
    else:
        return text, None
    rest = text[:start] + text[end:]
    return (text, None) if "\\" in rest or rest.count(KEY) > 1 else (rest, words)


def whole_number(value: object) -> int | None:
    """The value as an integer that can be stored, 2.0 as 2, or None."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MOST:
        return None
    return value


def read_words(value: object) -> str | None:
    """The value as text that can be stored: JSON may escape half a surrogate pair, UTF-8 cannot hold it."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# One decoder for all: json.loads makes a new one per call when it is given options.
_decode = json.JSONDecoder(
    strict=False,  # xgrammar's grammar for a string with maxLength lets a bare tab through
    object_pairs_hook=_unique_keys,
    parse_constant=_refuse_constant,
).raw_decode  # which looks for no white space around it
