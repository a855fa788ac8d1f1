"""A task: a slice's rows are asked and committed, each exactly once."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.benchmarks.eibench.strict_scorer import StrictScorer
from eibench_ray.config.engine_section import PriceSection
from eibench_ray.config.schema import RunConfig
from eibench_ray.config.setting import SettingConfig
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.engines.echo import EchoEngine, EchoSection
from eibench_ray.engines.engine import Engine, EngineDeadError, EngineFacts, RowError
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.errors import ScoreError, StoreError
from eibench_ray.plan.prompt_templates import PlacedText, render_placed
from eibench_ray.plan.slices import Slice
from eibench_ray.ratelimit.rate_limiter import BudgetSpentError
from eibench_ray.rows.completion import Completion, RowErrorKind
from eibench_ray.rows.request import Reply, Request
from eibench_ray.rows.sample import Media, Sample
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.store.slice_store import Store
from eibench_ray.worker.row_attempts import Asker, ReplicaCounts
from eibench_ray.worker.rows_in_flight import Drain
from eibench_ray.worker.task import TaskReport, run_task

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps


class Gated:
    """An engine whose replies wait for a gate, and fail as a test says; it counts what is in flight."""

    def __init__(self, fail: Callable[[Request], None] = lambda _: None) -> None:
        self.gates: dict[str, asyncio.Event] = {}
        self.in_flight = 0
        self.most_in_flight = 0
        self._fail = fail

    async def start(self) -> EngineFacts:
        return EngineFacts("gated", 4)

    def closed(self) -> list[asyncio.Event]:
        """The gates that somebody waits for, in the order of their coming."""
        return [admission for admission in self.gates.values() if not admission.is_set()]

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:  # noqa: ARG002
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.gates.setdefault(request.sample_id, asyncio.Event()).wait()
            self._fail(request)
        finally:
            self.in_flight -= 1
        return Reply("an answer", "stop", 1, 2)

    async def stop(self) -> None:
        pass


class Decoding:
    """The echo engine, but it looks at its pictures."""

    def __init__(self) -> None:
        self._echo = EchoEngine(EchoSection(kind="echo"))

    async def start(self) -> EngineFacts:
        return await self._echo.start()

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        decode_picture(*images)
        return await self._echo.generate(request, images)

    async def stop(self) -> None:
        pass


async def run_first(
    sweep: PlannedSweep,
    engine: Engine,
    *,
    num_slots: int = 8,
    drain: Drain | None = None,
    costs_money: bool = False,
    store: Store | None = None,
    counts_so_far: ReplicaCounts | None = None,
) -> TaskReport:
    """Runs the first slice of the first step."""
    step = next(iter(sweep.plan.steps.values()))
    spec = sweep.plan.datasets[step.dataset]
    sweep.store.fix_slice_rows(step.id, sweep.slice_rows[step.id], {})
    dataset = open_dataset(spec.path)
    slots = asyncio.Semaphore(num_slots)
    asker = Asker(engine, "print", slots, 30.0, "this run", counts_so_far or ReplicaCounts(), costs_money)
    slice_ = Slice(step.id, 0, 0, min(sweep.slice_rows[step.id], spec.num_rows))
    index = dataset.index()
    return await run_task(step, slice_, dataset, index, store or sweep.store, asker, drain or Drain())


async def until(is_true: Callable[[], bool]) -> None:
    """Lets the event loop, and the threads behind it, go on until something holds."""
    async with asyncio.timeout(10):
        while not is_true():
            await asyncio.sleep(0)


def test_every_row_has_one_completion_in_the_datasets_order(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))
    report = asyncio.run(run_first(sweep, EchoEngine(EchoSection(kind="echo"))))
    rows = sweeps.rows(sweep, "answer")
    assert list(rows) == [f"s{number:03d}" for number in range(10)]
    assert all(row.text and row.input_digest and row.run_id == "this run" for row in rows.values())
    assert (report.num_new, report.num_kept, report.num_errors, report.is_whole) == (10, 0, 0, True)
    assert report.completion_tokens == sum(row.completion_tokens for row in rows.values()) > 0


def test_a_corrupt_picture_costs_its_row_alone(sweeps: Sweeps) -> None:
    sweeps.write_dataset(images={1: b"no picture", 3: b""})
    sweep = sweeps.plan(sweeps.config(slice_rows=10))
    report = asyncio.run(run_first(sweep, Decoding()))
    rows = sweeps.rows(sweep, "answer")
    assert {name: row.error_kind for name, row in rows.items() if row.error_kind} == {"s001": "image", "s003": "image"}
    assert (report.num_new, report.num_errors, report.is_whole) == (8, 2, True)


def test_a_prompt_that_cannot_be_made_costs_its_row_alone(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(template: str, sample: Sample, answers: Mapping[str, str]) -> PlacedText:
        return render_placed("{{ 'a' * 10**9 }}" if sample.sample_id == "s001" else template, sample, answers)

    monkeypatch.setattr("eibench_ray.worker.request_builder.render_placed", make)
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))
    report = asyncio.run(run_first(sweep, EchoEngine(EchoSection(kind="echo"))))
    row = sweeps.rows(sweep, "answer")["s001"]
    assert row.error_kind == "prompt"
    assert row.error is not None
    assert row.error.startswith("its prompt cannot be made: it makes too long a text")
    assert (report.num_new, report.num_errors, report.is_whole) == (9, 1, True)


def test_a_scorer_that_fails_before_the_judge_is_asked_costs_its_row_alone(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_it_is = StrictScorer.schema

    def make(scorer: StrictScorer, sample: Sample) -> dict[str, Any]:
        if sample.sample_id == "s003":
            raise ScoreError("three is too many")
        return as_it_is(scorer, sample)

    monkeypatch.setattr(StrictScorer, "schema", make)
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config())
    sweeps.ask(sweep)
    [verdict] = sweep.plan.cells[0].verdicts
    rows = sweeps.rows(sweep, sweep.plan.steps[verdict].name)
    [row] = [row for row in rows.values() if row.error_kind is not None]
    assert (row.sample_id, row.error_kind) == ("s003", RowErrorKind.PROMPT)
    assert row.error == "its prompt cannot be made: three is too many"


def test_rows_that_stand_count_as_finished(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    def fail_s001(request: Request) -> str:
        if request.sample_id == "s001":
            raise RowError(RowErrorKind.ENGINE, "again, please")
        return "fine"

    sweeps.write_dataset()
    sweep, counts_so_far = sweeps.plan(sweeps.config(slice_rows=10)), ReplicaCounts()
    asyncio.run(run_first(sweep, scripted(fail_s001)))
    report = asyncio.run(run_first(sweep, again := scripted(), counts_so_far=counts_so_far))
    assert [request.sample_id for request in again.requests] == ["s001"]
    assert counts_so_far.rows == report.num_new + report.num_kept + report.num_errors == 10


def test_a_row_behind_an_error_is_answered_without_a_request(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    def refuse_s002(request: Request) -> str:
        if request.sample_id == "s002" and request.images:
            raise RowError(RowErrorKind.PROMPT, "too long")
        return "fine"

    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("noted"))
    engine = scripted(refuse_s002)
    sweeps.ask(sweep, engine)
    kinds = [sweeps.rows(sweep, name)["s002"].error_kind for name in ("note", "answer", "verdict")]
    assert kinds == ["prompt", "upstream", "upstream"]
    assert sum(request.sample_id == "s002" for request in engine.requests) == 1
    assert sum(row.error_kind is not None for row in sweeps.rows(sweep, "verdict").values()) == 1


def test_prompts_read_the_answers_before_them(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset([7])
    engine = scripted(lambda request: f"<{request.user}>")
    sweeps.ask(sweeps.plan(sweeps.config("noted")), engine)
    assert [request.user for request in engine.requests[:2]] == [
        "Describe: source 7",
        "<Describe: source 7> So: why is person 7 so?",
    ]


def test_the_slots_bound_what_is_in_flight(sweeps: Sweeps) -> None:
    sweeps.write_dataset()

    async def run() -> Gated:
        engine = Gated()
        task = asyncio.create_task(run_first(sweeps.plan(sweeps.config(slice_rows=10)), engine, num_slots=3))
        await until(lambda: engine.in_flight == 3)
        while not task.done():
            for admission in engine.gates.values():
                admission.set()
            await asyncio.sleep(0)
        assert (await task).num_new == 10
        return engine

    assert asyncio.run(run()).most_in_flight == 3


def test_an_interrupt_commits_what_is_finished(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))

    async def run() -> TaskReport:
        engine, drain = Gated(), Drain()
        task = asyncio.create_task(run_first(sweep, engine, drain=drain))
        await until(lambda: engine.in_flight == 8)
        engine.gates["s000"].set()
        engine.gates["s001"].set()
        await until(lambda: len(engine.gates) == 10)
        drain.order(0.0)
        report = await task
        assert engine.in_flight == 0
        return report

    report = asyncio.run(run())
    assert (report.num_new, report.is_whole) == (2, False)
    assert list(sweeps.rows(sweep, "answer")) == ["s000", "s001"]
    engine = scripted()
    sweeps.ask(sweeps.plan(sweeps.config(slice_rows=10)), engine)
    assert sum(bool(request.images) for request in engine.requests) == 8


@pytest.mark.parametrize("error", [EngineDeadError("gone"), RuntimeError("a bug")])
def test_a_failure_of_the_engine_commits_what_is_finished_and_is_raised(sweeps: Sweeps, error: Exception) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))

    def fail(request: Request) -> None:
        if request.sample_id == "s005":
            raise error

    async def run() -> None:
        engine = Gated(fail)
        task = asyncio.create_task(run_first(sweep, engine))
        await until(lambda: engine.in_flight == 8)
        engine.gates["s000"].set()
        await until(lambda: "s008" in engine.gates)
        engine.gates["s005"].set()
        with pytest.raises(type(error), match=str(error)):
            await task
        assert engine.in_flight == 0

    asyncio.run(run())
    assert list(sweeps.rows(sweep, "answer")) == ["s000"]


def test_rows_that_a_dead_replica_committed_in_this_run_count_as_new(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))
    asyncio.run(run_first(sweep, EchoEngine(EchoSection(kind="echo"))))
    step = next(iter(sweep.plan.steps))
    rows = list(sweep.store.read_slice(step, 0).values())
    sweep.store.write_slice(step, 0, [replace(row, run_id="earlier run") for row in rows[:3]] + rows[3:5])
    report = asyncio.run(run_first(sweep, EchoEngine(EchoSection(kind="echo"))))
    assert (report.num_new, report.num_kept) == (7, 3)


def test_rows_in_the_store_are_not_asked_again(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))
    asyncio.run(run_first(sweep, scripted()))
    engine = scripted()
    report = asyncio.run(run_first(sweep, engine))
    assert engine.requests == []
    assert report.is_whole


def test_an_answer_that_vanished_meanwhile_is_named(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    answers, verdicts = sweep.plan.steps.values()
    sweep.store.paths.slice(answers.id, 0).unlink()
    dataset = open_dataset(sweep.plan.datasets["faces"].path)
    asker = Asker(EchoEngine(EchoSection(kind="echo")), "print", asyncio.Semaphore(1), 1.0, "run", ReplicaCounts())
    task = run_task(verdicts, Slice(verdicts.id, 0, 0, 4), dataset, dataset.index(), sweep.store, asker, Drain())
    with pytest.raises(StoreError, match=r"reads answer of sample 's000', which the store no longer has"):
        asyncio.run(task)


@pytest.mark.parametrize(("num_slots", "most"), [(1, 1), (3, 3), (20, 10)])
def test_rows_wait_for_slots_and_not_for_one_another(sweeps: Sweeps, num_slots: int, most: int) -> None:
    sweeps.write_dataset()

    async def run() -> Gated:
        engine = Gated()
        task = asyncio.create_task(run_first(sweeps.plan(sweeps.config(slice_rows=10)), engine, num_slots=num_slots))
        for num_left in range(10, 0, -1):  # the row that came last is answered first
            await until(lambda: len(engine.closed()) == min(most, num_left))  # noqa: B023
            engine.closed()[-1].set()
        assert (await task).num_new == 10
        return engine

    assert asyncio.run(run()).most_in_flight == most


def test_tasks_share_the_slots_of_their_replica(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(12))
    sweep = sweeps.plan(sweeps.config(slice_rows=4))
    step = next(iter(sweep.plan.steps.values()))
    sweep.store.fix_slice_rows(step.id, 4, {})
    dataset = open_dataset(sweep.plan.datasets["faces"].path)

    async def run() -> Gated:
        engine = Gated()
        asker = Asker(engine, "print", asyncio.Semaphore(5), 30.0, "run", ReplicaCounts())
        tasks = [
            asyncio.create_task(run_task(step, slice_, dataset, dataset.index(), sweep.store, asker, Drain()))
            for slice_ in sweep.work[step.id].todo
        ]
        await until(lambda: engine.in_flight == 5)
        while not all(task.done() for task in tasks):
            for admission in engine.gates.values():
                admission.set()
            await asyncio.sleep(0)
        assert [task.result().num_new for task in tasks] == [4, 4, 4]
        return engine

    assert asyncio.run(run()).most_in_flight == 5


class GatedStore(Store):
    """A store whose writes wait for a gate; it counts them."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.paths.root)
        self.admission = threading.Event()
        self.is_full = False
        self.sizes: list[int] = []
        self.num_writing = 0

    def write_slice(self, step_id: str, index: int, rows: Sequence[Completion], **options: object) -> object:
        self.num_writing += 1
        assert self.num_writing == 1
        self.sizes.append(len(rows))
        assert self.admission.wait(10)
        self.num_writing -= 1
        if self.is_full:
            raise StoreError("the disk is full")
        return super().write_slice(step_id, index, rows, **options)


