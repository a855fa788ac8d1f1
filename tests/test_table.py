"""Tables that fit: which column goes first, what is folded, and that no number ever is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from eibench_ray.terminal.fitting_table import Column, FittingTable, fit_columns

NAME = Column("model", ["llava_next_7b", "[b]odd[/b]"], is_name=True)
RECALL = Column("recall %", ["43.2\n42.0-44.4", "9.0\n8.5-10.0"])
ERRORS = Column("errors", ["0", "1,615"])
COST = Column("cost $", ["3.46", "-"], rank=1)
ANGRY, HAPPY = (Column(name, ["41.1", "45.0"], rank=2) for name in ("angry", "happy"))
ALL = [NAME, RECALL, ERRORS, COST, ANGRY, HAPPY]


def shown(columns: list[Column], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(FittingTable(columns, elsewhere="The file has them"))
    return captured.get()


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(80, []), (49, []), (48, ["happy"]), (42, ["angry", "happy"]), (36, ["cost $", "angry", "happy"])],
)
def test_columns_go_by_rank_and_the_last_first(width: int, left_out: list[str]) -> None:
    shown_columns, gone = fit_columns(ALL, width)
    assert [column.title for column in gone] == left_out
    assert shown_columns + gone == [column for column in ALL if column not in gone] + gone


@pytest.mark.parametrize("width", range(20, 90))
def test_numbers_are_whole_or_not_there_at_any_width(width: int) -> None:
    text = shown(ALL, width)
    assert max(map(len, text.splitlines())) <= width
    left_out = [column.title for column in fit_columns(ALL, width)[1]]
    assert ("42.0-44.4" in text) == ("recall %" not in left_out)
    assert ("1,615" in text) == ("errors" not in left_out)
    told = " ".join(text.split())
    assert (f"{width} columns are too narrow: {', '.join(left_out)}. The file has them." in told) == bool(left_out)


def test_a_sentence_is_folded_before_a_column_is_left_out() -> None:
    why = Column("why", ["because the weather was bad all day long", ""], is_name=True, least=12)
    columns = [NAME, RECALL, COST, why]
    assert fit_columns(columns, 50)[1] == []
    text = shown(columns, 50)
    assert "llava_next_7b" in text
    assert "because" in text
    assert max(map(len, text.splitlines())) <= 50


def test_names_are_no_markup_and_what_acts_on_a_terminal_is_measured_as_it_is_shown() -> None:
    assert "[b]odd[/b]" in shown(ALL, 80)
    assert Column("n", [Text("a\x1b[2J")], is_name=True).width == len(r"a\x1b[2J")


def test_a_table_without_rows_is_its_head() -> None:
    assert "model" in shown([Column("model", [], is_name=True), Column("n", [])], 40)
