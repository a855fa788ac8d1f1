"""The protocol's texts: `str.format` syntax as published, Jinja2 as the project renders them."""

from __future__ import annotations

import re
from string import Formatter

from eibench_ray.errors import DataError

PLACEHOLDERS = frozenset({"question", "record", "reference"})

# What Jinja2 would not print as it stands: the start of a delimiter (also where the next piece would complete one) and
# any line end but \n.
_UNSAFE = re.compile(r"\{(?=[{%#\r]|\n?\Z)|\r\n?")


def to_jinja(text: str) -> str:
    """A `str.format` text as Jinja2: `{question}` becomes `{{ question }}`, doubled braces become single ones.

    Raises:
        DataError: a brace without its partner, or a placeholder that no sample has.
    """
    pieces = [piece if is_literal else f"{{{{ {piece} }}}}" for is_literal, piece in _split(text)]
    if pieces and pieces[-1].endswith("\n"):  # Jinja2 drops the last line end
        pieces[-1] = pieces[-1][:-1] + "{{ '\\n' }}"
    return "".join(pieces)


def from_literal(text: str) -> str:
    """A text that `str.format` gives back unchanged."""
    return text.replace("{", "{{").replace("}", "}}")


def _split(text: str) -> list[tuple[bool, str]]:
    """Literals (safe for Jinja2) and placeholders' names, in order; True marks a literal."""
    pieces: list[tuple[bool, str]] = []
    literal = ""
    try:
        for piece, name, spec, conversion in Formatter().parse(text):
            literal += piece
            if name is None:
                continue
            if name not in PLACEHOLDERS or spec or conversion:
                raise DataError(
                    f"the protocol's text {text[:60]!r}... has the placeholder {{{name}}}: it can only have "
                    f"{', '.join(sorted(PLACEHOLDERS))}; double the braces that are meant literally"
                )
            pieces += [(True, _protect(literal)), (False, name)]
            literal = ""
    except ValueError as error:
        raise DataError(
            f"the protocol's text {text[:60]!r}... is no format text ({error}): double the braces that "
            f"are meant literally"
        ) from error
    return [*pieces, (True, _protect(literal))]


def _protect(literal: str) -> str:
    return _UNSAFE.sub(lambda match: f"{{{{ {match.group()!r} }}}}", literal)