def test_rows_that_cost_money_are_committed_as_they_come_one_write_at_a_time(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))
    store = GatedStore(sweep.store)

    async def run() -> None:
        engine = Gated()
        task = asyncio.create_task(run_first(sweep, engine, costs_money=True, store=store))
        await until(lambda: engine.in_flight == 8)
        engine.gates["s000"].set()
        await until(lambda: store.sizes == [1])
        for name in ("s001", "s002", "s003"):  # they come while the first one is written
            engine.gates[name].set()
        await until(lambda: len(engine.gates) == 10)
        store.admission.set()
        await until(lambda: len(sweeps.rows(sweep, "answer")) == 4)
        assert store.sizes == [1, 4]
        await until(lambda: store.num_writing == 0)
        assert not task.done()
        for admission in engine.gates.values():
            admission.set()
        assert (await task).is_whole

    asyncio.run(run())
    assert list(sweeps.rows(sweep, "answer")) == [f"s{number:03d}" for number in range(10)]


def test_rows_that_cost_nothing_are_committed_once(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))
    store = GatedStore(sweep.store)
    store.admission.set()
    asyncio.run(run_first(sweep, EchoEngine(EchoSection(kind="echo")), store=store))
    assert store.sizes == [10]


def test_nothing_more_is_paid_for_once_rows_cannot_be_committed(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))
    store = GatedStore(sweep.store)
    store.admission.set()
    store.is_full = True

    async def run() -> None:
        engine = Gated()
        task = asyncio.create_task(run_first(sweep, engine, num_slots=1, costs_money=True, store=store))
        await until(lambda: engine.in_flight == 1)
        engine.gates["s000"].set()
        with pytest.raises(StoreError, match="the disk is full"):
            await task
        assert list(engine.gates) == ["s000", "s001"]

    asyncio.run(run())


