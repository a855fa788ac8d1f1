"""The sweep in Inspect: vLLM servers for all engines side by side, then all tasks at once, scored by both judges.

    python inspect_sweep.py TASK.json OUT SERVER_PYTHON

Servers are started by the Python that has vLLM, and ended at the end. What Inspect writes are its logs (OUT/logs); the
rows beside them are read from these.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inspect_ai import Task as InspectTask
from inspect_ai import eval as run_tasks
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
    Model,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState, generate
from task import Task

START_S = 600.0
AT_ONCE = 64  # requests to a server at the same time: its batch


@contextmanager
def serving(task: Task, python: str) -> Iterator[dict[str, str]]:
    """Engine -> address of a server of it."""
    addresses, servers = {}, []
    try:
        for key, engine in task.engines.items():
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            servers.append(start_server(engine, python, port, task.out / f"server_{engine['name']}.log"))
            addresses[key] = f"http://127.0.0.1:{port}"
        for key, address in addresses.items():
            wait_for(address, servers[list(addresses).index(key)])
        yield addresses
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(60)


def start_server(engine: dict[str, Any], python: str, port: int, log: Path) -> subprocess.Popen[bytes]:
    """VLLM's own server of one engine."""
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    for name, value in engine.items():
        command += [f"--{name.replace('_', '-')}" if name != "name" else "--served-model-name", str(value)]
    command += ["--enforce-eager", "--disable-log-stats", "--seed", "0", "--generation-config", "vllm"]
    variables = {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    with log.open("wb") as output:
        return subprocess.Popen(command, env={**os.environ, **variables}, stdout=output, stderr=output)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    """Returns when the server answers."""
    started = time.monotonic()
    while server.poll() is None and time.monotonic() - started < START_S:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"a vLLM server did not start ({server.poll()}): see its log")


def model_of(task: Task, step_id: str, addresses: dict[str, str]) -> Model:
    """Inspect's model of a step's engine."""
    step = task.steps[step_id]
    name = task.engines[step["engine"]]["name"]
    config = GenerateConfig(
        temperature=step["temperature"], top_p=step["top_p"], max_tokens=step["max_tokens"], max_connections=AT_ONCE
    )
    return get_model(
        f"openai-api/local/{name}", config=config, base_url=f"{addresses[step['engine']]}/v1", api_key="none"
    )


def messages(task: Task, step_id: str, prompt: tuple[str, str | None]) -> list[Any]:
    """Messages of one row."""
    text, picture = prompt
    content: Any = [ContentImage(image=picture), ContentText(text=text)] if picture else text
    system = task.steps[step_id]["system"]
    return [*([ChatMessageSystem(content=system)] if system else []), ChatMessageUser(content=content)]


def judge_with(task: Task, step_id: str, model: Model) -> Scorer:
    """A scorer that asks a judge."""
    samples = {sample["id"]: sample for sample in task.samples}

    @scorer(metrics=[mean()], name=task.steps[step_id]["cell"].rpartition("/")[2])
    def says_yes() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:  # noqa: ARG001 - Inspect hands it over
            prompt = task.prompt(step_id, samples[str(state.sample_id)], state.output.completion)
            output = await model.generate(messages(task, step_id, prompt))
            said = float(output.completion.strip().lower().startswith("yes"))
            return Score(value=said, metadata={"step": step_id} | row_of(output))

        return score

    return says_yes()


def row_of(output: Any) -> dict[str, Any]:
    """Columns of a reply's row."""
    return {
        "text": output.completion,
        "prompt_tokens": output.usage.input_tokens,
        "completion_tokens": output.usage.output_tokens,
    }


def make_task(task: Task, step_id: str, addresses: dict[str, str]) -> InspectTask:
    """Inspect's task: one model in one setting, scored by all judges."""
    dataset = [
        Sample(input=messages(task, step_id, prompt), id=sample["id"])
        for sample, prompt in zip(task.samples, task.prompts(step_id), strict=True)
    ]
    judges = [key for key, step in task.steps.items() if step["answer"] == step_id]
    return InspectTask(
        name=task.steps[step_id]["cell"].replace("/", "_"),
        dataset=MemoryDataset(dataset),
        solver=generate(),
        scorer=[judge_with(task, key, model_of(task, key, addresses)) for key in judges],
        model=model_of(task, step_id, addresses),
        metadata={"step": step_id},
    )


def read_log(task: Task, log: EvalLog) -> None:
    """Writes the rows of a log's answers and verdicts."""
    if log.status != "success" or log.samples is None:
        raise SystemExit(f"{log.eval.task}: {log.status}")
    rows: dict[str, list[dict[str, Any]]] = {}
    for sample in log.samples:
        rows.setdefault(log.eval.metadata["step"], []).append({"id": sample.id} | row_of(sample.output))
        for score in sample.scores.values():
            facts = dict(score.metadata)
            rows.setdefault(facts.pop("step"), []).append({"id": sample.id} | facts)
    for step_id, of_step in rows.items():
        task.write_rows(step_id, of_step)


def main() -> None:
    """Runs all tasks."""
    path, out, python = sys.argv[1:]
    task = Task(Path(path), Path(out))
    with serving(task, python) as addresses:
        tasks = [make_task(task, key, addresses) for key, step in task.steps.items() if not step["answer"]]
        logs = run_tasks(
            tasks, max_tasks=len(tasks), max_samples=AT_ONCE, log_dir=str(task.out / "logs"), display="none"
        )
    for log in logs:
        read_log(task, log)


if __name__ == "__main__":
    main()
