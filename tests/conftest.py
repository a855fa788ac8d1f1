"""Shared parts of the tests: small datasets, small sweeps on the echo engine, and a way to run them without Ray."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import os
import secrets
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from drawing import draw
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.schema import RunConfig
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.engines.echo import EchoEngine, EchoSection
from eibench_ray.engines.engine import Engine, EngineFacts
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.request import Reply, Request
from eibench_ray.rows.sample import Media, Sample
from eibench_ray.runs.planning import PlannedSweep, plan_sweep
from eibench_ray.worker.row_attempts import Asker, ReplicaCounts
from eibench_ray.worker.rows_in_flight import Drain
from eibench_ray.worker.task import TaskReport, run_task

if TYPE_CHECKING:
    from fault_server import FaultServer

# Tests run beside each other; of torch's threads for each core, all but one would wait for a core in turns, busily.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where it is set, every process that a test starts, and each replica's, compiles all that it imports; and each worker
# of pytest the tests, which is 6 CPU s.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Clusters of tests start no Python for each core, as those of a run do not: 0.7 CPU s each, on each node.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")

# What passes once passes again, however busy the machine is; `make fuzz` goes on with examples that are new each time.
settings.register_profile("fresh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", settings.get_profile("fresh"), derandomize=True)
settings.load_profile("steady")

# Files that take longest, or wait most: they begin, so that no core waits for the last of them.
LONGEST = (
    "engines/test_real_sweep.py",
    "slurm/test_real_slurm.py",
    "driver/test_driver.py",
    "driver/test_run_command.py",
    "serve/test_served_model.py",
    "driver/test_placement_group.py",
    "engines/openai/test_openai_engine.py",
    "engines/openai/test_batch_engine.py",
)
# Files of one worker: for the one process that has imported vLLM (engines/conftest.py), with one import of
# transformers; and for one Ray (`ray_here`), whose start and end take 4 CPU s: of the commands' tests, those come last.
TOGETHER = {
    "engines/test_architectures.py": "vllm",
    "engines/test_conversations.py": "vllm",
    "engines/test_likelihoods.py": "vllm",
    "engines/test_thinking.py": "vllm",
    "engines/test_transformers.py": "vllm",
    "engines/test_vllm_endings.py": "vllm",
    "engines/embedding/test_embedding_engine.py": "vllm",
    "engines/openai/test_real_server.py": "vllm",
    "driver/test_driver.py": "ray",
    "driver/test_watchdog.py": "ray",
    "driver/test_endpoint_sweep.py": "ray",
    "driver/test_batch_sweep.py": "ray",
    "driver/test_ray_limiter.py": "ray",
    "cli/test_hostile_names.py": "commands",
    "cli/test_init_command.py": "commands",
    "cli/test_own_benchmark.py": "commands",
    "cli/test_rule_judges.py": "commands",
    "cli/test_self_ask.py": "commands",
    "cli/test_simulate_command.py": "commands",
    "cli/test_verify_command.py": "commands",
    "documents/test_commands_in_pages.py": "commands",
    "driver/test_replica_environment.py": "commands",
    "outside/test_extend.py": "commands",
}
HERE = Path(__file__).parent
_RAY = contextlib.ExitStack()

SETTINGS: Mapping[str, list[dict[str, Any]]] = {
    "plain": [{"name": "answer", "role": "subject", "image": True, "prompt": "Look. {{ question }}"}],
    "brief": [{"name": "answer", "role": "subject", "image": True, "prompt": "In one word: {{ question }}"}],
    "noted": [
        {"name": "note", "role": "subject", "image": True, "prompt": "Describe: {{ source }}"},
        {"name": "answer", "role": "subject", "image": False, "prompt": "{{ note }} So: {{ question }}"},
    ],
    "asking": [
        {
            "name": "sides",
            "role": "subject",
            "image": True,
            "each": ["left", "right"],
            "prompt": "{{ item }} of {{ source }}",
        },
        {
            "name": "questions",
            "role": "asker",
            "image": False,
            "prompt": "{% for part in sides %}{{ part.item }}: {{ part.answer }}. {% endfor %}What else?",
        },
        {
            "name": "replies",
            "role": "subject",
            "image": True,
            "each": {"call": "questions", "lines": 2},
            "prompt": "Look: {{ item }}",
        },
        {
            "name": "answer",
            "role": "subject",
            "image": False,
            "prompt": "{% for part in replies %}{{ part.item }} {{ part.answer }}; {% endfor %}So: {{ question }}",
        },
    ],
}
# The targets, numbered, one per line.
LISTED = "{% for cause in targets %}{{ loop.index }}. {{ cause }}{{ '\n' if not loop.last }}{% endfor %}"
ASKER = {"name": "asker", "engine": {"kind": "echo", "fails_on": "an asker is another engine"}, "sees_image": False}


@pytest.fixture(autouse=True, scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder instead of the user's own for what runs note there, also those in processes of their own."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True, scope="session")
def no_columns() -> Iterator[None]:
    """Lets nobody say how wide a terminal is: readline, which pytest imports, tells its workers 80."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        yield


