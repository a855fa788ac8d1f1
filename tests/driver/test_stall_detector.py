"""When a replica counts as hung: it has rows, and its count does not move while somebody looks."""

from __future__ import annotations

from eibench_ray.driver.watchdog import LONGEST_GAP_S, StallDetector


def test_time_without_progress_adds_up_only_while_there_are_rows() -> None:
    detector = StallDetector()
    assert [detector.look(7, float(now), is_busy=False) for now in range(3)] == [0, 0, 0]
    assert [detector.look(7, float(now), is_busy=True) for now in range(3, 7)] == [1, 2, 3, 4]
    assert detector.look(7, 7.0, is_busy=False) == 0


def test_any_progress_starts_the_clock_anew() -> None:
    detector = StallDetector()
    counts = [0, 0, 0, 1, 1, 5, 5]
    assert [detector.look(count, float(now), is_busy=True) for now, count in enumerate(counts)] == [0, 1, 2, 0, 1, 0, 1]


def test_a_replica_that_never_answered_waits_from_the_first_look() -> None:
    detector = StallDetector()
    assert [detector.look(0, 1000.0 + second, is_busy=True) for second in (0, 2, 4)] == [0, 2, 4]


def test_who_was_held_up_itself_blames_nobody() -> None:
    detector = StallDetector()
    detector.look(3, 0.0, is_busy=True)
    assert detector.look(3, 3600.0, is_busy=True) == LONGEST_GAP_S
    assert detector.look(4, 3601.0, is_busy=True) == 0
