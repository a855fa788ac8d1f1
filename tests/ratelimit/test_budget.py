"""What a sweep may cost and has cost."""

from __future__ import annotations

from eibench_ray.ratelimit.budget import Budget


def test_funds_are_said_with_their_budget_if_there_is_one() -> None:
    assert str(Budget(None, 0.25)) == "$0.25"
    assert str(Budget(10.0, 0.25)) == "$0.25 of $10.00"


def test_what_is_spent_is_missing_from_what_is_left() -> None:
    funds = Budget(10.0, 4.0).spend(2.5)
    assert (funds.spent_usd, funds.left_usd) == (6.5, 3.5)
    assert funds.spend(100.0).left_usd == 0.0
    assert Budget(None, 4.0).spend(2.5).left_usd is None