def pytest_configure(config: pytest.Config) -> None:
    """Has Hypothesis draw no constants of the modules that are loaded: examples would depend on the tests beside.

    To read them is 2 CPU s in each worker, and some examples of the simulator took three times as long.
    """
    if config.getoption("--hypothesis-profile") != "fresh":
        providers.is_local_module_file = lambda _: False


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that writes the goldens anew."""
    parser.addoption(
        "--write-goldens", action="store_true", help="write tests/goldens/*.json anew instead of comparing"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, Any], None]:
    """Compares a JSON-able value with tests/goldens/NAME.json; `--write-goldens` writes it there instead."""

    def compare(name: str, value: Any) -> None:
        path = Path(__file__).parent / "goldens" / f"{name}.json"
        text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
        if request.config.getoption("--write-goldens"):
            path.write_text(text, encoding="utf-8")
        assert json.loads(text) == json.loads(path.read_text(encoding="utf-8"))

    return compare


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives each worker whole files, as `--dist loadfile` does, and those that belong together to one."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return next((group for name, group in TOGETHER.items() if file.endswith(name)), file)

    return Files(config, log) if config.option.dist == "loadfile" else None


def _join_ray() -> None:
    import ray

    from eibench_ray.driver.ray_session import ray_session

    if not ray.is_initialized():
        _RAY.enter_context(ray_session(ClusterConfig(name="local", num_cpus=2, num_gpus=0)))


def _share_ray(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("eibench_ray.driver.ray_session.ray_session", lambda *_: contextlib.nullcontext())


def _has_ray(item: pytest.Item | None) -> bool:
    return not {"ray_here", "run_here"}.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.fixture
def ray_here() -> None:
    """A Ray of two cores, which stays for the tests that come next and have this fixture, too."""
    _join_ray()


@pytest.fixture
def commands_share_ray(ray_here: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Has runs of this process ask on that Ray, for tests that are not about its start: half of a small run's CPU."""
    _share_ray(monkeypatch)


@dataclass(frozen=True, slots=True)
class Called:
    """Output and exit code of a call of the command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The object that `--json` ends stdout with."""
        return json.loads(self.out.splitlines()[-1])


