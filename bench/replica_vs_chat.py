"""A replica, with all that it does for a row, against raw `LLM.chat`: the same requests, settings and cores, in turns.

    python -m bench.replica_vs_chat [--checkpoints tiny_llama,..] [--cases text,many] [--rounds 3] [--most-rows 4096]

For each checkpoint both are loaded, each in a process of its own with one thread: our replica as Ray's actor, as a run
has it, and vLLM's `LLM` from the same arguments. Then they are asked in turns. Ours reads samples from a dataset on
disk, renders, asks, and commits Parquet slices; raw reads the same samples, decodes their pictures, calls `LLM.chat`
with all messages, and writes one Parquet file. Every reply is compared.

ratio is raw's time over ours, the median over the rounds: above 1, ours is the faster one. The goal is 0.98.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import tempfile
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import psutil
import ray
import typer
from PIL import Image

from bench.chat_cases import CASES, Case, write_samples
from bench.result_file import Ratio, ratio_of, write_result
from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.driver.ray_session import ray_session
from eibench_ray.driver.replica_environment import replica_runtime_env
from eibench_ray.engines.registry import engine_spec
from eibench_ray.engines.vllm.vllm_arguments import engine_arguments
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.plan.graph import DatasetSpec, EngineSpec, Prompt, Step
from eibench_ray.plan.slices import cut
from eibench_ray.rows.request import Sampling
from eibench_ray.store.slice_store import Store
from eibench_ray.weights.build import build_checkpoint
from eibench_ray.worker.replica import Replica

BATCH = 64
SLICE_ROWS = 32
GOAL = 0.98
# What stays the same of both processes.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "WARNING"}


def section_of(checkpoint: str) -> VllmSection:
    """The engine, as its option file has it."""
    keys = {"kind": "vllm", "source": f"checkpoint:{checkpoint}", "dtype": "float32", "max_num_seqs": BATCH}
    return VllmSection.model_validate(keys | {"max_model_len": 2048, "kv_cache_gib": 0.25, "enforce_eager": True})


class RawChat:
    """`LLM.chat` in a process of its own."""

    def __init__(self, checkpoint: str, most_images: int) -> None:
        self._pipe, far = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_serve_chat, args=(far, checkpoint, most_images)
        )
        self._process.start()

    def wait(self) -> None:
        """Returns when it is loaded."""
        self._pipe.recv()

    def ask(self, case: Case, folder: Path) -> tuple[dict[str, float], list[tuple[str, int]]]:
        """Seconds, and the reply and the number of its tokens of each sample."""
        self._pipe.send((case, folder))
        figures, said = self._pipe.recv()
        return figures, said

    def stop(self) -> None:
        """Ends it."""
        self._pipe.send(None)
        self._process.join()


def _serve_chat(pipe: Connection, checkpoint: str, most_images: int) -> None:
    os.environ.update(_ENVIRONMENT)
    import pyarrow as pa
    import pyarrow.parquet as pq
    from vllm import LLM, SamplingParams

    llm = LLM(**engine_arguments(section_of(checkpoint), "cpu", None, most_images))
    pipe.send("loaded")
    while (work := pipe.recv()) is not None:
        case, folder = work
        started, cpu = time.perf_counter(), time.process_time()
        dataset = open_dataset(str(folder))
        samples = dataset.samples(0, case.rows)
        pictures = dataset.images(0, case.rows, [one.sample_id for one in samples]) if case.picture_px else {}
        messages = []
        for sample in samples:
            content: list[dict[str, Any]] = [
                {"type": "image_pil", "image_pil": Image.open(io.BytesIO(picture)).convert("RGB")}
                for picture in pictures.get(sample.sample_id, ())
            ]
            content.append({"type": "text", "text": sample.inputs["question"]})
            messages.append([{"role": "user", "content": content}])
        outputs = llm.chat(messages, SamplingParams(temperature=0.0, max_tokens=case.tokens), use_tqdm=False)
        said = [(output.outputs[0].text, len(output.outputs[0].token_ids)) for output in outputs]
        columns = {"id": [sample.sample_id for sample in samples], "text": [text for text, _ in said]}
        pq.write_table(pa.table(columns), folder / "replies.parquet")
        figures = {"s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}
        pipe.send((figures, said))


class OwnReplica:
    """Our replica, as a run has it."""

    def __init__(self, checkpoint: str, most_images: int, turns: dict[str, Path], store: Path) -> None:
        self._spec = self._make_spec(checkpoint, most_images)
        self._turns, self._store = turns, store
        datasets = {name: DatasetSpec(name, str(path), None, 0, is_prepared=True) for name, path in turns.items()}
        environment = replica_runtime_env(self._spec, ClusterConfig(name="bench"), 1)
        environment["env_vars"] |= _ENVIRONMENT
        actor = ray.remote(Replica).options(num_cpus=1, max_concurrency=1000, runtime_env=environment)
        self._actor = actor.remote(
            self._spec, datasets, str(store), "bench", 3600.0, str(Path.cwd()), None, "errors", {}
        )

    @staticmethod
    def _make_spec(checkpoint: str, most_images: int) -> EngineSpec:
        spec = engine_spec(checkpoint, checkpoint, section_of(checkpoint), "cpu", None, 0, Expectation(1, 1))
        return replace(spec, most_images=most_images)

    def wait(self) -> None:
        """Returns when it is loaded."""
        facts = ray.get(self._actor.start.remote())
        self._capacity, self._process = facts.capacity, psutil.Process(facts.pid)

    def ask(self, case: Case, turn: str) -> tuple[dict[str, float], list[tuple[str, int]]]:
        """Seconds, and the reply and the number of its tokens of each sample."""
        prompt = Prompt(None, "{{ question }}", image=bool(case.picture_px), is_official=False)
        step = Step(
            turn.replace(" ", "_"), "answer", self._spec.key, prompt, Sampling(0.0, 1.0, case.tokens), 0, turn, {}
        )
        store, slices = Store(str(self._store)), list(cut(step.id, case.rows, SLICE_ROWS))
        store.fix_slice_rows(step.id, SLICE_ROWS, {"name": case.name})
        started, before = time.perf_counter(), self._process.cpu_times()
        asyncio.run(self._run_tasks(step, slices))
        used = self._process.cpu_times()
        figures = {"s": time.perf_counter() - started}
        figures["cpu_s"] = used.user + used.system - before.user - before.system
        ids = [sample.sample_id for sample in open_dataset(str(self._turns[turn])).samples(0, case.rows)]
        rows = store.read_rows(step.id, 0, ids)
        return figures, [(rows[name].text or "", rows[name].completion_tokens) for name in ids]

    async def _run_tasks(self, step: Step, slices: list[Any]) -> None:
        """As the driver does: as many slices in flight as fill the replica."""
        room = asyncio.Semaphore(-(-self._capacity // SLICE_ROWS) + 1)

        async def run(slice_: Any) -> None:
            async with room:
                report = await self._actor.run_task.remote(step, slice_, None)
                if report.num_errors:
                    raise SystemExit(f"{report.num_errors} rows of a slice failed")

        await asyncio.gather(*map(run, slices))

    def stop(self) -> None:
        """Ends it."""
        ray.get(self._actor.stop.remote())
        ray.kill(self._actor)


def compare(cases: list[Case], rounds: int, work: Path) -> list[tuple[dict[str, Any], Ratio]]:
    """A line and a ratio per case, all of one checkpoint. The first turn of each warms up."""
    checkpoint = cases[0].checkpoint
    build_checkpoint(checkpoint)
    most_images = max(bool(case.picture_px) for case in cases)
    turns = {f"{case.name} {turn}": work / f"{case.name} {turn}" for case in cases for turn in range(rounds + 1)}
    for case in cases:
        for turn in range(rounds + 1):
            write_samples(case, turn, turns[f"{case.name} {turn}"])
    raw, own = RawChat(checkpoint, most_images), OwnReplica(checkpoint, most_images, turns, work / "store")
    raw.wait()
    own.wait()
    results = []
    for case in cases:
        times: dict[str, list[float]] = {f"{who}_{unit}": [] for who in ("raw", "own") for unit in ("s", "cpu_s")}
        num_equal = num_tokens = 0
        for turn in range(rounds + 1):
            name = f"{case.name} {turn}"
            said = {}
            for who in ("raw", "own") if turn % 2 else ("own", "raw"):
                figures, said[who] = raw.ask(case, turns[name]) if who == "raw" else own.ask(case, name)
                if turn:
                    for unit, value in figures.items():
                        times[f"{who}_{unit}"].append(round(value, 3))
            num_equal += sum(one == other for one, other in zip(said["raw"], said["own"], strict=True))
            num_tokens += sum(tokens for _, tokens in said["own"])
        line = {
            "case": case.name,
            "checkpoint": checkpoint,
            "rows": case.rows,
            "tokens": case.tokens,
            "prefix_words": case.prefix_words,
            "picture_px": case.picture_px,
            **times,
            "equal": round(num_equal / case.rows / (rounds + 1), 4),
            "own_tokens_per_reply": round(num_tokens / case.rows / (rounds + 1), 1),
        }
        results.append((line, ratio_of(case.name, times["raw_s"], times["own_s"], GOAL)))
    raw.stop()
    own.stop()
    return results


def main(
    checkpoints: str = "smollm2_135m,tiny_llama,tiny_idefics3",
    cases: Annotated[str, typer.Option(help="Names of cases. Default: all.")] = "",
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    most_rows: Annotated[int, typer.Option(min=1, help="Requests of a case at most.")] = 4096,
) -> None:
    """Runs the benchmark."""
    wanted = cases.split(",") if cases else [case.name for case in CASES]
    chosen = [replace(case, rows=min(case.rows, most_rows)) for case in CASES if case.name in wanted]
    results = []
    with ray_session(ClusterConfig(name="bench", num_cpus=2, num_gpus=0)):
        for checkpoint in checkpoints.split(","):
            if of_it := [case for case in chosen if case.checkpoint == checkpoint]:
                with tempfile.TemporaryDirectory(prefix="replica_vs_chat_") as work:
                    results += compare(of_it, rounds, Path(work))
    # Rows stand in the lines, rounds beside the ratios: cases may be measured in several runs.
    settings = {"batch": BATCH, "slice_rows": SLICE_ROWS, "threads": 1}
    write_result(
        "replica_vs_chat",
        settings,
        [line for line, _ in results],
        [ratio for _, ratio in results],
        key="case",
        command=lambda keys: [
            "bench.replica_vs_chat",
            f"--rounds={rounds}",
            f"--most-rows={most_rows}",
            f"--cases={','.join(keys)}",
        ],
    )


if __name__ == "__main__":
    typer.run(main)
