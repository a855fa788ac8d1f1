"""The drawn view of a run: fabricated values in, lines of text out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rich.cells import cell_len

from eibench_ray.driver.run_events import EngineProgress
from eibench_ray.estimate.time_range import Range
from eibench_ray.runs.cell_field import ASCII, UNICODE
from eibench_ray.runs.run_view import CellPhase, CellView, EngineView, RunView
from eibench_ray.runs.view_page import describe_view, draw_view

SIZES = ((80, 24), (100, 30), (200, 50))
ROWS = 1000
MODELS = ("qwen2_5_vl_7b", "qwen2_5_vl_72b", "llava_next_7b", "internvl3_8b", "gemma3_27b", "pixtral_12b", "gpt_4o")
SETTINGS = ("user_question", "user_question_caption", "user_question_cot", "self_ask")
# Models, settings, datasets, judges.
SWEEPS = {1: (1, 1, 1, 1), 12: (4, 3, 1, 1), 200: (25, 2, 2, 2)}


def sweep_cells(num_models: int, num_settings: int, num_datasets: int, num_judges: int) -> Iterator[CellView]:
    """Cells of which a third is done, a third is asked and a third waits; one is blocked and one has failed."""
    names = [f"{name}{f'_v{again}' if again else ''}" for again in range(9) for name in MODELS][:num_models]
    settings = [SETTINGS[number % 4] + (f"_{number // 4}" if number > 3 else "") for number in range(num_settings)]
    datasets, judges = ("emotion_basic", "emotion_complex")[:num_datasets], ("strict", "official")[:num_judges]
    total = num_models * num_settings
    for dataset, judge in itertools.product(datasets, judges):
        for number, (model, setting) in enumerate(itertools.product(names, settings)):
            part = min(max(3 * number - total, 0), total) / total if total > 1 else 0.42
            done = ROWS if 3 * number < total and total > 1 else round(ROWS * (1 - part) * 0.8)
            phase = CellPhase.DONE if done == ROWS else CellPhase.JUDGING if number % 2 else CellPhase.GENERATING
            if total > 3 and number >= total - 2:
                phase, done = (CellPhase.BLOCKED, 0) if number == total - 1 else (CellPhase.FAILED, 40)
            elif not done:
                phase = CellPhase.WAITING
            asking = 64 if phase in (CellPhase.GENERATING, CellPhase.JUDGING) else 0
            yield CellView(model, setting, dataset, judge, phase, ROWS, done, asking, 3 if number % 5 == 2 else 0)


def run_view(cells: Iterator[CellView], **other: Any) -> RunView:
    """A view of some cells, an engine for each of their models."""
    shown = tuple(cells)
    engines = []
    for number, name in enumerate(dict.fromkeys(cell.model for cell in shown)):
        own = [cell for cell in shown if cell.model == name]
        done, rows = sum(cell.done for cell in own), sum(cell.rows for cell in own)
        busy = EngineProgress(generating=2, judging=number % 2, loading=1, lost=number % 3, tokens_per_s=4803.2)
        engines.append(EngineView(name, rows, done, busy if 0 < done < rows else EngineProgress()))
    if len(engines) > 3:
        engines[-1] = EngineView(engines[-1].name, 4000, 0, EngineProgress(failed="its weights do not fit: 80 GB"))
    values = {
        "sweep": "paper_table",
        "id": "20261130-055400-ab12",
        "state": "running",
        "elapsed_s": 754.2,
        "rows": sum(cell.rows for cell in shown),
        "done": sum(cell.done for cell in shown),
        "in_flight": 21,
        "errors": sum(cell.errors for cell in shown),
        "rows_per_s": 12.34,
        "tokens_per_s": 4803.2,
        "left_s": Range(3000.0, 5400.0, 9000.0),
        "paid": "$1.20 of $5.00",
        "cells": shown,
        "engines": tuple(engines),
        "waits": ("waiting: connection refused by 127.0.0.1:1 for 35 s of 1800 s (gpt_4o)",),
    }
    return RunView(**(values | other))


def drawn(view: RunView, width: int, height: int, **options: Any) -> list[str]:
    return [line.plain for line in draw_view(view, width, height, **options)]


@pytest.mark.parametrize("num_cells", SWEEPS)
def test_a_view_looks_like_this(num_cells: int, golden: Callable[[str, Any], None]) -> None:
    golden(
        f"view_{num_cells}",
        {
            f"{width}x{height}": drawn(run_view(sweep_cells(*SWEEPS[num_cells])), width, height)
            for width, height in SIZES
        },
    )


@pytest.mark.parametrize("sweep", [*SWEEPS.values(), (1, 40, 1, 1), (50, 4, 1, 1), (3, 2, 2, 2), (20, 20, 2, 2)])
@pytest.mark.parametrize("size", [*SIZES, (40, 12), (20, 8), (120, 24), (80, 60), (8, 3)])
def test_a_view_never_exceeds_its_terminal(sweep: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    for glyphs in (UNICODE, ASCII):
        lines = drawn(run_view(sweep_cells(*sweep)), *size, glyphs=glyphs)
        assert 1 <= len(lines) < size[1]
        assert max(map(cell_len, lines)) <= size[0]


def test_what_is_left_out_is_said() -> None:
    lines = drawn(run_view(sweep_cells(60, 5, 2, 2)), 80, 24)
    assert any("a field is of 2 datasets x 2 judges" in line for line in lines)
    assert any(line.startswith("not shown: ") and "more models" in line for line in lines)
    assert any(line.startswith("not shown: ") and "more engines" in line for line in lines)


def test_what_is_not_known_is_a_dash() -> None:
    first, _, third, *_ = drawn(
        run_view(sweep_cells(1, 1, 1, 1), rows_per_s=None, tokens_per_s=None, left_s=None, paid=""), 100, 30
    )
    assert first.endswith("left -")
    assert third.startswith("- rows/s   - tokens/s   0 errors")
    assert "$" not in third


def test_an_old_record_says_how_old_it_is_and_a_run_that_has_ended_how() -> None:
    cells = list(sweep_cells(1, 1, 1, 1))
    assert "(as of 42 s ago)" in drawn(run_view(iter(cells), silent_s=42.0), 100, 30)[0]
    ended = drawn(run_view(iter(cells), state="budget_spent"), 100, 30)[0]
    assert "budget spent 13 min" in ended
    assert "left" not in ended


def test_names_are_shown_as_they_are_and_act_on_no_terminal() -> None:
    cell = CellView("[red]m\x1b[2J", "s\nt", "d", "j", CellPhase.WAITING, 10, 0, 0, 0)
    text = "\n".join(drawn(run_view(iter([cell]), waits=("waiting: [/b]\x07",)), 100, 30))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert r"[red]m\x1b[2J" in text
    assert r"s\nt" in text


def test_a_line_says_the_same() -> None:
    view = run_view(sweep_cells(1, 1, 1, 1))
    assert describe_view(view) == (
        "485 of 1,000 rows (48%), 12 rows/s, 4,803 tokens/s, 0 errors, $1.20 of $5.00, about 90 min (50 to 150) left, "
        "2 replicas ready, 1 starting; waiting: connection refused by 127.0.0.1:1 for 35 s of 1800 s (gpt_4o)"
    )
