"""Lines that are drawn over and over: what is left behind, and what a change of the terminal's size does."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import pytest
from rich.console import Console
from rich.text import Text

from eibench_ray.terminal import live_screen
from eibench_ray.terminal.live_screen import LiveScreen, can_redraw

CLEAR = "\x1b[2J\x1b[H"


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def console(**options: object) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=60, height=20, _environ={}, **options)  # type: ignore[arg-type]


def written(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


def three(width: int, height: int) -> Sequence[Text]:
    return [Text(f"{width}x{height}"), Text("two", "red"), Text("three")]


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_screen, "MOST_SHARE", 1e9)


def test_lines_are_drawn_over_and_gone_at_the_end() -> None:
    shown = console()
    with LiveScreen(shown, three) as screen:
        screen.refresh()
        shown.print("a line of a log")
    text = written(shown)
    assert text.count("60x20") == 4  # at the start, at the refresh, below the line of the log, before they go
    assert text.index("a line of a log") < text.rindex("60x20")
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert text.endswith("\x1b[1A\x1b[2K" * 3)  # every line of it is erased


def test_an_error_in_the_block_leaves_the_cursor_shown() -> None:
    shown = console()
    with pytest.raises(KeyboardInterrupt), LiveScreen(shown, three):
        raise KeyboardInterrupt
    assert written(shown).rindex("\x1b[?25h") > written(shown).rindex("\x1b[?25l")


def test_a_terminal_that_became_narrower_is_cleared_since_it_may_have_folded_the_lines() -> None:
    shown = console()
    with LiveScreen(shown, three) as screen:
        shown.size = (80, 20)  # type: ignore[assignment]
        screen.refresh()
        assert CLEAR not in written(shown)
        shown.size = (40, 10)  # type: ignore[assignment]
        screen.refresh()
        assert "40x10" in written(shown).split(CLEAR)[1]
        screen.refresh()
    assert written(shown).count(CLEAR) == 1


def test_without_colours_there_are_none() -> None:
    shown = console(no_color=True)
    with LiveScreen(shown, three):
        pass
    assert "\x1b[31m" not in written(shown)
    assert "two" in written(shown)


def test_where_nothing_can_be_drawn_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert can_redraw(Tty())
    assert not can_redraw(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not can_redraw(Tty())
    plain = Console(file=io.StringIO(), force_terminal=False)
    with LiveScreen(plain, three) as screen:
        screen.refresh()
    assert written(plain) == ""


def test_drawing_takes_no_more_than_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_screen, "MOST_SHARE", 0.01)
    now, used, drawn = [0.0], [0.0], []

    def slow(width: int, height: int) -> Sequence[Text]:
        used[0] += 0.045
        drawn.append(now[0])
        return three(width, height)

    monkeypatch.setattr("eibench_ray.terminal.live_screen.time.monotonic", lambda: now[0])
    monkeypatch.setattr("eibench_ray.terminal.live_screen.time.thread_time", lambda: used[0])
    with LiveScreen(console(), slow) as screen:
        for second in range(1, 21):
            now[0] = float(second)
            screen.refresh()
    assert drawn == [0.0, 1.0, 6.0, 11.0, 16.0, 20.0]  # the last is the end's


def test_lines_that_the_terminal_of_a_dumb_editor_gets_are_those_of_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    from eibench_ray.cli.console import PlainConsole

    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", Tty())
    assert not PlainConsole(stderr=True).is_terminal
    monkeypatch.setenv("TERM", "xterm")
    assert PlainConsole(stderr=True).is_terminal
