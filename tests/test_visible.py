"""Characters that act on a reader are shown as escapes; text stays as it is."""

from __future__ import annotations

import logging
import unicodedata

import pytest

from eibench_ray.errors import EibenchError
from eibench_ray.visible_text import _IN_PAGE, PlainFormatter, in_line, in_page, list_some

SEQUENCES = [
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x1b\\",
    "\x1b]52;c;aGk=\x07",
    "\x9b2J",
    "\x90q\x9c",
    "\r",
    "\b",
]


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_no_sequence_reaches_a_terminal(sequence: str) -> None:
    assert in_line(f"a{sequence}b").isprintable()
    assert in_page(f"a{sequence}b").isprintable()
    assert str(EibenchError(f"a{sequence}b")).isprintable()


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
def test_every_control_character_is_shown(code: int) -> None:
    assert in_line(chr(code)).isprintable()
    assert len(in_line(chr(code))) > 1
    assert in_page(chr(code)).isprintable() or chr(code) in "\t\n"


def test_all_that_unicode_calls_control_direction_or_surrogate_is_shown() -> None:
    left = {
        code
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Cc", "Zl", "Zp", "Cs")
        or unicodedata.bidirectional(chr(code)) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        if in_line(chr(code)) == chr(code)
    }
    assert left == set()


def test_what_python_calls_printable_has_nothing_to_be_shown() -> None:
    printable = "".join(chr(code) for code in range(0x110000) if chr(code).isprintable())
    assert _IN_PAGE.search(printable) is None


@pytest.mark.parametrize(
    "text", ["plain", "données", "日本", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "[/b] :smile:"]
)
def test_text_stays_as_it_is(text: str) -> None:
    assert in_line(text) == in_page(text) == text


def test_no_name_begins_a_line_of_the_log() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "model %s", ("a\n2026-01-01 ERROR b\r\x1b[2J",), None)
    assert PlainFormatter("%(message)s").format(record) == "model a\n    2026-01-01 ERROR b\\r\\x1b[2J"


def test_lines_stay_in_a_page_only() -> None:
    assert in_page("a\n\tb") == "a\n\tb"
    assert in_line("a\n\tb") == "a\\n\\tb"


@pytest.mark.parametrize(
    ("names", "text"),
    [("", ""), ("a", "a"), ("ab", "a, b"), ("abc", "a, b and 1 more"), ("a" * 1236, "a, a and 1,234 more")],
)
def test_of_many_names_some_are_listed(names: str, text: str) -> None:
    assert list_some(iter(names), 2) == text
