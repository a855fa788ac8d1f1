"""The account of GPU time: every second in one kind, whatever happens, and in the right one where that can be told."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.schedule.gpu_accounting import account
from eibench_ray.schedule.gpu_usage import GpuUsage, share_cells, step_roles
from eibench_ray.schedule.replica_meter import TimeKind

if TYPE_CHECKING:
    from conftest import Sweeps


Event = dict[str, Any]

SEEDS = st.integers(0, 2**32)
ROLES = {"answer": TimeKind.GENERATING, "verdict": TimeKind.JUDGING}
CAPACITY = 8


def at(time: float, event: str, **fields: Any) -> Event:
    return {"time": time, "event": event, **fields}


def joined(time: float, node: str = "n", gpus: int = 1) -> Event:
    return at(time, "node_joined", node=node, name=f"host {node}", cpus=8, gpus=gpus)


def starting(time: float, replica: int = 1, nodes: Sequence[str] = ("n",), gpus: int = 1) -> Event:
    return at(time, "replica_starting", replica=replica, engine="e", model="m", nodes=list(nodes), gpus=gpus)


def placed(time: float, replica: int = 1) -> Event:
    return at(time, "replica_placed", replica=replica)


def ready(time: float, replica: int = 1) -> Event:
    return at(time, "replica_ready", replica=replica, engine="e", model="m", node="h", load_s=1.0, capacity=CAPACITY)


def sent(time: float, index: int = 0, rows: int = 4, step: str = "answer", replica: int = 1) -> Event:
    return at(time, "slice_sent", replica=replica, step=step, slice=index, rows=rows)


def committed(time: float, index: int = 0, step: str = "answer", seconds: float = 0.0, replica: int = 1) -> Event:
    return at(time, "slice_committed", replica=replica, step=step, slice=index, new=4, kept=0, seconds=seconds)


def stopping(time: float, replica: int = 1) -> Event:
    return at(time, "replica_stopping", replica=replica, engine="e")


def lost(time: float, replica: int = 1) -> Event:
    return at(time, "replica_lost", replica=replica, engine="e", model="m", reason="gone")


def stopped(time: float, replica: int = 1) -> Event:
    return at(time, "replica_stopped", replica=replica, engine="e")


START = [at(0, "run_started"), joined(0)]
UP = [*START, starting(0), placed(0), ready(0)]
RETURNED = at(8, "slice_returned", replica=1, step="answer", slice=1)
INTERRUPTED = committed(9) | {"event": "slice_interrupted"}
PROBED = committed(5) | {"event": "slice_probed", "rows": 2, "is_control": True}
TWO = [sent(0, 0), sent(0, 1), committed(4, 0)]  # a batch that is half empty from 4 on


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(
            [*START, starting(0), placed(2), ready(9)], {"waiting": 2, "loading": 7}, id="placed, then loaded"
        ),
        pytest.param([*START, starting(0), ready(9)], {"loading": 9}, id="nobody says when it was placed"),
        pytest.param([*START, starting(0), lost(3), stopped(5)], {"waiting": 3, "leaving": 2}, id="never placed"),
        pytest.param([*UP, sent(2), committed(9)], {"idle": 2, "generating": 7}, id="one slice"),
        pytest.param([*UP, sent(0, step="verdict"), committed(9, step="verdict")], {"judging": 9}, id="a judge"),
        pytest.param(
            [*UP, sent(0, rows=6), sent(0, rows=2, step="verdict"), at(8, "run_ended")],
            {"generating": 6, "judging": 2},
            id="both at once share by rows",
        ),
        pytest.param([*UP, *TWO, committed(9, 1)], {"generating": 4, "tail": 5}, id="the batch runs dry"),
        pytest.param(
            [*UP, *TWO, sent(6, 2), committed(9, 1), committed(9, 2)], {"generating": 9}, id="filled again in time"
        ),
        pytest.param(
            [*UP, sent(0, 0, 9), sent(0, 1, 9), committed(4, 0), committed(9, 1)],
            {"generating": 9},
            id="a full batch is left",
        ),
        pytest.param([*UP, *TWO, lost(7), RETURNED], {"generating": 4, "tail": 3, "leaving": 1}, id="lost at work"),
        pytest.param([*UP, stopping(1), stopped(3)], {"idle": 1, "leaving": 2}, id="stopped"),
        pytest.param([*UP, sent(0), INTERRUPTED], {"generating": 9}, id="interrupted"),
        pytest.param([*UP, sent(0), PROBED, at(9, "run_ended")], {"generating": 5, "idle": 4}, id="probed in part"),
        pytest.param([*UP, committed(9, seconds=7)], {"idle": 2, "generating": 7}, id="nobody saw the slice leave"),
        pytest.param([*UP, sent(5), committed(2), committed(9)], {"idle": 9}, id="the clock was set back"),
    ],
)
def test_time_of_a_replica_by_kind(events: list[Event], expected: dict[str, float]) -> None:
    assert account(events, ROLES).seconds() == expected


def test_gpus_that_are_given_back_are_no_part_of_what_the_run_kept() -> None:
    start = [at(0, "run_started"), joined(0, gpus=2), starting(0), stopped(3)]
    events = [*start, at(4, "gpus_released", gpus=2), joined(5, "late"), at(6, "node_left", node="n")]
    ended = account([*events, at(9, "run_ended")], ROLES)
    assert ended.seconds() == {"waiting": 3, "no_work": 4 + 1}
    assert ended.given_back_s == 2 * 2 + 4  # until the first node left, and all of the one that came too late
    assert account(events, ROLES, until=9) == replace(ended, unheld=ended.unheld)  # also while the run still goes on


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([], {"unassigned": 18}, id="nothing has been started yet"),
        pytest.param([at(9, "run_ended")], {"no_work": 18}, id="nothing was ever started"),
        pytest.param([starting(4, gpus=2)], {"nothing_ready": 8, "waiting": 10}, id="it would have fitted before"),
        pytest.param(
            [starting(0, 1), starting(4, 2, ["other"], gpus=2), at(9, "run_ended")],
            {"does_not_fit": 4, "no_work": 5, "waiting": 9 + 2 * 5},
            id="the next one needs more than is free here",
        ),
        pytest.param(
            [starting(0, 1), starting(2, 2, ["other"], gpus=2), starting(4, 3, ["other"])],
            {"does_not_fit": 2, "nothing_ready": 2, "unassigned": 5, "waiting": 9 + 2 * 7 + 5},
            id="each moment by the start that follows",
        ),
        pytest.param(
            [starting(0, gpus=2), at(4, "node_left", node="n")], {"waiting": 8}, id="a node that left has no time"
        ),
        pytest.param(
            [starting(0, gpus=2), at(4, "node_left", node="n"), joined(6, gpus=2), at(9, "run_ended")],
            {"waiting": 8, "no_work": 6},
            id="and has it again when it is back",
        ),
        pytest.param(
            [starting(5, gpus=2), stopped(3), at(9, "run_ended")],
            {"nothing_ready": 10, "no_work": 8},
            id="no second is counted twice where the clock was set back",
        ),
        pytest.param([starting(0, 1), starting(0, 1)], {"unassigned": 9, "waiting": 9}, id="one number, one replica"),
    ],
)
def test_time_of_gpus_that_no_replica_holds_by_cause(events: list[Event], expected: dict[str, float]) -> None:
    start = [at(0, "run_started"), joined(0, gpus=2)]
    assert account([*start, *events], ROLES, until=9).seconds() == expected


def test_a_replica_over_two_nodes_ends_with_either() -> None:
    usage = account(
        [joined(0, "a", 2), joined(0, "b", 2), starting(0, nodes=["a", "b"], gpus=4), at(5, "node_left", node="a")],
        ROLES,
        until=9,
    )
    assert usage.seconds() == {"waiting": 20, "unassigned": 8}
    assert [(gpu.node, gpu.index) for gpu in usage.replicas[0].gpus] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_gpus_of_a_node_that_nobody_announced_count_as_they_are_held() -> None:
    usage = account([starting(0, nodes=["x"], gpus=2), starting(1, 2, nodes=["x"])], ROLES, until=9)
    assert (usage.unit, usage.num_gpus) == ("GPU", 3)
    assert usage.seconds() == {"waiting": 2 * 9 + 8}


def test_a_run_without_gpus_counts_replicas() -> None:
    usage = account([joined(0, gpus=0), starting(0, 1, gpus=0), starting(3, 2, gpus=0), ready(5, 1)], ROLES, until=9)
    assert (usage.unit, usage.num_gpus) == ("replica", 0)
    assert usage.seconds() == {"waiting": 6, "loading": 5, "idle": 4}


def test_beside_gpus_a_replica_without_any_counts_nothing() -> None:
    usage = account([joined(0), starting(0), starting(0, 2, nodes=(), gpus=0)], ROLES, until=9)
    assert usage.unit == "GPU"
    assert usage.seconds() == {"waiting": 9}
    assert usage.replicas[1].seconds == {"waiting": 9}


def test_an_old_ledger_without_nodes_and_gpus_still_gives_its_replicas() -> None:
    start = at(0, "replica_starting", replica=1, engine="e", model="m")
    usage = account([start, ready(2), committed(6, 0, seconds=3), committed(8, 1, seconds=5), stopping(8)], ROLES)
    assert usage.unit == "replica"
    assert usage.seconds() == {"loading": 2, "generating": 5, "idle": 1}


def test_a_ledger_that_was_appended_to_leaves_out_the_time_between_its_runs() -> None:
    again = [at(100, "run_started"), joined(100), starting(102), at(109, "run_ended")]
    usage = account([*START, starting(0), at(9, "slice_sent", replica=7, step="answer", slice=0), *again], ROLES)
    assert (usage.start, usage.end, usage.duration_s) == (0, 109, 18)
    assert usage.seconds() == {"waiting": 9 + 7, "nothing_ready": 2}


def test_spans_are_merged_and_show_the_kind_with_more_rows() -> None:
    mixed = [sent(0, 0, 6), sent(2, 0, 2, "verdict"), committed(4, 0, "verdict"), committed(9, 0)]
    (replica,) = account([*UP, *mixed], ROLES).replicas
    assert [(span.kind, span.start, span.end) for span in replica.spans] == [("generating", 0, 4), ("tail", 4, 9)]
    assert replica.seconds == {"generating": 3.5, "judging": 0.5, "tail": 5}
    assert replica.step_seconds == {"answer": {"generating": 3.5, "tail": 5}, "verdict": {"judging": 0.5}}


def test_cells_share_their_steps_and_what_their_engines_cost(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    cells = (sweeps.config("plain", judge=name) for name in ("strict", "other", "official"))
    plan = sweeps.plan(*cells).plan
    roles = step_roles(plan)
    steps = {
        step.id: replace(step, engine="judge" if roles[step.id] is TimeKind.JUDGING else "subject")
        for step in plan.steps.values()
    }
    plan = replace(plan, steps=steps)
    first, *_ = plan.cells
    events = [
        *START,
        starting(0, 1) | {"engine": "subject"},
        ready(3, 1),
        sent(3, step=first.answer),
        committed(9, step=first.answer),
        stopped(9),
        starting(9, 2, gpus=2) | {"engine": "judge"},
        ready(12, 2),
        sent(12, step=first.verdicts[0], replica=2),
        committed(14, step=first.verdicts[0], replica=2),
    ]
    parts = [dict(part.seconds) for part in share_cells(account(events, roles), plan)]
    shared = {"loading": 1 + 2 * 1, "generating": 2}
    assert parts == [shared | {"judging": 2 * 2}, shared, shared]


@dataclass
class Story:
    """A random ledger of a cluster that never holds more than it has; some replicas die, some nodes come and go."""

    chance: random.Random
    nodes: dict[str, int] = field(default_factory=dict)  # id -> free GPUs
    held: dict[int, dict[str, int]] = field(default_factory=dict)
    phase: dict[int, str] = field(default_factory=dict)
    flying: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    now: float = 0.0
    gpu_seconds: float = 0.0
    names: int = 0

    def tell(self, length: int, most_gpus: int) -> Iterator[Event]:
        yield at(0, "run_started")
        for _ in range(length):
            self.pass_time()
            yield from self.happen(most_gpus)
        self.pass_time()
        if self.chance.random() < 0.7:
            yield at(self.now, "run_ended")
        else:
            yield at(self.now, "interrupted")

    def pass_time(self) -> None:
        step = self.chance.choice([0, 0, 1, 2.5])
        self.now += step
        self.gpu_seconds += step * self.num_gpus

    @property
    def num_gpus(self) -> int:
        return sum(self.nodes.values()) + sum(sum(held.values()) for held in self.held.values())

    def happen(self, most_gpus: int) -> Iterator[Event]:
        if not self.nodes or self.chance.random() < 0.1:
            self.names += 1
            self.nodes[f"n{self.names}"] = gpus = self.chance.randint(0, most_gpus)
            yield joined(self.now, f"n{self.names}", gpus)
        elif self.chance.random() < 0.05:
            yield from self.lose_node(self.chance.choice(list(self.nodes)))
        elif not self.phase or self.chance.random() < 0.3:
            yield from self.start()
        else:
            yield from self.go_on(self.chance.choice(list(self.phase)))

    def start(self) -> Iterator[Event]:
        nodes = self.chance.sample(list(self.nodes), self.chance.randint(0, min(2, len(self.nodes))))
        share = self.chance.randint(0, min((self.nodes[node] for node in nodes), default=0))
        self.names += 1
        for node in nodes:
            self.nodes[node] -= share
        self.held[self.names] = dict.fromkeys(nodes, share)
        self.phase[self.names], self.flying[self.names] = "starting", []
        yield starting(self.now, self.names, nodes, share * len(nodes))

    def go_on(self, replica: int) -> Iterator[Event]:
        phase, flying = self.phase[replica], self.flying[replica]
        if phase == "leaving":
            self.free(replica)
            yield stopped(self.now, replica)
        elif self.chance.random() < 0.1:
            self.phase[replica] = "leaving"
            yield (lost if flying else stopping)(self.now, replica)
        elif phase == "starting" and self.chance.random() < 0.5:
            self.phase[replica] = "placed"
            yield placed(self.now, replica)
        elif phase != "ready":
            self.phase[replica] = "ready"
            yield ready(self.now, replica)
        elif flying and self.chance.random() < 0.5:
            step, index = flying.pop(self.chance.randrange(len(flying)))
            yield committed(self.now, index, step, 1.0, replica)
        else:
            self.names += 1
            step = self.chance.choice(["answer", "verdict"])
            flying.append((step, self.names))
            yield sent(self.now, self.names, self.chance.randint(1, 6), step, replica)

    def lose_node(self, node: str) -> Iterator[Event]:
        victims = [replica for replica, held in self.held.items() if node in held]
        for replica in victims:
            self.free(replica)
        del self.nodes[node]
        yield at(self.now, "node_left", node=node)
        yield from (lost(self.now, replica) for replica in victims)

    def free(self, replica: int) -> None:
        for node, gpus in self.held.pop(replica).items():
            self.nodes[node] += gpus
        del self.phase[replica], self.flying[replica]


def told(seed: int, length: int, most_gpus: int) -> tuple[Story, GpuUsage]:
    story = Story(random.Random(seed))
    return story, account(story.tell(length, most_gpus), ROLES)


@given(SEEDS, st.integers(0, 120), st.integers(1, 8))
def test_every_gpu_second_is_in_exactly_one_kind(seed: int, length: int, most_gpus: int) -> None:
    story, usage = told(seed, length, most_gpus)
    if usage.unit == "GPU":
        assert sum(usage.seconds().values()) == pytest.approx(story.gpu_seconds)
    assert usage.duration_s == story.now


@given(SEEDS, st.integers(0, 120))
def test_without_gpus_every_second_of_a_replica_is_in_exactly_one_kind(seed: int, length: int) -> None:
    _, usage = told(seed, length, 0)
    assert usage.unit == "replica"
    lives = sum(replica.end - replica.start for replica in usage.replicas)
    assert sum(usage.seconds().values()) == pytest.approx(lives)


@given(SEEDS, st.integers(0, 120), st.integers(1, 8))
def test_spans_have_no_gap_and_no_gpu_is_in_two(seed: int, length: int, most_gpus: int) -> None:
    _, usage = told(seed, length, most_gpus)
    taken = [(gpu, span) for unheld in usage.unheld for gpu in unheld.gpus for span in [unheld.span]]
    for replica in usage.replicas:
        edges = [replica.start, *(span.end for span in replica.spans)]
        assert [span.start for span in replica.spans] == edges[:-1]
        assert edges[-1] == replica.end
        assert sum(replica.seconds.values()) == pytest.approx(replica.end - replica.start)
        taken += [(gpu, span) for gpu in replica.gpus for span in replica.spans]
    taken.sort(key=lambda entry: (entry[0].node, entry[0].index, entry[1].start))
    for (gpu, span), (next_gpu, next_span) in itertools.pairwise(taken):
        assert gpu != next_gpu or span.end <= next_span.start


def test_kinds_of_time_have_words() -> None:
    assert TimeKind.NO_WORK.label == "no replica needed"
    assert TimeKind.DOES_NOT_FIT.label == "does not fit"
    assert len({kind.label for kind in TimeKind}) == len(TimeKind)
