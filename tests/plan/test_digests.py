"""Digests and seeds: equal for equal values, and the same on every machine."""

from __future__ import annotations

from typing import Any

import pytest

from eibench_ray.rows.digests import derive_seed, digest, digest_input


def test_the_order_of_keys_does_not_count() -> None:
    assert digest({"a": 1, "b": [1, {"c": None, "d": 2}]}) == digest({"b": [1, {"d": 2, "c": None}], "a": 1})


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1}, {"a": "1"}), ([1, 2], [2, 1]), (["ab", "c"], ["a", "bc"]), (None, "null"), (True, 1), ("a", "a ")],
)
def test_different_values_have_different_digests(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


def test_digests_stay_as_they_are() -> None:
    """A change here would ask for every answer in every store again."""
    assert digest({"sampling": {"temperature": 0.0}, "words": ["é", "\ud800"]}, size=8) == "8f7940a0e34f3908"
    assert derive_seed(7, "step", "sample", 2) == 1886811537
    assert digest_input("row", ["a", "b"]) == "2f462b833bba85c0"


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}, {"a": {1}}, b"a"])
def test_what_has_no_canonical_text_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        digest(value)


def test_seeds_differ_by_what_they_are_for_and_fit_every_engine() -> None:
    seeds = {derive_seed(base, step, row) for base in (0, 1) for step in ("a", "b") for row in range(50)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)
