"""The cells of a run as a grid, models down and settings across, in as little room as it must.

A part per dataset and judge, below each other or side by side:

    faces · strict       user_question           user_question_cot
    smollm2_135m         ━━━━━━━━╍╍───  62%      ─────────────   0%

Where the room is less, fields lose their bars (` 62%`), then become one sign each; many models stand in several
columns. Then judges, and datasets, are taken together; at last models and settings are left out. The lines below the
grid say all of that, and what its letters and signs mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from eibench_ray.runs.run_view import CellPhase, CellView
from eibench_ray.visible_text import in_line

_STYLES = {
    CellPhase.WAITING: "bright_black",
    CellPhase.GENERATING: "cyan",
    CellPhase.JUDGING: "magenta",
    CellPhase.DONE: "green",
    CellPhase.BLOCKED: "yellow",
    CellPhase.FAILED: "red",
}
_TODO = "bright_black"
_MOST_NAME, _LEAST_NAME = 24, 8
# Blanks between the columns of a grid that is folded into several.
_GUTTER = 3


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


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to draw a grid.

    Attributes:
        least, most: characters of a field, the blanks before it included.
        is_beside: whether the parts stand side by side.
        is_folded: whether the rows stand in as many columns as there is room for.
    """

    least: int
    most: int
    is_beside: bool = False
    is_folded: bool = False


_BAR, _NUMBER, _SIGN = (14, 28), (5, 5), (2, 3)
_FORMS = (
    _Form(*_BAR),
    _Form(*_BAR, is_beside=True),
    _Form(*_NUMBER),
    _Form(*_NUMBER, is_beside=True),
    _Form(*_BAR, is_folded=True),
    _Form(*_NUMBER, is_folded=True),
    _Form(*_SIGN),
    _Form(*_SIGN, is_beside=True),
    _Form(*_SIGN, is_folded=True),
)


def glyphs_of(console: Console) -> Glyphs:
    """The signs that a console can show."""
    return UNICODE if console.encoding.startswith("utf") else ASCII


def render_grid(cells: Sequence[CellView], width: int, height: int, glyphs: Glyphs = UNICODE) -> list[Text]:
    """The grid in at most so many lines of so many characters."""
    flipped = [replace(cell, model=cell.setting, setting=cell.model) for cell in cells]
    for together in ((), ("judge",), ("dataset", "judge")):
        grids = [_Grid(cells, together, width, glyphs), _Grid(flipped, together, width, glyphs)]
        for grid in grids if len(grids[0].rows) < len(grids[0].heads) else grids[:1]:
            for form in _FORMS:
                if grid.fits(form, height):
                    return grid.draw(form)
    return grids[0].clip(height)


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


def count_states(cells: Iterable[CellView]) -> Iterator[str]:
    """The number of cells of each state, in words."""
    states = [cell.state for cell in cells]
    for state in CellPhase:
        if number := states.count(state):
            yield f"{number:,} {state.value}"


@dataclass(frozen=True, slots=True)
class _Part:
    """The cells of one dataset and judge, by model and setting."""

    title: str
    cells: Mapping[tuple[str, str], CellView]
    settings: tuple[str, ...]

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(model for model, _ in self.cells))


