"""Lines of an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.plan.reply_lines import split_lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        (" \n\t\n", []),
        ("Why is she alone?", ["Why is she alone?"]),
        ("Why?\n\n  Who?  \nWhere?", ["Why?", "Who?", "Where?"]),
        ("Here are the questions:\nWhy?\nWho?", ["Why?", "Who?"]),
        ("Here are the questions:\n1. Why?\n2. Who?\nI hope this helps.", ["Why?", "Who?"]),
        ("1) Why?\n(2) Who?\n3: Where?\n4.When?", ["Why?", "Who?", "Where?", "When?"]),
        ("- Why?\n* Who?\n\u2022 Where?", ["Why?", "Who?", "Where?"]),
        ("  10. Why?\n\n  11.\n12. Who?", ["Why?", "Who?"]),
        ("1. **Why?**\n**2. Who?**", ["Why?", "Who?"]),
        ("**Setting**: a beach.\n*Mood*: calm.", ["Setting: a beach.", "*Mood*: calm."]),
        ("2.5 metres of what?\n-5 degrees?", ["2.5 metres of what?", "-5 degrees?"]),
        ("1. Why?\n   because of whom?\n2. Who?", ["Why? because of whom?", "Who?"]),
        ("1. Why?\nbecause of whom?\n2. Who?\nNo more.", ["Why? because of whom?", "Who?"]),
        ("- Why?\n  because of whom?\n  or what?\n* Who?", ["Why? because of whom? or what?", "Who?"]),
        ("1. Why?\n\n   An aside.\n2. Who?", ["Why?", "Who?"]),
        ("-", []),
        ("1. Why?\r\n2. Who?\r\n", ["Why?", "Who?"]),
    ],
)
def test_lines_are_told_apart(text: str, lines: list[str]) -> None:
    assert list(split_lines(text)) == lines


@given(st.text())
def test_no_line_is_empty_and_a_list_of_lines_reads_as_it_was_written(text: str) -> None:
    lines = split_lines(text)
    assert all(line == line.strip() != "" for line in lines)
    written = "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))
    if not any(line[0].isdigit() for line in lines):  # "1. 5" is no item
        assert split_lines(written) == lines