PRICE = PriceSection(input=1e6, output=1e6)  # a dollar per token


def ask_until_killed(sweep: PlannedSweep, last: str) -> None:
    """Asks for rows at a dollar per word, and dies when `last` is committed and the one after it is asked."""
    step = next(iter(sweep.plan.steps))

    class Deadly(EchoEngine):
        async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
            if request.sample_id > last:
                await until(lambda: last in sweep.store.read_slice(step, 0))
                os.kill(os.getpid(), signal.SIGKILL)
            return await super().generate(request, images)

    asyncio.run(run_first(sweep, Deadly(EchoSection(kind="echo", price=PRICE)), num_slots=1, costs_money=True))


def test_a_kill_loses_no_row_that_was_paid_for(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))
    process = multiprocessing.get_context("spawn").Process(target=ask_until_killed, args=(sweep, "s005"))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    paid = sweeps.rows(sweep, "answer")
    assert list(paid) == [f"s{number:03d}" for number in range(6)]
    assert all(row.cost_usd for row in paid.values())
    engine = scripted()
    report = asyncio.run(run_first(sweep, engine))
    assert [request.sample_id for request in engine.requests] == ["s006", "s007", "s008", "s009"]
    assert report.is_whole
    assert sweep.store.read_cost(next(iter(sweep.plan.steps))) == sum(row.cost_usd or 0 for row in paid.values())


