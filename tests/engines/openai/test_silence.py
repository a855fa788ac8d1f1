"""When an endpoint counts as dead."""

from __future__ import annotations

import pytest

from eibench_ray.engines.openai.silence import Silence


@pytest.mark.parametrize(
    ("heard", "lost", "is_dead"),
    [
        ([], [(0, 1)], False),
        ([], [(0, 1), (2, 9.9)], False),
        ([], [(0, 1), (2, 10)], True),
        ([], [(3, 12.9)], False),  # asked first at 3
        ([5], [(0, 14.9)], False),  # others were answered meanwhile
        ([5], [(0, 15)], True),
        ([5], [(100, 105)], False),  # nobody asked in between
        ([5], [(100, 105), (106, 110)], True),
    ],
)
def test_an_endpoint_is_dead_after_ten_silent_seconds(
    heard: list[float], lost: list[tuple[float, float]], is_dead: bool
) -> None:
    silence = Silence(10)
    for now in heard:
        silence.hear(now)
    assert [silence.is_over("gone", sent_at, now) for sent_at, now in lost][-1] == is_dead


def test_an_answer_ends_the_silence() -> None:
    silence = Silence(10)
    assert not silence.is_over("gone", 0, 9)
    silence.hear(9.5)
    assert not silence.is_over("gone", 10, 19)
