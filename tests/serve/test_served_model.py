"""`eibench-ray serve` for real: asked by the openai client, killed in its parts, stopped; nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from command_lines import command_line
from hydra import compose, initialize_config_dir
from needed import need

from eibench_ray.config.compose import to_composed
from eibench_ray.config.load import to_config
from eibench_ray.config.option_files import own_loader
from eibench_ray.config.options_folder import config_folder
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.driver.cluster_nodes import MARK
from eibench_ray.engines.registry import create_engine
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.runs.planning import plan_sweep
from eibench_ray.worker.row_attempts import Asker, ReplicaCounts
from eibench_ray.worker.rows_in_flight import Drain
from eibench_ray.worker.task import run_task

if TYPE_CHECKING:
    from conftest import Called

need("vllm", "the server needs eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

KEY = "sk-serve-4711-planted"
NONSENSE = "+model.engine.args.nonsense=1"
GONE_TIMEOUT_S = 60.0


class Command:
    """`eibench-ray serve --json`, running in a folder and in a process group of its own."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        command = [sys.executable, "-m", "eibench_ray.cli.app", "serve", "--json", "--port", "0", "cluster.num_cpus=2"]
        dropped = {"PYTHONDONTWRITEBYTECODE", "VLLM_API_KEY"}
        environment = {name: value for name, value in os.environ.items() if name not in dropped}
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            env=environment | variables,
            text=True,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.family: set[psutil.Process] = set()

    def ready(self) -> dict[str, Any]:
        """The printed lines once its server is ready; all processes that belong to it are noted."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()
        told: dict[str, Any] = json.loads(line)
        self.family |= set(psutil.Process(self.process.pid).children(recursive=True))
        self.family |= marked(psutil.Process(told["pid"]).environ()[MARK])
        return told

    def starting(self) -> None:
        """Returns while its server loads; all processes that belong to it are noted."""
        deadline = time.monotonic() + 120
        while not any("api_server" in " ".join(command_line(process).split()[:4]) for process in self.family):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
            self.family |= set(psutil.Process(self.process.pid).children(recursive=True))
            for mark in {_environment(process).get(MARK) for process in self.family} - {None}:
                self.family |= marked(mark)

    def server(self) -> list[psutil.Process]:
        """The processes of the server that are alive: its actor, its guard, vLLM's own."""
        return [process for process in self.family if process.is_running() and MARK in _environment(process)]

    def left(self) -> list[psutil.Process]:
        """Processes alive after a while; Ray's own agents try for a minute to report a death to nobody (Ray 2.60)."""
        waited = [process for process in self.family if not _is_agent(process)]
        _, alive = psutil.wait_procs(waited, timeout=GONE_TIMEOUT_S)
        return [p for p in alive if p.status() != psutil.STATUS_ZOMBIE and not _is_agent(p)]

    def end(self) -> None:
        """Ends everything that a failed test left."""
        for process in (*self.family, psutil.Process(self.process.pid)) if self.process.poll() is None else self.family:
            if process.is_running():
                process.kill()
        self.process.communicate()


def _is_agent(process: psutil.Process) -> bool:
    try:
        return "Agent" in process.name()
    except psutil.Error:
        return False


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def marked(mark: str | None) -> set[psutil.Process]:
    return {process for process in psutil.process_iter() if _environment(process).get(MARK) == mark}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def start(*arguments: str, **variables: str) -> Command:
        started.append(Command(tmp_path, *arguments, **variables))
        return started[-1]

    yield start
    for command in started:
        command.end()