def test_a_spent_budget_lets_what_is_in_flight_finish_and_asks_no_more(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))

    def refuse(request: Request) -> None:
        if request.sample_id in ("s001", "s004"):
            raise BudgetSpentError("$1 of $1 are spent")

    async def run() -> TaskReport:
        engine = Gated(refuse)
        task = asyncio.create_task(run_first(sweep, engine, num_slots=4, costs_money=True))
        await until(lambda: engine.in_flight == 4)
        engine.gates["s001"].set()
        await until(lambda: engine.in_flight == 3)
        assert list(engine.gates) == ["s000", "s001", "s002", "s003"]
        for admission in engine.gates.values():
            admission.set()
        report = await task
        assert list(engine.gates) == ["s000", "s001", "s002", "s003"]
        return report

    report = asyncio.run(run())
    assert (report.num_new, report.is_whole, report.shortage) == (3, False, "$1 of $1 are spent")
    assert list(sweeps.rows(sweep, "answer")) == ["s000", "s002", "s003"]


@pytest.mark.parametrize(("grace_s", "answered"), [(5.0, ["s000", "s001"]), (0.1, ["s000"]), (0.0, [])])
def test_a_halt_awaits_rows_in_flight_in_the_time_of_grace(sweeps: Sweeps, grace_s: float, answered: list[str]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))

    async def run() -> TaskReport:
        engine, drain = Gated(), Drain()
        task = asyncio.create_task(run_first(sweep, engine, num_slots=2, drain=drain))
        await until(lambda: engine.in_flight == 2)
        drain.order(grace_s)
        for _ in range(10):
            await asyncio.sleep(0)
        engine.gates["s000"].set()
        if grace_s > 1:
            engine.gates["s001"].set()
        report = await task
        assert list(engine.gates) == ["s000", "s001"]  # and nothing else was asked
        return report

    report = asyncio.run(run())
    assert (report.num_new, report.is_whole) == (len(answered), False)
    assert list(sweeps.rows(sweep, "answer")) == answered
    assert len(sweep.store.list_slices(next(iter(sweep.plan.steps)))) == bool(answered)  # no file without rows


