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

from rich.cells import cell_len
from rich.text import Text

from eibench_ray.runs.cell_field import BAR, NUMBER, SIGN, UNICODE, Glyphs, cut, draw_field, sign_of
from eibench_ray.runs.run_view import CellPhase, CellView
from eibench_ray.visible_text import in_line

_MOST_NAME, _LEAST_NAME = 24, 8
# Blanks between the columns of a grid that is folded into several.
_GUTTER = 3


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


_FORMS = (
    _Form(*BAR),
    _Form(*BAR, is_beside=True),
    _Form(*NUMBER),
    _Form(*NUMBER, is_beside=True),
    _Form(*BAR, is_folded=True),
    _Form(*NUMBER, is_folded=True),
    _Form(*SIGN),
    _Form(*SIGN, is_beside=True),
    _Form(*SIGN, is_folded=True),
)


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
        num_below = 2 + form.is_beside + len(self._notes)  # the lines that say what letters, signs and numbers mean
        if form.is_folded:
            return -(-len(self.rows) // self._num_folds(form)) + 1 + num_below <= height
        if form.is_beside:
            return len(self.rows) + 2 + num_below <= height
        return sum(len(part.models) + 1 for part in self._parts) + num_below <= height

    def draw(self, form: _Form) -> list[Text]:
        """All of it."""
        return self._draw(form, self._parts, self.rows)

    def clip(self, height: int) -> list[Text]:
        """As much as there is room for, of one part: first what goes on, then what waits, then what is over."""
        (part,) = self._parts
        most = max((self._width - self._name_width) // (SIGN[0] + 1), 1)
        settings, self.heads = part.settings[:most], self.heads[:most]
        left = {"model": 0, "setting": len(part.settings) - len(settings)}
        clipped = _Part(part.title, part.cells, settings)
        self._parts = [clipped]
        form = next((one for one in _FORMS if not one.is_folded and self._room(one) >= one.least), _FORMS[-1])
        num_rows = max(height - 4 - len(self._notes), 1)  # the header, the letters, the signs, what is not shown
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
                            line.append_text(draw_field(part.cells.get((row, head)), room, self._glyphs))
                    lines.append(line)
        if form.is_folded:
            lines = self._fold(lines, form)
        letters = [] if is_whole else [f"{letter} {in_line(head)}" for head, letter in names.items()]
        numbers = [f"{number} {title}" for title, number in titles.items() if number != title]
        signs = list(self._explain(parts, room))
        is_long = cell_len("   ".join([*letters, *signs])) > self._width
        for words in (letters, signs, numbers) if is_long else ([*letters, *signs], numbers):
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
                word = "  " + cut(name, room - 2, self._glyphs) if room >= BAR[0] else f"{name} ".rjust(room)
                line.append(word if room >= NUMBER[0] else name.rjust(room), "dim not bold")
        return line

    def _explain(self, parts: Sequence[_Part], room: int) -> Iterator[str]:
        """The meaning of the signs that the grid has."""
        cells = [cell for part in parts for cell in part.cells.values()]
        if room < BAR[0]:
            for state in (CellPhase.WAITING, CellPhase.DONE, CellPhase.BLOCKED, CellPhase.FAILED):
                if any(cell.state is state for cell in cells):
                    yield f"{sign_of(state, self._glyphs)} {state.value}"
        if room >= NUMBER[0] and any(cell.errors for cell in cells):
            yield "! has errors"


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


def _rank(part: _Part, row: str) -> int:
    states = {cell.state for (name, _), cell in part.cells.items() if name == row}
    return 0 if states & {CellPhase.GENERATING, CellPhase.JUDGING} else 1 if CellPhase.WAITING in states else 2


def _letter(place: int) -> str:
    """The name of a column: a to z, then aa to zz."""
    return chr(97 + place) if place < 26 else _letter(place // 26 - 1) + chr(97 + place % 26)
