"""Rows per second of vLLM and of transformers: the same checkpoint, requests and threads, in turns.

    python -m bench.engines [--checkpoint tiny_idefics3] [--rows 64] [--tokens 48] [--rounds 3] [--threads 1]

Both engines are loaded, each in a process of its own, and then asked one after the other, round by round, so that what
else the machine does hits both. Requests are greedy and of different lengths; those to a model that sees have a
picture. rows_per_s is the median over the rounds, the ratio transformers' time over vLLM's, equal the share of rows
that say the same in both.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import statistics
import time
from multiprocessing.connection import Connection
from typing import Annotated, Any, Literal

import typer
from PIL import Image

from bench.result_file import ratio_of, write_result
from eibench_ray.engines.engine import Engine
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.rows.request import PlacedImage, Request, Sampling
from eibench_ray.weights.build import build_checkpoint

Kind = Literal["vllm", "transformers"]
SENTENCE = "Look at this person, and say in a few words what may have made them feel as they do"


def create(kind: Kind, checkpoint: str, batch: int) -> Engine:
    """The engine, which has not started yet."""
    keys = {"kind": kind, "source": f"checkpoint:{checkpoint}", "dtype": "float32", "max_num_seqs": batch}
    keys |= {"max_model_len": 1024}
    if kind == "transformers":
        from eibench_ray.engines.transformers.transformers_engine import TransformersEngine

        return TransformersEngine(TransformersSection.model_validate(keys), "cpu")
    from eibench_ray.engines.vllm.vllm_engine import VllmEngine

    return VllmEngine(VllmSection.model_validate(keys | {"kv_cache_gib": 0.5, "enforce_eager": True}), "cpu")


def make_requests(rows: int, tokens: int, *, sees: bool) -> list[tuple[Request, tuple[bytes, ...]]]:
    """Requests of different lengths; each picture has a colour of its own."""
    made = []
    for number in range(rows):
        text = f"{number} {SENTENCE[: 1 + 7 * number % len(SENTENCE)]}"
        buffer = io.BytesIO()
        Image.new("RGB", (200, 150), (number % 256, 40, 200)).save(buffer, "PNG")
        sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=tokens)
        pictures = (buffer.getvalue(),) if sees else ()
        images = tuple(PlacedImage(place, f"{number}") for place in range(len(pictures)))
        made.append((Request(f"s{number}", f"{number}", None, text, images, sampling, number), pictures))
    return made


async def answer(pipe: Connection, kind: Kind, checkpoint: str, batch: int, asked: Any) -> None:
    """Loads the engine, then answers all requests whenever it is told to, and says how long it took."""
    engine = create(kind, checkpoint, batch)
    await engine.start()
    pipe.send("ready")
    while await asyncio.to_thread(pipe.recv):
        started = time.perf_counter()
        replies = await asyncio.gather(*(engine.generate(request, pictures) for request, pictures in asked))
        pipe.send((time.perf_counter() - started, [reply.text for reply in replies]))
    await engine.stop()


def run_engine(pipe: Connection, kind: Kind, checkpoint: str, batch: int, asked: Any) -> None:
    """The whole life of one engine's process."""
    asyncio.run(answer(pipe, kind, checkpoint, batch, asked))


def main(
    checkpoint: Annotated[str, typer.Option()] = "tiny_idefics3",
    rows: Annotated[int, typer.Option(min=1)] = 64,
    tokens: Annotated[int, typer.Option(min=1)] = 48,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    batch: Annotated[int, typer.Option(min=1)] = 32,
) -> None:
    """Compares the two engines."""
    build_checkpoint(checkpoint)
    os.environ |= {
        "OMP_NUM_THREADS": str(threads),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    asked = make_requests(rows, tokens, sees=checkpoint not in ("tiny_llama", "smollm2_135m"))
    context = multiprocessing.get_context("spawn")
    kinds: tuple[Kind, ...] = ("vllm", "transformers")
    pipes: dict[Kind, Connection] = {}
    for kind in kinds:
        pipes[kind], far = context.Pipe()
        context.Process(target=run_engine, args=(far, kind, checkpoint, batch, asked)).start()
    for pipe in pipes.values():
        pipe.recv()
    seconds: dict[Kind, list[float]] = {kind: [] for kind in kinds}
    texts: dict[Kind, list[str]] = {}
    for number in range(rounds + 1):
        for kind, pipe in pipes.items():
            pipe.send(True)
            took, texts[kind] = pipe.recv()
            if number:  # the first round warms up
                seconds[kind].append(took)
    for pipe in pipes.values():
        pipe.send(False)
    equal = sum(one == other for one, other in zip(*texts.values(), strict=True)) / rows
    settings = {"rows": rows, "tokens": tokens, "rounds": rounds, "threads": threads, "batch": batch}
    line: dict[str, Any] = {"checkpoint": checkpoint, "equal": round(equal, 3)}
    line |= {f"{kind}_rows_per_s": round(rows / statistics.median(taken), 2) for kind, taken in seconds.items()}
    ratio = ratio_of(f"transformers: {checkpoint}", seconds["transformers"], seconds["vllm"])
    write_result("engines", settings, [line], [ratio])


if __name__ == "__main__":
    typer.run(main)