def test_what_a_replaced_row_cost_stays_with_the_row_that_replaces_it(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))
    config = EchoSection(kind="echo", price=PRICE)
    first = asyncio.run(run_first(sweep, EchoEngine(config), costs_money=True))
    step = next(iter(sweep.plan.steps))
    paid = sweep.store.read_slice(step, 0)
    assert first.cost_usd == sweep.store.read_cost(step) == sum(row.cost_usd or 0 for row in paid.values()) > 0
    failed = replace(paid["s003"], error_kind="timeout", text=None, cost_usd=100.0, run_id="an earlier one")
    sweep.store.write_slice(
        step, 0, list((paid | {"s003": failed, "s004": replace(failed, sample_id="s004")}).values())
    )
    again = asyncio.run(run_first(sweep, EchoEngine(config), costs_money=True))
    rows = sweep.store.read_slice(step, 0)
    assert rows["s003"].cost_usd == 100.0 + (paid["s003"].cost_usd or 0)
    assert again.cost_usd == first.cost_usd  # of this run, of which the rest was, too
    assert sweep.store.read_cost(step) == first.cost_usd + 200.0


def test_a_row_that_another_run_paid_for_meanwhile_is_kept_with_its_cost(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(slice_rows=10))
    step = next(iter(sweep.plan.steps))
    theirs: dict[str, Completion] = {}

    class Meddling(EchoEngine):
        async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
            if request.sample_id == "s008":  # somebody else, for whom this run was dead, commits the whole slice
                await until(lambda: len(sweep.store.read_slice(step, 0)) == 8)
                rows = sweep.store.read_slice(step, 0)
                theirs.update({key: replace(row, run_id="another", cost_usd=7.0) for key, row in rows.items()})
                theirs["gone"] = replace(next(iter(theirs.values())), sample_id="gone")
                sweep.store.write_slice(step, 0, list(theirs.values()))
            return await super().generate(request, images)

    engine = Meddling(EchoSection(kind="echo", price=PRICE))
    report = asyncio.run(run_first(sweep, engine, num_slots=1, costs_money=True))
    rows = sweep.store.read_slice(step, 0)
    assert report.is_whole
    assert len(theirs) > 1
    assert rows["gone"] == theirs["gone"]
    assert set(rows) == {f"s{number:03d}" for number in range(10)} | {"gone"}
    assert sweep.store.read_cost(step) == pytest.approx(report.cost_usd + 7.0 * len(theirs))