def ask(told: dict[str, Any], key: str = "none") -> str:
    from openai import OpenAI

    with OpenAI(base_url=told["base_url"], api_key=key, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [told["model"]]
        schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
        reply = client.chat.completions.create(
            model=told["model"],
            messages=[{"role": "user", "content": "Is it so?"}],
            max_tokens=16,
            seed=1,
            response_format={"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}},
        )
    return reply.choices[0].message.content or ""


def check_paths(address: str) -> None:
    """Without the key nothing but /health answers; with it, no picture is fetched from an address."""
    with httpx.Client(base_url=address) as client:
        paths = client.get("/openapi.json", headers={"Authorization": f"Bearer {KEY}"}).json()["paths"]
        assert {"/invocations", "/tokenize"} <= paths.keys()
        for path in (*paths, "/metrics", "/docs", "/redoc", "/openapi.json", "/", "//health", "/health/x"):
            for method in ("GET", "POST", "OPTIONS"):
                status = client.request(method, path).status_code
                assert (status == 401) is not (path == "/health" and method == "GET"), (method, path, status)
        body = {"model": "shared/tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
        said = client.post("/invocations", json=body, headers={"Authorization": f"Bearer {KEY}"})
        assert said.status_code == 200


def answers_of_a_sweep(overrides: list[str], folder: Path) -> list[str | None]:
    """Texts of a small sweep over what the server's overrides choose, made without Ray."""
    more = ["dataset=demo", "dataset.limit=6", "setting.sampling.max_tokens=12", "judge=token_f1"]
    more += [f"store.root={folder / 'store'}", "tracking=none", "cluster.num_cpus=1"]
    with own_loader(), initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = to_composed(compose("config", [*overrides, *more], return_hydra_config=True))
    sweep = plan_sweep([to_config(composed.raw)], must_exist=True)
    (step,), (spec,) = sweep.plan.steps.values(), sweep.plan.engines.values()
    sweep.store.fix_slice_rows(step.id, sweep.slice_rows[step.id], {})
    dataset = open_dataset(sweep.plan.datasets[step.dataset].path)

    async def ask() -> None:
        engine = create_engine(spec, LocalRateLimiter(), folder / "batches", sweep.store.storage)
        await engine.start()
        asker = Asker(engine, "served", asyncio.Semaphore(8), 60.0, "run", ReplicaCounts(), costs_money=False)
        for slice_ in sweep.work[step.id].todo:
            await run_task(step, slice_, dataset, dataset.index(), sweep.store, asker, Drain())
        await engine.stop()

    asyncio.run(ask())
    return [row.text for row in sweep.store.read_rows(step.id, 0, dataset.index().sample_ids).values()]


def test_it_answers_who_has_the_key_comes_back_when_its_engine_is_killed_and_ends_in_order(
    serve: Callable[..., Command], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openai import AuthenticationError

    command = serve("model=tiny_llama", "--served-name", "shared/tiny", "--api-key-env", "OUR_KEY", OUR_KEY=KEY)
    told = command.ready()
    assert told["model"] == "shared/tiny"
    assert {"model=endpoint", "model.engine.model=shared/tiny", "model.engine.api_key_env=OUR_KEY"} <= set(
        told["overrides"]
    )
    assert isinstance(json.loads(ask(told, KEY))["yes"], bool)
    with pytest.raises(AuthenticationError):
        ask(told, "another")
    check_paths(told["base_url"].removesuffix("/v1"))
    monkeypatch.setenv("OUR_KEY", KEY)
    answers = answers_of_a_sweep(told["overrides"], tmp_path)
    assert len(answers) == 6
    assert all(answers)
    assert len(command.server()) >= 4
    assert not any(KEY in command_line(process) for process in command.server())

    (engine,) = (process for process in command.server() if "EngineCore" in command_line(process))
    engine.kill()
    again = command.ready()
    assert (again["base_url"], again["pid"] != told["pid"]) == (told["base_url"], True)
    assert ask(again, KEY)

    command.process.send_signal(signal.SIGTERM)
    out, err = command.process.communicate(timeout=120)
    assert command.process.returncode == 0, err
    assert KEY not in out + err
    assert command.left() == []
    with socket.create_server(("127.0.0.1", int(told["base_url"].split(":")[2].partition("/")[0]))):
        pass  # the port is free


def test_nothing_of_it_is_left_when_the_command_is_killed(serve: Callable[..., Command]) -> None:
    """Nor of what the server has started by then (test_parent_guard.py)."""
    command = serve("model=tiny_llama")
    command.starting()
    command.process.kill()
    assert command.left() == []


@pytest.mark.usefixtures("commands_share_ray")
def test_one_that_cannot_start_says_why_and_leaves_nothing(command: Callable[..., Called]) -> None:
    called = command("serve", "--json", "--port", 0, "cluster.num_cpus=2", "model=tiny_llama", NONSENSE)
    assert called.code == 1
    last = called.err.strip().splitlines()[-1]
    assert last.startswith("eibench-ray: the server of tiny_llama does not start: ")
    assert "unrecognized arguments: --nonsense=1 (exit code 2)" in last
    assert "Traceback" not in called.err
    started = [command_line(process) for process in psutil.Process().children(recursive=True)]
    assert [line for line in started if "parent_guard" in line or "api_server" in line] == []
