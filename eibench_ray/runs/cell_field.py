"""One cell of a grid in a terminal: a bar, a number or one sign, in the colour of its state."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from eibench_ray.runs.run_view import CellPhase, CellView

_STYLES = {
    CellPhase.WAITING: "bright_black",
    CellPhase.GENERATING: "cyan",
    CellPhase.JUDGING: "magenta",
    CellPhase.DONE: "green",
    CellPhase.BLOCKED: "yellow",
    CellPhase.FAILED: "red",
}
_TODO = "bright_black"
# Characters of a field with a bar, with a number, with a sign, at least and at most; the blanks before it included.
BAR, NUMBER, SIGN = (14, 28), (5, 5), (2, 3)


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Signs that a terminal can show."""

    done: str
    asking: str
    todo: str
    levels: str  # of one sign: hardly anything is done, .., nearly all
    waiting: str
    whole: str
    blocked: str
    failed: str
    between: str  # names
    more: str  # at the end of a name that is cut


UNICODE = Glyphs("━", "╍", "─", "▁▂▃▄▅▆▇", "·", "✓", "‖", "✗", " · ", "…")
ASCII = Glyphs("#", "=", "-", "123456789", ".", "x", "|", "!", " / ", "~")


def glyphs_of(console: Console) -> Glyphs:
    """The signs that a console can show."""
    return UNICODE if console.encoding.startswith("utf") else ASCII


def bar(done: int, asking: int, rows: int, width: int, style: str, glyphs: Glyphs) -> Text:
    """A bar of what is done, what is being asked and what is left; the least of each is seen, and only all is whole."""
    rows = max(rows, 1)
    full = width if done >= rows else min(max(width * done // rows, 1 if done else 0), width - 1)
    under = min(-(-width * asking // rows), width - full)
    return Text.assemble(
        (glyphs.done * full, style), (glyphs.asking * under, style), (glyphs.todo * (width - full - under), _TODO)
    )


def cut(name: str, width: int, glyphs: Glyphs) -> str:
    """A name in exactly so many characters."""
    if cell_len(name) <= width:
        return set_cell_size(name, width)
    return set_cell_size(name, max(width - cell_len(glyphs.more), 0)) + glyphs.more[:width]


def sign_of(state: CellPhase, glyphs: Glyphs) -> str:
    """The sign of a state that needs no number."""
    signs = {CellPhase.DONE: glyphs.whole, CellPhase.BLOCKED: glyphs.blocked, CellPhase.FAILED: glyphs.failed}
    return signs.get(state, glyphs.waiting)


def draw_field(cell: CellView | None, room: int, glyphs: Glyphs) -> Text:
    """A cell in so many characters, or blanks where there is none."""
    if cell is None:
        return Text(" " * room)
    style = _STYLES[cell.state]
    is_begun = cell.state in (CellPhase.GENERATING, CellPhase.JUDGING) or (
        cell.state is CellPhase.WAITING and cell.done > 0
    )
    trouble = "!" if cell.errors else " "
    if room < NUMBER[0]:
        level = len(glyphs.levels) * cell.done // max(cell.rows, 1)
        return Text((glyphs.levels[level] if is_begun else sign_of(cell.state, glyphs)).rjust(room), style)
    if room < BAR[0]:
        word = _percent(cell) if is_begun else sign_of(cell.state, glyphs)
        return Text.assemble((word.rjust(room - 1), style), (trouble, "yellow"))
    is_over = cell.state in (CellPhase.BLOCKED, CellPhase.FAILED)
    word = cell.state.value if is_over else cell.word or _percent(cell)
    size = room - 4 - max(len(word), 4)
    drawn = bar(cell.done, cell.asking, cell.rows, size, style, glyphs)
    return Text.assemble("  ", drawn, (word.rjust(room - 3 - size), style), (trouble, "yellow"))


def _percent(cell: CellView) -> str:
    """Share of the rows that are done; 0% and 100% only where it is."""
    share = round(100 * cell.done / max(cell.rows, 1))
    return f"{100 if cell.done >= cell.rows else min(max(share, 1 if cell.done else 0), 99)}%"