@cache
def _made_command() -> Any:
    """The command as Typer makes it of its functions, which is a sixth of the CPU time of a plan."""
    from typer.main import get_command

    from eibench_ray.cli.app import app

    return get_command(app)


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Called]:
    """The command's whole `main`, called as a user calls it, in an empty folder and in this process."""
    from eibench_ray.cli.app import main

    monkeypatch.chdir(tmp_path)
    made = _made_command()
    monkeypatch.setattr("typer.main.get_command", lambda _: made)

    def call(*arguments: object) -> Called:
        monkeypatch.setattr(sys, "argv", ["eibench-ray", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Called(code or 0, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def run_here() -> Callable[..., dict[str, Any]]:
    """The summary of a sweep that is run in a folder, in this process and on that Ray."""
    from eibench_ray.cli.app import main

    def run(folder: Path, *arguments: str) -> dict[str, Any]:
        _join_ray()
        with (
            pytest.MonkeyPatch.context() as own,
            contextlib.chdir(folder),
            contextlib.redirect_stdout(io.StringIO()) as out,
        ):
            _share_ray(own)
            own.setattr(sys, "argv", ["eibench-ray", "run", "--json", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        assert not ended.value.code
        summary: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
        return summary

    return run


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Ends that Ray before a test that does without it, or has another."""
    if not _has_ray(nextitem):
        _RAY.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has the longest files begin, then the others with slow tests, then commands on a Ray that stays."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    first = {HERE / name: number for number, name in enumerate(LONGEST)}
    commands = {HERE / name for name, group in TOGETHER.items() if group == "commands"}

    def place(item: pytest.Item) -> tuple[int, int]:
        if item.path in commands:
            return len(first), 1 + _has_ray(item)
        return first.get(item.path, len(first)), 0 if item.path in slow else 3

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects without the garbage collector: a fifth of its CPU time, and nothing of it is garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Has the garbage collector leave alone what collection made, and come seldom: it took 7% of the CPU time."""
    gc.freeze()
    gc.set_threshold(20_000)


@dataclass(frozen=True, slots=True)
class Sweeps:
    """Small sweeps in one folder: their datasets, configurations, plans and stores."""

    folder: Path

    def write_dataset(
        self,
        ids: range | list[int] = range(10),
        *,
        questions: Mapping[int, str] = {},
        emotions: Mapping[int, str] = {},
        images: Mapping[int, bytes | None] = {},
        triggers: tuple[str, ...] | None = None,
        name: str = "faces",
    ) -> Path:
        """A dataset of samples s000, s001, ..., with a picture each; what is not told is made up from the number."""
        out = self.folder / name
        with DatasetWriter(out, "faces for a test") as writer:
            for number in ids:
                picture = images.get(number, draw((number % 256, 40, 200)))
                causes = tuple(f"cause {number}.{part}" for part in range(2 + number % 3))
                listed = causes if triggers is None else triggers
                sample = Sample(
                    f"s{number:03d}",
                    {"question": questions.get(number, f"why is person {number} so?")},
                    () if picture is None else (Media(f"faces/{number}.png"),),
                    listed or None,
                    {
                        "emotion": emotions.get(number, "happy"),
                        "source": f"source {number}",
                        "third": number // 3,
                        "is_even": number % 2 == 0,
                        "reference": "\n".join(f"{part}. {text}" for part, text in enumerate(listed, start=1)),
                    },
                )
                writer.add(sample, [] if picture is None else [picture])
        return out

    def config(
        self,
        setting: str = "plain",
        judge: str | Mapping[str, Any] = "strict",
        *,
        engine: Mapping[str, Any] = {},
        model: Mapping[str, Any] = {},
        judge_engine: Mapping[str, Any] = {},
        dataset: str | Mapping[str, Any] = "faces",
        limit: int | None = None,
        slice_rows: int = 4,
        **sections: Any,
    ) -> RunConfig:
        """One cell.

        The judge `official` follows the published protocol, any other name is a strict one; else it is given whole.
        """
        own = {"name": dataset} if isinstance(dataset, str) else {"name": "faces", **dataset}
        judge_model = {"name": f"{judge}_model", "engine": {"kind": "echo"} | dict(judge_engine), "sees_image": False}
        subject = {"name": "echo", "engine": {"kind": "echo"} | dict(engine), "sees_image": True} | dict(model)
        return RunConfig.model_validate(
            {
                "sweep": "test",
                "model": subject,
                "asker": ASKER,
                "setting": {"name": setting, "calls": SETTINGS[setting]},
                "dataset": {"path": str(self.folder / own["name"]), "limit": limit} | own,
                "judge": {
                    "name": judge,
                    "kind": "official" if judge == "official" else "strict",
                    "model": judge_model,
                    "system": "You count.",
                    "prompt": f"{judge}: how many of {LISTED} has {{{{ answer }}}}",
                }
                if isinstance(judge, str)
                else dict(judge),
                "cluster": {"name": "local", "num_cpus": 2},
                "tracking": {},
                "store": {"root": str(self.folder / "store"), "slice_rows": slice_rows},
            }
            | sections
        )

    def plan(self, *configs: RunConfig) -> PlannedSweep:
        """The plan of some cells and how far it is; of one plain cell, where none is named."""
        return plan_sweep(configs or [self.config()], must_exist=True)

    def ask(
        self,
        sweep: PlannedSweep,
        engine: Engine | None = None,
        *,
        run_id: str | None = None,
        costs_money: bool = False,
    ) -> list[TaskReport]:
        """Runs all slices that are to do, one after the other and without Ray."""
        chosen = engine or EchoEngine(EchoSection(kind="echo"))
        return asyncio.run(_ask(sweep, chosen, run_id or secrets.token_hex(4), costs_money=costs_money))

    def scripted(self, *answer: Callable[[Request], str]) -> Scripted:
        """An engine that answers what a function says, and remembers what it was asked."""
        return Scripted(*answer)

    def rows(self, sweep: PlannedSweep, step_name: str) -> dict[str, Completion]:
        """The committed rows of the one step of that name."""
        (step,) = (step for step in sweep.plan.steps.values() if step.name == step_name)
        return sweep.store.read_rows(
            step.id, 0, open_dataset(sweep.plan.datasets[step.dataset].path).index().sample_ids
        )


async def _ask(sweep: PlannedSweep, engine: Engine, run_id: str, *, costs_money: bool) -> list[TaskReport]:
    asker = Asker(
        engine, "a test's engine", asyncio.Semaphore(8), 30.0, run_id, ReplicaCounts(), costs_money=costs_money
    )
    reports = []
    for step in sweep.plan.steps.values():
        sweep.store.fix_slice_rows(step.id, sweep.slice_rows[step.id], {})
        spec = sweep.plan.datasets[step.dataset]
        dataset = open_dataset(spec.path)
        for slice_ in sweep.work[step.id].todo:
            index = dataset.index()
            retry = sweep.config.retry
            reports.append(await run_task(step, slice_, dataset, index, sweep.store, asker, Drain(), retry=retry))
    return reports


class Scripted:
    """An engine that answers what a test's function says, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Request], str] = lambda request: f"echo {request.digest[:8]}") -> None:
        self._answer = answer
        self.requests: list[Request] = []

    async def start(self) -> EngineFacts:
        """Facts; there is nothing to load."""
        return EngineFacts("scripted", 8)

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:  # noqa: ARG002
        """The function's answer; what it raises is raised."""
        self.requests.append(request)
        await asyncio.sleep(0)
        text = self._answer(request)
        return Reply(text, "stop", 5, len(text.split()))

    async def stop(self) -> None:
        """Nothing: nothing was started."""


@pytest.fixture
def sweeps(tmp_path: Path) -> Sweeps:
    """A workshop for small sweeps."""
    return Sweeps(tmp_path)


@pytest.fixture(scope="session")
def sweeps_in() -> type[Sweeps]:
    """The class behind `sweeps`, for fixtures that outlive a test."""
    return Sweeps


@pytest.fixture
def scripted() -> type[Scripted]:
    """The class of engines that answer what a function says."""
    return Scripted


@pytest.fixture
def fault_server() -> Iterator[FaultServer]:
    """An endpoint on loopback that behaves well until it is told otherwise."""
    from fault_server import FaultServer

    with FaultServer() as server:
        yield server