class _Grid:
    """Cells that are put together in one way, to be drawn as they fit.

    Attributes:
        rows, heads: the models and the settings, as a rule.
    """

    def __init__(self, cells: Sequence[CellView], together: Sequence[str], width: int, glyphs: Glyphs) -> None:
        self._width, self._glyphs = width, glyphs
        self.rows = list(dict.fromkeys(cell.model for cell in cells))
        self.heads = list(dict.fromkeys(cell.setting for cell in cells))
        keys = [name for name in ("dataset", "judge") if name not in together]
        numbers = {name: len({getattr(cell, name) for cell in cells}) for name in together}
        counts = [f"{number} {name}s" for name, number in numbers.items() if number > 1]
        self._notes = [f"a field is of {' x '.join(counts)}"] if counts else []
        groups: dict[tuple[str, ...], dict[tuple[str, str], list[CellView]]] = {}
        for cell in cells:
            group = groups.setdefault(tuple(getattr(cell, name) for name in keys), {})
            group.setdefault((cell.model, cell.setting), []).append(cell)
        self._parts = [
            _Part(
                glyphs.between.join(map(in_line, key)),
                {place: _merge(several) for place, several in fields.items()},
                tuple(dict.fromkeys(setting for _, setting in fields)),
            )
            for key, fields in groups.items()
        ]
        longest = max(cell_len(in_line(name)) for name in (*self.rows, *(part.title for part in self._parts)))
        self._name_width = max(min(longest, _MOST_NAME, width // 3), min(_LEAST_NAME, width // 2))

    def fits(self, form: _Form, height: int) -> bool:
        """Whether there is room to draw all of it in a form, and the form is another than a simpler one."""
        if (form.is_beside and len(self._parts) == 1) or (form.is_folded and len(self._parts) > 1):
            return False
        room = self._room(form)
        if room < form.least or room <= len(_letter(len(self.heads) - 1)):
            return False
        num_below = 2 + len(self._notes)  # the lines that say what letters and signs mean
        if form.is_folded:
            return -(-len(self.rows) // self._num_folds(form)) + 1 + num_below <= height
        if form.is_beside:
            return len(self.rows) + 3 + num_below <= height
        return sum(len(part.models) + 1 for part in self._parts) + num_below <= height

    def draw(self, form: _Form) -> list[Text]:
        """All of it."""
        return self._draw(form, self._parts, self.rows)

    def clip(self, height: int) -> list[Text]:
        """As much as there is room for, of one part: first what goes on, then what waits, then what is over."""
        (part,) = self._parts
        most = max((self._width - self._name_width) // (_SIGN[0] + 1), 1)
        settings, self.heads = part.settings[:most], self.heads[:most]
        left = {"model": 0, "setting": len(part.settings) - len(settings)}
        clipped = _Part(part.title, part.cells, settings)
        self._parts = [clipped]
        form = next((one for one in _FORMS if not one.is_folded and self._room(one) >= one.least), _FORMS[-1])
        num_rows = max(height - 4 - len(self._notes), 1)
        shown = set(sorted(self.rows, key=lambda row: _rank(part, row))[:num_rows])
        left["model"] = len(self.rows) - len(shown)
        words = [f"{number} more {what}{'s' if number > 1 else ''}" for what, number in left.items() if number]
        self._notes.append(f"not shown: {', '.join(words)}")
        return self._draw(form, [clipped], [row for row in self.rows if row in shown])

    def _room(self, form: _Form) -> int:
        """Characters of a field in a form; too few where it has none."""
        numbers = [len(part.settings) for part in self._parts]
        return min((self._width - self._name_width) // (sum(numbers) if form.is_beside else max(numbers)), form.most)

    def _num_folds(self, form: _Form) -> int:
        taken = self._name_width + form.least * len(self.heads)
        return max((self._width + _GUTTER) // (taken + _GUTTER), 1)

    def _draw(self, form: _Form, parts: Sequence[_Part], rows: Sequence[str]) -> list[Text]:
        room = form.least if form.is_folded and self._num_folds(form) > 1 else self._room(form)
        is_whole = all(cell_len(in_line(head)) <= room - 2 for head in self.heads)
        names = {head: in_line(head) if is_whole else _letter(place) for place, head in enumerate(self.heads)}
        lines: list[Text] = []
        titles: dict[str, str] = {}
        if form.is_beside:
            titles = self._name_parts(parts, room)
            line = Text(" " * self._name_width)
            for part in parts:
                line.append("  " + cut(titles[part.title], room * len(part.settings) - 2, self._glyphs), "bold")
            lines.append(line)
        for group in [parts] if form.is_beside else [[part] for part in parts]:
            lines.append(self._header("" if form.is_beside else group[0].title, group, names, room))
            for row in rows:
                if any((row, head) in part.cells for part in group for head in part.settings):
                    line = Text(cut(in_line(row), self._name_width, self._glyphs))
                    for part in group:
                        for head in part.settings:
                            line.append_text(self._field(part.cells.get((row, head)), room))
                    lines.append(line)
        if form.is_folded:
            lines = self._fold(lines, form)
        letters = [] if is_whole else [f"{letter} {in_line(head)}" for head, letter in names.items()]
        numbers = [f"{number} {title}" for title, number in titles.items() if number != title]
        signs = list(self._explain(parts, room))
        for words in ([*letters, *signs], numbers):
            if words:
                lines.append(Text(cut("   ".join(words), self._width, self._glyphs).rstrip(), "dim"))
        return [*lines, *(Text(note, style="dim") for note in self._notes)]

    def _fold(self, lines: Sequence[Text], form: _Form) -> list[Text]:
        """A grid's lines in several columns, each under its header."""
        header, *rows = lines
        height = -(-len(rows) // self._num_folds(form))
        columns = [rows[start : start + height] for start in range(0, len(rows), height)]
        folded = [header.copy()] + [row.copy() for row in columns[0]]
        for column in columns[1:]:
            for line, part in zip(folded, [header, *column], strict=False):
                line.append(" " * _GUTTER).append_text(part)
        return folded

    def _name_parts(self, parts: Sequence[_Part], room: int) -> dict[str, str]:
        """Headings of parts that are side by side: their titles, or numbers where one is too long."""
        is_whole = all(cell_len(part.title) <= room * len(part.settings) - 2 for part in parts)
        return {part.title: part.title if is_whole else str(number) for number, part in enumerate(parts, start=1)}

    def _header(self, title: str, parts: Sequence[_Part], names: Mapping[str, str], room: int) -> Text:
        line = Text(cut(title, self._name_width, self._glyphs), "bold")
        for part in parts:
            for head in part.settings:
                name = names[head]
                # Over numbers to the right, over bars to the left; what follows a number may be its mark.
                word = "  " + cut(name, room - 2, self._glyphs) if room >= _BAR[0] else f"{name} ".rjust(room)
                line.append(word if room >= _NUMBER[0] else name.rjust(room), "dim not bold")
        return line

    def _explain(self, parts: Sequence[_Part], room: int) -> Iterator[str]:
        """The meaning of the signs that the grid has."""
        cells = [cell for part in parts for cell in part.cells.values()]
        if room < _BAR[0]:
            for state in (CellPhase.WAITING, CellPhase.DONE, CellPhase.BLOCKED, CellPhase.FAILED):
                if any(cell.state is state for cell in cells):
                    yield f"{self._sign_of(state)} {state.value}"
        if room >= _NUMBER[0] and any(cell.errors for cell in cells):
            yield "! has errors"

    def _sign_of(self, state: CellPhase) -> str:
        glyphs = self._glyphs
        signs = {CellPhase.DONE: glyphs.whole, CellPhase.BLOCKED: glyphs.blocked, CellPhase.FAILED: glyphs.failed}
        return signs.get(state, glyphs.waiting)

    def _field(self, cell: CellView | None, room: int) -> Text:
        if cell is None:
            return Text(" " * room)
        style, glyphs = _STYLES[cell.state], self._glyphs
        is_begun = cell.state in (CellPhase.GENERATING, CellPhase.JUDGING) or (
            cell.state is CellPhase.WAITING and cell.done > 0
        )
        trouble = "!" if cell.errors else " "
        if room < _NUMBER[0]:
            level = len(glyphs.levels) * cell.done // max(cell.rows, 1)
            return Text((glyphs.levels[level] if is_begun else self._sign_of(cell.state)).rjust(room), style)
        if room < _BAR[0]:
            word = _percent(cell) if is_begun else self._sign_of(cell.state)
            return Text.assemble((word.rjust(room - 1), style), (trouble, "yellow"))
        is_over = cell.state in (CellPhase.BLOCKED, CellPhase.FAILED)
        word = cell.state.value if is_over else cell.word or _percent(cell)
        size = room - 4 - max(len(word), 4)
        drawn = bar(cell.done, cell.asking, cell.rows, size, style, glyphs)
        return Text.assemble("  ", drawn, (word.rjust(room - 3 - size), style), (trouble, "yellow"))


def _merge(cells: Sequence[CellView]) -> CellView:
    """Several cells as one: what any of them does, it does."""
    states = {cell.state for cell in cells}
    order = (CellPhase.JUDGING, CellPhase.GENERATING, CellPhase.WAITING, CellPhase.FAILED, CellPhase.BLOCKED)
    return replace(
        cells[0],
        state=next((state for state in order if state in states), CellPhase.DONE),
        rows=sum(cell.rows for cell in cells),
        done=sum(cell.done for cell in cells),
        asking=sum(cell.asking for cell in cells),
        errors=sum(cell.errors for cell in cells),
        word=cells[0].word if len(cells) == 1 else "",
    )


def _percent(cell: CellView) -> str:
    """Share of the rows that are done; 0% and 100% only where it is."""
    share = round(100 * cell.done / max(cell.rows, 1))
    return f"{100 if cell.done >= cell.rows else min(max(share, 1 if cell.done else 0), 99)}%"


def _rank(part: _Part, row: str) -> int:
    states = {cell.state for (name, _), cell in part.cells.items() if name == row}
    return 0 if states & {CellPhase.GENERATING, CellPhase.JUDGING} else 1 if CellPhase.WAITING in states else 2


def _letter(place: int) -> str:
    """The name of a column: a to z, then aa to zz."""
    return chr(97 + place) if place < 26 else _letter(place // 26 - 1) + chr(97 + place % 26)
