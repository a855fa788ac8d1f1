"""The policy, as a table of situations: what there is, and what is done about it."""

from __future__ import annotations

import pytest

from eibench_ray.schedule.policy import Action, Feed, Start, Stop, decide
from eibench_ray.schedule.state import NOTHING, EngineView, Phase, ReplicaView, Resources, State


def engine(
    key: str, *ready: int, blocked: int = 0, gpus: int = 1, expected_s: float = 100.0, max_replicas: int = 1
) -> EngineView:
    return EngineView(key, ready, blocked, Resources(1, gpus), 10.0, expected_s, max_replicas)


def replica(number: int, of: str, in_flight: int = 0, capacity: int = 8) -> ReplicaView:
    return ReplicaView(number, of, Phase.READY, capacity, in_flight)


def starting(number: int, of: str) -> ReplicaView:
    return ReplicaView(number, of, Phase.STARTING, 0, 0)


def state(
    engines: list[EngineView], replicas: list[ReplicaView] | None = None, gpus: int = 0, leaving: Resources = NOTHING
) -> State:
    return State({view.key: view for view in engines}, tuple(replicas or ()), Resources(64, gpus), leaving)


SITUATIONS: list[tuple[str, State, list[Action]]] = [
    ("nothing to do", state([], gpus=4), []),
    ("the first engine starts", state([engine("a", 4)], gpus=1), [Start("a")]),
    ("nothing fits", state([engine("a", 4, gpus=2)], gpus=1), []),
    ("an engine loads once", state([engine("a", 4, 4)], [starting(1, "a")], gpus=1), []),
    (
        "the longest is started first",
        state([engine("a", 4, expected_s=10), engine("b", 4, expected_s=99)], gpus=1),
        [Start("b")],
    ),
    ("all that fit are started", state([engine("a", 4), engine("b", 4)], gpus=2), [Start("a"), Start("b")]),
    (
        "a small engine takes what a large one cannot use",
        state([engine("big", 4, gpus=4, expected_s=99), engine("small", 4)], gpus=2),
        [Start("small")],
    ),
    ("a judge without a finished slice is not loaded", state([engine("j", blocked=40)], gpus=1), []),
    (
        "a judge starts beside the model when its first slice is ready",
        state([engine("a", 4, 4), engine("j", 4, blocked=40)], [replica(1, "a", in_flight=8)], gpus=1),
        [Start("j")],
    ),
    ("a replica is filled", state([engine("a", 4, 4, 4, 4)], [replica(1, "a")]), [Feed(1, 2)]),
    ("and gets one slice more than fits", state([engine("a", 3, 3, 3, 3)], [replica(1, "a")]), [Feed(1, 3)]),
    ("a full replica gets nothing", state([engine("a", 4)], [replica(1, "a", in_flight=8)]), []),
    ("a slice above the capacity is taken whole", state([engine("a", 100, 100)], [replica(1, "a")]), [Feed(1, 1)]),
    (
        "the emptiest replica is fed first",
        state([engine("a", 4, 4, 4)], [replica(1, "a", in_flight=6), replica(2, "a", in_flight=1)]),
        [Feed(2, 2), Feed(1, 1)],
    ),
    ("a replica that is through is stopped", state([engine("a")], [replica(1, "a")]), [Stop(1)]),
    ("one with rows in flight is not", state([engine("a")], [replica(1, "a", in_flight=1)]), []),
    ("a replica that is still starting is not stopped", state([engine("a")], [starting(1, "a")]), []),
    (
        "an idle replica stays while its rows are to come and nobody needs its GPU",
        state([engine("a", 4), engine("j", blocked=9)], [replica(1, "j"), replica(2, "a", in_flight=8)]),
        [],
    ),
    (
        "an idle replica in the way of an engine with work is stopped",
        state([engine("a", 4), engine("j", blocked=9)], [replica(1, "j")]),
        [Stop(1)],
    ),
    (
        "not when the other one fits beside it",
        state([engine("a", 4), engine("j", blocked=9)], [replica(1, "j")], gpus=1),
        [Start("a")],
    ),
    (
        "not when room is being made already",
        state([engine("a", 4), engine("j", blocked=9)], [replica(1, "j")], leaving=Resources(1, 1)),
        [],
    ),
    (
        "no more idle replicas are stopped than make room, those with the least to come first",
        state(
            [engine("a", 4), engine("j", blocked=9, expected_s=50), engine("k", blocked=9, expected_s=20)],
            [replica(1, "j"), replica(2, "k")],
        ),
        [Stop(2)],
    ),
    (
        "two are stopped where two are needed",
        state(
            [engine("a", 4, gpus=2), engine("j", blocked=9), engine("k", blocked=9)], [replica(1, "j"), replica(2, "k")]
        ),
        [Stop(1), Stop(2)],
    ),
    (
        "none where all of them are too little",
        state(
            [engine("a", 4, gpus=4), engine("j", blocked=9), engine("b", 4)],
            [replica(1, "j"), replica(2, "b", in_flight=8)],
        ),
        [],
    ),
    (
        "a smaller engine gets what is too little for a larger one",
        state(
            [engine("a", 4, gpus=4, expected_s=999), engine("c", 4), engine("j", blocked=9)],
            [replica(1, "j")],
        ),
        [Stop(1)],
    ),
    (
        "an idle replica that holds nothing is in nobody's way",
        State(
            {
                "a": engine("a", 4),
                "e": EngineView("e", (), 9, NOTHING, 1.0, 1.0, 1),
                "j": engine("j", blocked=9),
            },
            (replica(1, "e"), replica(2, "j")),
            Resources(64, 0),
            NOTHING,
        ),
        [Stop(2)],
    ),
    (
        "what one replica leaves goes to the engine that waits, not to a second copy",
        state([engine("a", 4), engine("b", *[4] * 9, max_replicas=4)], [replica(1, "b", in_flight=8)], gpus=0),
        [],
    ),
    (
        "second copies start where the backlog is more than the replicas hold",
        state([engine("a", *[4] * 9, max_replicas=3)], [replica(1, "a", in_flight=8)], gpus=8),
        [Start("a"), Start("a")],
    ),
    (
        "a second copy does not start for less than a batch",
        state([engine("a", 4, 3, max_replicas=3)], [replica(1, "a", in_flight=8)], gpus=8),
        [],
    ),
    (
        "nor for what the copy that is starting will take",
        state([engine("a", *[4] * 3, max_replicas=3)], [replica(1, "a", 8), starting(2, "a")], gpus=8),
        [],
    ),
    (
        "nor for work that takes less than loading it",
        state([engine("a", *[4] * 9, max_replicas=3, expected_s=19)], [replica(1, "a", in_flight=8)], gpus=8),
        [],
    ),
    (
        "nor for one slice, however large, that the copy that is starting will take",
        state([engine("a", 99, max_replicas=3)], [replica(1, "a", 8), starting(2, "a")], gpus=8),
        [],
    ),
    (
        "what can be fed is fed before a second copy is thought of",
        state([engine("a", *[4] * 4, max_replicas=3)], [replica(1, "a")], gpus=8),
        [Feed(1, 2)],
    ),
    (
        "nor before the first one says how much it holds",
        state([engine("a", *[4] * 9, max_replicas=3)], [starting(1, "a")], gpus=8),
        [],
    ),
    (
        "a first copy of an engine goes before a second one of another",
        state([engine("a", *[4] * 99, max_replicas=9, expected_s=999), engine("b", 4)], [replica(1, "a", 8)], gpus=1),
        [Start("b")],
    ),
    (
        "GPUs that only a large engine waits for are not given to second copies",
        state([engine("a", *[4] * 99, max_replicas=9), engine("big", 4, gpus=4)], [replica(1, "a", 8)], gpus=1),
        [],
    ),
    (
        "no more copies than are allowed",
        state([engine("a", *[4] * 99, max_replicas=2)], [replica(1, "a", 8), starting(2, "a")], gpus=9),
        [],
    ),
]


@pytest.mark.parametrize(
    ("situation", "actions"), [row[1:] for row in SITUATIONS], ids=[row[0].replace(" ", "_") for row in SITUATIONS]
)
def test_situation(situation: State, actions: list[Action]) -> None:
    assert decide(situation) == actions


def test_starts_never_take_more_than_is_free() -> None:
    engines = [engine(str(number), 4, gpus=number % 3 + 1, expected_s=number) for number in range(20)]
    starts = [action for action in decide(state(engines, gpus=7)) if isinstance(action, Start)]
    assert sum(int(start.engine) % 3 + 1 for start in starts) == 7
