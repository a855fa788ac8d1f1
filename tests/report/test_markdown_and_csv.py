"""Names in Markdown and CSV are shown as they are: no mark-up, no links, no formulas."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest

from eibench_ray.report.markdown_table import as_markdown, format_table
from eibench_ray.report.spreadsheet import as_cell, write_csv

ESCAPED = [
    ("a|b", r"a\|b"),
    ("![i](x)", r"!\[i\](x)"),
    ("`x`", r"\`x\`"),
    ("<script>", r"\<script>"),
    ("<!-- x", r"\<!-- x"),
    ("&lt;", r"\&lt;"),
    ("*x*y", r"\*x\*y"),
    ("_x_", r"\_x\_"),
    ("~~x~~", r"\~\~x\~\~"),
    ("$x$", r"\$x$"),
    ("a\\|b", r"a\\\|b"),
    ("http://x.y", r"http\://x.y"),
    ("www.x.y", r"www\.x.y"),
    ("a\n# b", r"a\\n# b"),
    ("\x1b[2J", r"\\x1b\[2J"),
]


@pytest.mark.parametrize(("text", "markdown"), ESCAPED)
def test_what_means_something_is_escaped(text: str, markdown: str) -> None:
    assert as_markdown(text) == markdown


@pytest.mark.parametrize(
    "text", ["llava_next_7b", "<0.0001", "a < b", "12.5-34.1", "95% CI", "a & b", "gpt-4o*", "cost $"]
)
def test_what_means_nothing_stays(text: str) -> None:
    assert as_markdown(text) == text


def test_a_table_has_as_many_cells_as_it_was_given() -> None:
    lines = format_table([["model", "n"], *([text, "1"] for text, _ in ESCAPED)], 1)
    assert len(lines) == len(ESCAPED) + 2
    for line in lines:
        assert line.replace("\\\\", "").replace("\\|", "").count("|") == 3


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@x",
    " =1",
    "\t=1",
    "\r=1",
    "'=1",
    '"=1',
    "\uff1d1",
    "a;=1",
    "a; +1",
    '=cmd|" /C calc"!A0',
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    write_csv(pl.DataFrame({"model": [text, "plain"], "recall": [-0.5, None], "ok": [True, None]}), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        [_, first, second] = csv.reader(file)
    for part in first[0].split(";"):
        assert part.lstrip(" \"'")[:1] not in {*"=+-@", "\uff1d"} or part.startswith("'")
    assert first[1:] == ["-0.5", "true"]
    assert second == ["plain", "", ""]


def test_a_name_stays_as_it_is_where_it_is_none() -> None:
    for text in ("llava-next", "a=b", "x@y", "1-2"):
        assert as_cell(text) == text
