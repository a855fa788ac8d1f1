"""The driver on a real Ray: replicas are started, fed, killed and stopped; every row is there exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pyarrow.parquet as pq
import pytest

from eibench_ray.cluster.driver import MAX_DEATHS, Driver, Outcome
from eibench_ray.cluster.events import Ledger, Snapshot
from eibench_ray.cluster.session import ray_session
from eibench_ray.config.schema import ClusterConfig
from eibench_ray.errors import ClusterError
from eibench_ray.schedule.state import Resources
from eibench_ray.sweep.planning import PlannedSweep

if TYPE_CHECKING:
    from conftest import Sweeps

SLOW: dict[str, Any] = {"latency_s": 0.1, "max_num_seqs": 4}  # some 5 rows at once: a slice takes 0.1 s


@pytest.fixture(scope="module")
def total() -> Iterator[Resources]:
    with ray_session(ClusterConfig(name="local", num_cpus=2, num_gpus=0)) as resources:
        yield resources


class Recorder:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    def update(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)


class HookedLedger(Ledger):
    """A ledger that lets a test act at the very moment when something has happened."""

    def __init__(self, path: Path, hook: Callable[[str, dict[str, Any]], None]) -> None:
        super().__init__(path)
        self._hook = hook

    def write(self, event: str, **fields: Any) -> None:
        super().write(event, **fields)
        self._hook(event, fields)


class Run:
    """One run of a driver, and what it left in its ledger."""

    def __init__(
        self, sweep: PlannedSweep, total: Resources, hook: Callable[[str, dict[str, Any]], None] | None = None
    ) -> None:
        for step, left in sweep.work.items():
            if left.todo:
                sweep.store.fix_slice_rows(step, sweep.config.store.slice_rows, {})
        self.path = sweep.store.paths.root / f"ledger-{len(list(sweep.store.paths.root.glob('ledger-*')))}.jsonl"
        self.ledger = HookedLedger(self.path, hook or (lambda *_: None))
        self.listener = Recorder()
        self.driver = Driver(
            sweep.plan,
            sweep.work,
            sweep.config.cluster,
            total,
            str(sweep.store.paths.root),
            self.path.stem,
            self.ledger,
            self.listener,
        )

    def finish(self) -> Outcome:
        """What the run did; it has left no replica behind."""
        with contextlib.closing(self.ledger):
            outcome = asyncio.run(self.driver.run())
        _, left = psutil.wait_procs(replica_processes(), timeout=10)
        assert not left
        return outcome

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What happened, of one kind."""
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [line for line in lines if line["event"] == kind]


