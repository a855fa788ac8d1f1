"""Costs of rows, fitted to what runs have measured."""

from __future__ import annotations

import numpy as np
import pytest

from eibench_ray.rows.asked_work import AskedWork
from eibench_ray.schedule.row_costs import RowCosts, solve_non_negative

SHAPE = RowCosts(0.0, 0.001, 0.0005, 0.0001, 0.01)


def took(
    costs: RowCosts, rows: int, prompt: int, tokens: int, pictures: int = 0, at_once: float = 64.0
) -> tuple[AskedWork, float]:
    """Rows that cost so much, in a batch of that size."""
    busy_s = costs.busy_s(tokens, prompt, pictures)
    engine_s = rows * (costs.latency_s(tokens) / at_once + busy_s)
    return AskedWork(rows, rows * prompt, rows * tokens, rows * pictures, engine_s, at_once * engine_s), 1.0


def seconds(costs: RowCosts, work: AskedWork) -> float:
    shared_s = work.rows * costs.request_s + work.completion_tokens * costs.token_s
    return shared_s / work.at_once + costs.busy_s(work.completion_tokens, work.prompt_tokens, work.pictures)


@pytest.mark.parametrize("factor", [0.01, 1.0, 100.0])
def test_one_step_alone_is_foretold_as_it_was(factor: float) -> None:
    true = RowCosts(*(factor * cost for cost in (0.0, 0.002, 0.0002, 0.001, 0.2)))
    asked, weight = took(true, 100, 300, 40, 1)
    found = SHAPE.fit([(asked, weight)])
    assert seconds(found, asked) == pytest.approx(asked.engine_s, rel=0.02)


def test_several_steps_tell_what_prompts_replies_and_pictures_cost() -> None:
    true = RowCosts(0.0, 0.004, 0.0005, 0.0008, 0.3)
    steps = [took(true, 200, 60, 200, 1), took(true, 200, 900, 20), took(true, 100, 50, 150), took(true, 50, 40, 10, 2)]
    found = SHAPE.fit(steps)
    other, _ = took(true, 400, 400, 80, 1)
    assert seconds(found, other) == pytest.approx(other.engine_s, rel=0.1)


def test_what_only_waits_is_divided_by_the_rows_at_once() -> None:
    latency = RowCosts(0.5, 0.01, 0.0, 0.0, 0.0)
    asked, weight = took(RowCosts(1.0, 0.0, 0.0, 0.0, 0.0), 100, 50, 10, at_once=20.0)
    found = latency.fit([(asked, weight)])
    assert found.busy_s(10, 50, 0) == 0.0
    assert found.latency_s(10) == pytest.approx(1.0, rel=0.02)


def test_later_runs_count_more() -> None:
    slow, fast = took(RowCosts(0, 0, 0.02, 0, 0), 100, 0, 50)[0], took(RowCosts(0, 0, 0.01, 0, 0), 100, 0, 50)[0]
    found = RowCosts(0, 0, 1.0, 0, 0).fit([(fast, 1.0), (slow, 1 / 3)])
    assert 0.01 < found.busy_token_s < 0.015


def test_costs_that_would_be_negative_are_nought_as_in_scipys_solution() -> None:
    from scipy.optimize import nnls  # 0.2 s of each process that collects the tests

    random = np.random.default_rng(0)
    num_held = np.zeros(6, int)  # by the number of costs that are nought
    for _ in range(500):
        rows = random.normal(random.uniform(-1, 2), 1, (random.integers(1, 8), 5))
        matrix = np.concatenate([rows, 0.02 * np.diag(10 ** random.uniform(-3, 1, 5))])
        wanted = random.normal(random.uniform(-1, 2), 1, len(matrix))
        found = solve_non_negative(matrix, wanted)
        np.testing.assert_allclose(found, nnls(matrix, wanted)[0], rtol=1e-8, atol=1e-12)
        num_held[np.count_nonzero(found == 0)] += 1
    assert num_held.all()
