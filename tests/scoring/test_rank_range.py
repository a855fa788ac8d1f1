"""Ranks that chance allows."""

from dataclasses import replace

import pytest

from eibench_ray.scoring.accuracy import ACCURACY
from eibench_ray.scoring.cell_comparison import CellState, ComparedPair, Comparison
from eibench_ray.scoring.paired_tests import NOTHING_TO_COMPARE
from eibench_ray.scoring.rank_range import RankRange, rank_cells, rank_ranges


def pair(first: str, second: str, difference: float, p: float | None, **more: object) -> ComparedPair:
    paired = replace(NOTHING_TO_COMPARE, difference=difference)
    made = ComparedPair("model", "d", "j", ACCURACY, "plain", first, second, False, False, paired, p_holm=p)
    return replace(made, **more)  # type: ignore[arg-type]


def compared(*pairs: ComparedPair, **more: object) -> Comparison:
    return Comparison(pairs, (), (), (), 0.95, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("beaten", "ranges"),
    [
        (set(), [(1, 3), (1, 3), (1, 3)]),
        ({("a", "c"), ("b", "c")}, [(1, 2), (1, 2), (3, 3)]),
        ({("a", "b"), ("a", "c"), ("b", "c")}, [(1, 1), (2, 2), (3, 3)]),
        ({("a", "c")}, [(1, 2), (1, 3), (2, 3)]),
    ],
)
def test_a_rank_is_as_narrow_as_the_tests_say(beaten: set[tuple[str, str]], ranges: list[tuple[int, int]]) -> None:
    found = rank_ranges(["a", "b", "c"], beaten)
    assert [(one.best, one.worst) for one in found.values()] == ranges


def test_models_are_ranked_within_their_setting() -> None:
    found = rank_cells(
        compared(
            pair("a", "b", 0.3, 0.01),
            pair("a", "b", 0.3, 0.2, within="brief"),
            pair("plain", "brief", 0.5, 0.001, side="setting", within="a"),
        )
    )
    assert found == {
        ("a", "plain", "d", "j"): RankRange(1, 1, 2),
        ("b", "plain", "d", "j"): RankRange(2, 2, 2),
        ("a", "brief", "d", "j"): RankRange(1, 2, 2),
        ("b", "brief", "d", "j"): RankRange(1, 2, 2),
    }
    assert found["a", "brief", "d", "j"].is_tied_with_best
    assert not found["a", "plain", "d", "j"].is_tied_with_best


def test_settings_are_ranked_where_there_is_one_model() -> None:
    found = rank_cells(compared(pair("plain", "brief", -0.5, 0.001, side="setting", within="a")))
    assert found == {("a", "plain", "d", "j"): RankRange(2, 2, 2), ("a", "brief", "d", "j"): RankRange(1, 1, 2)}


def test_lower_is_better_where_the_metric_says_so() -> None:
    lower = replace(ACCURACY, direction="lower")
    found = rank_cells(compared(pair("a", "b", 0.3, 0.01, metric=lower)))
    assert found["b", "plain", "d", "j"].best == 1
    assert found["a", "plain", "d", "j"].best == 2


def test_a_cell_that_rests_on_some_samples_has_no_rank() -> None:
    states = {("b", "plain", "d", "j"): CellState(is_partial=True)}
    pairs = (pair("a", "b", 0.3, 0.01), pair("a", "c", 0.3, 0.01), pair("b", "c", 0.3, 0.01))
    assert {name[0] for name in rank_cells(compared(*pairs, states=states))} == {"a", "c"}