class Sizes:
    """Answers with the sizes of the pictures that it is sent, where they stand in the text."""

    async def start(self) -> EngineFacts:
        return EngineFacts("sizes", 8)

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        text = "".join(piece if isinstance(piece, str) else f"<{len(images[piece])}>" for piece in request.content)
        return Reply(text, "stop", 1, 1)

    async def stop(self) -> None:
        pass


def test_rows_are_asked_with_all_their_pictures_where_the_prompt_places_them(sweeps: Sweeps) -> None:
    with DatasetWriter(sweeps.folder / "faces", "several pictures") as writer:
        for name, sizes in (("two", (3, 5)), ("three", (7, 2, 4)), ("one", (6,)), ("none", ())):
            media = tuple(Media(f"{name}/{number}.png") for number in range(len(sizes)))
            writer.add(Sample(name, {"question": "Why?"}, media, "x"), [bytes(size) for size in sizes])
    call = {"name": "answer", "role": "subject", "image": True, "prompt": "A {{ image(2) }} B {{ image(1) }} C"}
    sweep = sweeps.plan(placed(sweeps, call))
    asyncio.run(run_first(sweep, Sizes()))
    rows = sweeps.rows(sweep, "answer")
    assert (rows["two"].text, rows["three"].text) == ("A <5> B <3> C", "<4>A <2> B <7> C")
    assert rows["one"].error == "its prompt cannot be made: it places image(2), and the sample has one picture"
    assert rows["none"].error == "its prompt cannot be made: it places image(2), and the sample has no picture"
    assert [spec.most_images for spec in sweep.plan.engines.values()] == [3]
    assert sweep.plan.datasets["faces"].most_media == 3


def placed(sweeps: Sweeps, call: dict[str, Any]) -> RunConfig:
    config = sweeps.config()
    setting = SettingConfig.model_validate({"name": "placed", "calls": [call]})
    return config.model_copy(update={"setting": setting})