def replica_processes() -> list[psutil.Process]:
    """The processes of this session's replicas."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "ray::Replica" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


class Pause:
    """A hook that holds the first replica still from the start of a second one until something has become of that."""

    def __init__(self, until: str) -> None:
        self._until = until
        self._held: list[psutil.Process] = []

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        if event == "replica_starting" and fields["replica"] == 2:
            self._held = replica_processes()
            assert len(self._held) == 1
            self._held[0].suspend()
        elif event == self._until and fields["replica"] == 2:
            self._held[0].resume()


def cluster_of(**options: Any) -> dict[str, Any]:
    return {"name": "local", "num_cpus": 2, "num_gpus": 0, "stop_timeout_s": 10.0} | options


def check_whole(sweep: PlannedSweep, again: PlannedSweep) -> None:
    """Every step has one row per sample, in its files and for the planner."""
    assert again.is_complete
    for step in sweep.plan.steps.values():
        files = sorted(sweep.store.paths.step(step.id).glob("slice-*.parquet"))
        ids = [sample_id for file in files for sample_id in pq.read_table(file)["sample_id"].to_pylist()]
        assert ids == [f"s{number:03d}" for number in range(sweep.plan.datasets[step.dataset].num_rows)]


def test_a_sweep_runs_to_its_end_and_loads_each_engine_once(sweeps: Sweeps, total: Resources) -> None:
    sweeps.write_dataset()
    configs = [
        sweeps.config(setting, judge, judge_engine={"fails_on": f"never {judge}"})
        for setting in ("plain", "noted")
        for judge in ("first", "second")
    ]
    sweep = sweeps.plan(*configs)
    assert (len(sweep.plan.steps), len(sweep.plan.engines)) == (7, 3)
    run = Run(sweep, total)
    outcome = run.finish()
    assert (outcome.num_new, outcome.num_loads) == (70, 3)
    assert outcome.completion_tokens > 0
    assert not outcome.failed_engines
    assert not outcome.unfinished_steps
    assert Counter(event["model"] for event in run.events("replica_ready")) == {
        "echo": 1,
        "first_model": 1,
        "second_model": 1,
    }
    assert len(run.events("slice_committed")) == 21
    assert dict(run.listener.snapshots[-1].done) == dict.fromkeys(sweep.plan.steps, 10)
    check_whole(sweep, sweeps.plan(*configs))


def test_a_replica_that_is_killed_is_replaced_and_no_row_is_lost(sweeps: Sweeps, total: Resources) -> None:
    sweeps.write_dataset(range(40))
    config = sweeps.config(engine=SLOW, cluster=cluster_of())
    killed: list[int] = []

    def kill_once(event: str, _: dict[str, Any]) -> None:
        if event == "slice_committed" and not killed:
            (process,) = replica_processes()
            process.kill()
            killed.append(process.pid)

    sweep = sweeps.plan(config)
    run = Run(sweep, total, kill_once)
    outcome = run.finish()
    assert killed
    assert [event["reason"][:28] for event in run.events("replica_lost")] == ["the replica's process died: "]
    assert (outcome.num_loads, outcome.num_new) == (2, 80)
    assert not outcome.failed_engines
    check_whole(sweep, sweeps.plan(config))


def test_an_engine_that_keeps_dying_is_given_up_and_the_others_finish(sweeps: Sweeps, total: Resources) -> None:
    sweeps.write_dataset()
    doomed = sweeps.config(model={"name": "doomed"}, engine={"fails_on": "never"} | SLOW)
    sound = sweeps.config("brief", model={"name": "sound"})

    def kill_doomed(event: str, fields: dict[str, Any]) -> None:
        if event == "replica_ready" and fields["model"] == "doomed":
            handle = run.driver._replicas[fields["replica"]].handle
            handle.kill()

    sweep = sweeps.plan(doomed, sound)
    run = Run(sweep, total, kill_doomed)
    outcome = run.finish()
    ((key, reason),) = outcome.failed_engines.items()
    assert sweep.plan.engines[key].name == "doomed"
    assert "the replica's process died" in reason
    assert len(run.events("replica_lost")) == MAX_DEATHS
    assert outcome.unfinished_steps == set(sweep.plan.cells[0].steps)
    assert sweeps.plan(sound).is_complete
    assert sweeps.plan(doomed).num_done == 0


def test_an_engine_that_cannot_start_fails_its_cells_alone(sweeps: Sweeps, total: Resources) -> None:
    sweeps.write_dataset()
    missing = sweeps.config(model={"name": "retired", "engine": {"kind": "replay", "predictions": "/nowhere"}})
    sound = sweeps.config()
    sweep = sweeps.plan(missing, sound)
    outcome = Run(sweep, total).finish()
    assert [sweep.plan.engines[key].name for key in outcome.failed_engines] == ["retired"]
    (reason,) = outcome.failed_engines.values()
    assert "/nowhere/faces.plain.jsonl cannot be read (No such file or directory)" in reason
    assert outcome.num_new == 20
    assert sweeps.plan(sound).is_complete


def test_an_interrupted_run_goes_on_and_asks_nothing_twice(sweeps: Sweeps, total: Resources) -> None:
    sweeps.write_dataset(range(40))
    config = sweeps.config(engine=SLOW, cluster=cluster_of())

    def stop(event: str, _: dict[str, Any]) -> None:
        if event == "slice_committed":
            run.driver.request_stop()

    run = Run(sweeps.plan(config), total, stop)
    first = run.finish()
    assert first.was_interrupted
    assert first.unfinished_steps
    sweep = sweeps.plan(config)
    assert 0 < first.num_new == sweep.num_done < 80
    second = Run(sweep, total).finish()
    assert first.num_new + second.num_new == 80
    check_whole(sweep, sweeps.plan(config))


def test_a_further_copy_shares_the_work(sweeps: Sweeps, total: Resources) -> None:
    sweeps.write_dataset(range(40))
    model = {"expect": {"load_s": 0.1, "tokens_per_s": 100.0}}
    cluster = cluster_of(max_replicas_per_engine=2)
    config = sweeps.config(engine=SLOW | {"fails_on": "never"}, model=model, cluster=cluster)
    sweep = sweeps.plan(config)
    run = Run(sweep, total, Pause(until="replica_ready"))
    outcome = run.finish()
    (answer, _) = sweep.plan.steps
    shares = Counter(event["replica"] for event in run.events("slice_committed") if event["step"] == answer)
    assert len(shares) == 2
    assert (outcome.num_new, outcome.num_loads) == (80, 3)
    check_whole(sweep, sweeps.plan(config))


def test_a_further_copy_that_cannot_start_does_not_take_its_engine_along(sweeps: Sweeps, total: Resources) -> None:
    sweeps.write_dataset(range(40))
    recording = sweeps.folder / "faces.plain.jsonl"
    recording.write_text("".join(f'{{"faces/{number}.png": "sun"}}\n' for number in range(40)))
    engine = {"kind": "replay", "predictions": str(sweeps.folder), "max_num_seqs": 1}
    model = {"engine": engine, "expect": {"load_s": 0.001, "tokens_per_s": 1.0}}
    config = sweeps.config(model=model, slice_rows=1, cluster=cluster_of(max_replicas_per_engine=2))
    pause = Pause(until="replica_lost")

    def lose_recording(event: str, fields: dict[str, Any]) -> None:
        pause(event, fields)
        if event == "replica_ready" and fields["model"] == "echo":
            recording.unlink(missing_ok=True)

    sweep = sweeps.plan(config)
    run = Run(sweep, total, lose_recording)
    outcome = run.finish()
    assert [event["replica"] for event in run.events("replica_lost")] == [2]
    assert not outcome.failed_engines
    assert outcome.num_new == 80


def test_an_engine_that_does_not_load_in_time_is_given_up(sweeps: Sweeps, total: Resources) -> None:
    from ray.util.placement_group import placement_group, remove_placement_group

    sweeps.write_dataset()
    everything = placement_group([{"CPU": 2}])
    assert everything.wait(10)  # all cores are somebody else's now: no replica finds room
    model = {"name": "late", "engine": {"kind": "vllm", "source": "checkpoint:tiny_llama", "max_model_len": 64}}
    cluster = cluster_of(start_timeout_s=1.0, device="cpu")
    sweep = sweeps.plan(sweeps.config(model=model, cluster=cluster))
    outcome = Run(sweep, total).finish()
    remove_placement_group(everything)
    assert list(outcome.failed_engines.values()) == [
        "the engine did not load within 1 s: raise cluster.start_timeout_s, or choose a smaller model"
    ]
    assert outcome.num_new == 0


def test_an_engine_that_never_fits_is_refused_unless_it_has_nothing_to_do(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    engine = {"kind": "vllm", "source": "checkpoint:tiny_llama", "max_model_len": 64, "tensor_parallel": 4}
    config = sweeps.config(
        model={"name": "large", "engine": engine},
        judge_engine={"kind": "vllm", "source": "checkpoint:tiny_llama", "max_model_len": 128},
        cluster=cluster_of(device="cuda"),
    )
    with pytest.raises(
        ClusterError, match=r"engine 'large' needs 4 GPUs and 1 cores .* the cluster has 1 GPUs and 2 c"
    ):
        Run(sweeps.plan(config), Resources(2, 1))
    sweeps.ask(sweeps.plan(config))
    (_, verdict) = sweeps.plan(config).plan.steps
    sweeps.plan(config).store.paths.slice(verdict, 0).unlink()
    Run(sweeps.plan(config), Resources(2, 1))
