"""Cells of a run that are compared with each other, the families of their p-values, and their trust."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eibench_ray.scoring.cell_comparison import SIDES, CellState, Comparison, Family, adjust_pairs, compare_cells
from eibench_ray.scoring.scored_cell import ScoredCell
from eibench_ray.scoring.scorer import Metric

ACCURACY = Metric("accuracy")
VALUES = {"a": [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0], "b": [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]}


def cell(model: str, setting: str, judge: str, **changes: Any) -> ScoredCell:
    """Seven samples, each about a picture of its own; the third answer is the longest."""
    values = np.array(VALUES[model])
    words, clusters = np.array([2.0, 3.0, 9.0, 4.0, 5.0, 6.0, 7.0]), np.arange(7, dtype=np.int32)
    answers = f"{model} {setting}"
    facts = {"self_judged": False, "answers": answers, "metric": ACCURACY, "values": values} | changes
    return ScoredCell(model, setting, "faces", judge, **facts, words=words, clusters=clusters)


CELLS = [cell(model, setting, judge) for judge in ("one", "two") for model in "ab" for setting in ("plain", "told")]


def compared(*cells: ScoredCell) -> Comparison:
    return compare_cells(cells, SIDES, 0.95)


def test_models_are_compared_within_a_setting_and_settings_within_a_model_under_one_judge() -> None:
    pairs = compared(*CELLS).pairs
    assert [(pair.side, pair.judge, pair.within, pair.first, pair.second) for pair in pairs] == [
        (side, judge, within, first, second)
        for side, names, sharing in (("model", "ab", ("plain", "told")), ("setting", ("plain", "told"), "ab"))
        for judge in ("one", "two")
        for within in sharing
        for first, second in [names]
    ]
    assert {round(pair.paired.difference or 0.0, 9) for pair in pairs if pair.side == "model"} == {round(5 / 7, 9)}
    assert {pair.paired.difference for pair in pairs if pair.side == "setting"} == {0.0}


def test_a_pair_knows_which_of_its_models_judges_itself() -> None:
    [pair] = compared(cell("a", "plain", "one"), cell("b", "plain", "one", self_judged=True)).pairs
    assert (pair.first_self_judged, pair.second_self_judged) == (False, True)


@pytest.mark.parametrize(("family", "times"), [("table", 1), ("all", 2)])
def test_p_values_are_adjusted_over_their_table_or_over_all(family: Family, times: int) -> None:
    """Each judge's table of models has one pair here, and both pairs the same p-value."""
    pairs = compared(*(cell for cell in CELLS if cell.setting == "plain")).pairs
    adjusted = adjust_pairs(iter(pairs), family)
    assert [pair.judge for pair in adjusted] == ["one", "two"]
    assert [pair.p_holm for pair in adjusted] == [pytest.approx(times * pair.paired.p_value) for pair in pairs]


def test_length_is_related_to_the_score_of_each_cell() -> None:
    first, *_, last = compared(*CELLS).lengths
    assert (first.model, first.setting, first.dataset, first.judge) == ("a", "plain", "faces", "one")
    assert (last.model, last.judge, len(compared(*CELLS).lengths)) == ("b", "two", 8)
    assert first.correlation.rho is not None
    assert first.correlation.rho < 0


def test_a_pair_is_trusted_as_its_two_cells_are() -> None:
    comparison = compared(*CELLS)
    states = {("b", "told", "faces", "two"): CellState(is_partial=True)}
    comparison = Comparison(comparison.pairs, (), (), (), 0.95, states=states)
    doubtful = {
        (pair.side, pair.judge, pair.within): [state.is_comparable for state in comparison.states_of(pair)]
        for pair in comparison.pairs
        if not all(state.is_comparable for state in comparison.states_of(pair))
    }
    assert doubtful == {("model", "two", "told"): [True, False], ("setting", "two", "b"): [True, False]}


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["model", "made_up", "recorded"], "made_up"),
        (["model", "recorded"], "recorded"),
        (["model"], "model"),
        ([], "model"),
    ],
)
def test_verdicts_that_are_made_up_spoil_a_judges_figures(sources: list[Any], said: str) -> None:
    states = {(f"m{place}", "plain", "faces", "one"): CellState(judge_source=of) for place, of in enumerate(sources)}
    states |= {("m", "plain", "faces", "two"): CellState(judge_source="made_up")}
    assert Comparison((), (), (), (), 0.95, states=states).judge_source("faces", "one") == said
    assert CellState(judge_source="recorded").is_comparable
    assert not CellState(judge_source="made_up").is_comparable
