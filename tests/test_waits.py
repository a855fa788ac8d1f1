"""Waits as people read them."""

from __future__ import annotations

import math

import pytest

from eibench_ray.rows.wait import Wait, gather_waits


@pytest.mark.parametrize(
    ("wait", "line"),
    [
        (
            Wait("connection refused by 127.0.0.1:1", 35.2, 1800.0),
            "waiting: connection refused by 127.0.0.1:1 for 35 s of 1800 s",
        ),
        (Wait("the engine to load", 12.0, math.inf, "llava"), "waiting: the engine to load for 12 s (llava)"),
        (
            Wait("batch b1 (in_progress)", 7300.0, 86400.0),
            "waiting: batch b1 (in_progress) for 2.0 h of 24.0 h",
        ),
    ],
)
def test_a_wait_is_one_line(wait: Wait, line: str) -> None:
    assert str(wait) == line


def test_what_several_replicas_wait_for_is_told_once_and_what_passes_at_once_is_not() -> None:
    waits = [Wait("a", 3.0, who="m"), Wait("a", 9.0, who="m"), Wait("b", 1.9), Wait("a", 4.0, who="n"), Wait("c", 30.0)]
    assert [str(wait) for wait in gather_waits(waits)] == [
        "waiting: c for 30 s",
        "waiting: a for 9 s (m)",
        "waiting: a for 4 s (n)",
    ]
