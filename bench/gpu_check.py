"""Checks of a machine with GPUs: what only a GPU can show, in at most seven minutes.

    python -m bench.gpu_check [--checkpoint tiny_llama] [--only NAME ...] [--minutes 7]

Each check runs in a process of its own with a deadline, so that one which hangs or dies costs the others nothing. One
that cannot run is skipped, and says what it lacks: those of memory need torch alone, those of transformers pydantic and
omegaconf, too, and those of vLLM the whole package. Nothing is fetched: checkpoints are built here, or are folders.

| check | shows |
|---|---|
| devices | memory as the driver and torch read it, and whether they agree |
| killed_child | a process that held memory is killed: how long until its memory is seen free |
| same_tokens | transformers on CUDA says what it says on the CPU, token by token, in float32 |
| halved_batches | a batch that the memory is too small for is halved, and every row gets its reply |
| masks | microseconds of xgrammar's mask of a token, with and without a longest text in the schema |
| pictures | pictures per second through transformers |
| vllm_loads | vLLM: seconds of a load that compiles, of one that finds it compiled, and of two side by side |
| vllm_steps | vLLM: tokens per second with steps of 2,048 tokens and of its own choice |
| vllm_batches | vLLM: tokens per second by requests in a batch |
| vllm_tensor_parallel | vLLM: two GPUs for one replica |

Writes bench/results/gpu_check.json; exit code 1 where a check failed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.result_file import write_result
from eibench_ray.driver.gpu_devices import list_devices

if TYPE_CHECKING:
    from eibench_ray.engines.engine import Engine
    from eibench_ray.rows.request import Reply, Request

MB = 1 << 20
SENTENCE = "Look at this person, and say in a few words what may have made them feel as they do."


class SkippedError(Exception):
    """A check cannot run on this machine."""


def main() -> None:
    """Runs the checks one after the other."""
    parser = argparse.ArgumentParser(description="Check a machine with GPUs.")
    parser.add_argument("--checkpoint", default="tiny_llama", help="for vLLM: a recipe's name, or a folder")
    parser.add_argument("--only", nargs="*", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--minutes", type=float, default=7.0, help="for all checks together")
    parser.add_argument("--child", choices=CHECKS, help=argparse.SUPPRESS)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        print(json.dumps(asyncio.run(load_vllm(json.loads(args.load)))))
    elif args.child:
        print(json.dumps(run_here(args.child, args.checkpoint)))
    else:
        ends = time.monotonic() + args.minutes * 60
        lines = [run_apart(name, args.checkpoint, ends - time.monotonic()) for name in args.only]
        write_result("gpu_check", {"checkpoint": args.checkpoint, "minutes": args.minutes}, lines)
        sys.exit(any(line["status"] == "failed" for line in lines))


def run_apart(name: str, checkpoint: str, seconds: float) -> dict[str, Any]:
    """A line for one check, from a process group of its own that ends with it."""
    started = time.monotonic()
    line: dict[str, Any] = {"check": name, "status": "skipped", "reason": "no time is left: raise --minutes"}
    if seconds > 1:
        command = [sys.executable, "-m", "bench.gpu_check", "--child", name, "--checkpoint", checkpoint]
        with tempfile.TemporaryFile("w+") as log:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
            try:
                said, _ = child.communicate(timeout=min(seconds, CHECKS[name][1]))
                line |= {"reason": ""} | json.loads(said.splitlines()[-1])
            except subprocess.TimeoutExpired:
                line |= {"status": "failed", "reason": f"not done after {time.monotonic() - started:.0f} s"}
            except (IndexError, ValueError):
                log.seek(0)
                last = " ".join(log.read()[-1000:].split())
                line |= {"status": "failed", "reason": f"ended with {child.returncode}: {last}"}
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    return line | {"took_s": round(time.monotonic() - started, 1)}


def run_here(name: str, checkpoint: str) -> dict[str, Any]:
    """Figures of a check, or the reason why there are none."""
    try:
        return {"status": "ok"} | dict(CHECKS[name][0](checkpoint))
    except SkippedError as skipped:
        return {"status": "skipped", "reason": str(skipped)}
    except ImportError as error:
        return {"status": "skipped", "reason": f"{error}: install what it names"}
    except Exception as error:
        return {"status": "failed", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"}


def check_devices(checkpoint: str) -> Mapping[str, Any]:  # noqa: ARG001
    torch = cuda()
    devices = [one for one in list_devices() if not one.is_cut]
    if not devices:
        raise RuntimeError("torch sees a GPU, and neither NVIDIA's library nor nvidia-smi gives its memory")
    totals = [torch.cuda.get_device_properties(number).total_memory / MB for number in range(torch.cuda.device_count())]
    # The driver keeps some hundred MB of what it reads as the total.
    if len(devices) == len(totals) and any(
        not 0.97 < seen / one.total_mb <= 1.001 for one, seen in zip(devices, totals, strict=True)
    ):
        raise RuntimeError(f"the driver reads {[one.total_mb for one in devices]} MB and torch {totals}")
    return {
        "names": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "total_mb": [round(one.total_mb) for one in devices],
        "used_mb": [round(one.used_mb) for one in devices],
        "torch_total_mb": [round(total) for total in totals],
    }


def check_killed_child(checkpoint: str) -> Mapping[str, Any]:  # noqa: ARG001
    cuda()
    code = "import torch, time; held = torch.ones(1 << 30, device='cuda'); print('held', flush=True); time.sleep(600)"
    before = used_mb()
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    held = used_mb() - before
    killed = time.monotonic()
    child.kill()
    child.wait()
    reaped = time.monotonic()
    while used_mb() - before > held / 10:
        if time.monotonic() - killed > 30:
            raise RuntimeError(f"{used_mb() - before:.0f} of {held:.0f} MB are still in use 30 s after the kill")
        time.sleep(0.01)
    if held < 4096:
        raise RuntimeError(f"4,096 MB were held, and only {held:.0f} were seen")
    freed = time.monotonic()
    return {"held_mb": round(held), "reaped_s": round(reaped - killed, 3), "seen_free_s": round(freed - killed, 3)}


def check_same_tokens(checkpoint: str) -> Mapping[str, Any]:  # noqa: ARG001
    cuda()
    found = {}
    for name in ("tiny_llama", "tiny_idefics3"):
        asked = requests(8, 32, sees=name != "tiny_llama")
        texts = [[reply.text for reply in answer(transformers(name, device), asked)[1]] for device in ("cpu", "cuda")]
        equal = sum(one == other for one, other in zip(*texts, strict=True))
        found[f"{name}_equal"] = equal
        if equal < len(asked):
            raise RuntimeError(f"{name}: {equal} of {len(asked)} replies are the same on the CPU and on CUDA: {texts}")
    return found | {"rows": 8, "tokens": 32}


def check_halved_batches(checkpoint: str) -> Mapping[str, Any]:  # noqa: ARG001
    torch = cuda()
    import logging

    halved: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: halved.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("eibench_ray").addHandler(handler)
    total = torch.cuda.get_device_properties(0).total_memory
    for memory_mb in (512, 256, 128, 64):  # until it is too small for a batch, but not for a row
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(memory_mb * MB / total)
        replies = answer(transformers("tiny_idefics3", "cuda", 256), requests(256, 16, sees=True))[1]
        if any(reply.completion_tokens == 0 for reply in replies):
            raise RuntimeError("a row has no reply")
        if halved:
            return {"rows": len(replies), "memory_mb": memory_mb, "said": halved[:5]}
    raise SkippedError("256 rows of the small checkpoint fit into 64 MB: no batch was too large")


def check_masks(checkpoint: str) -> Mapping[str, Any]:  # noqa: ARG001
    import xgrammar
    from transformers import AutoTokenizer

    from eibench_ray.benchmarks.eibench.strict_scorer import strict_schema
    from eibench_ray.weights.build import build_checkpoint

    tokenizer = AutoTokenizer.from_pretrained(build_checkpoint("tiny_llama"))
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer)
    named, why = '"named": {"1": true, "2": false}', f'"explanation": {json.dumps(SENTENCE)}'
    found: dict[str, Any] = {"vocabulary": info.vocab_size}
    schemas = {
        "bounded": (strict_schema(2, 200, per_trigger=True), f"{{{why}, {named}}}"),
        "unbounded": (strict_schema(2, 0, 30, per_trigger=True), f"{{{named}, {why}}}"),
    }
    for name, (schema, text) in schemas.items():
        began = time.process_time()
        grammar = xgrammar.GrammarCompiler(info).compile_json_schema(json.dumps(schema), any_whitespace=False)
        found[f"{name}_compile_ms"] = round((time.process_time() - began) * 1e3, 1)
        matcher, mask, taken = xgrammar.GrammarMatcher(grammar), xgrammar.allocate_token_bitmask(1, info.vocab_size), []
        for token in tokenizer.encode(text, add_special_tokens=False):
            began = time.thread_time()
            matcher.fill_next_token_bitmask(mask)
            taken.append((time.thread_time() - began) * 1e6)
            if not matcher.accept_token(token):
                raise RuntimeError(f"the grammar refuses a reply that its schema allows: {text}")
        found |= {f"{name}_bytes": len(json.dumps(schema)), f"{name}_mask_us": round(statistics.mean(taken), 1)}
    return found


def check_pictures(checkpoint: str) -> Mapping[str, Any]:  # noqa: ARG001
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    asked = requests(64 if device == "cpu" else 1024, 1, sees=True)
    took_s, _ = answer(transformers("tiny_idefics3", device, 64), asked)
    return {"device": device, "pictures": len(asked), "pictures_per_s": round(len(asked) / took_s, 1)}


def check_vllm_loads(checkpoint: str) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as cache:
        environment = {"VLLM_CACHE_ROOT": cache}
        for name, count in (("cold", 1), ("warm", 1), ("side_by_side_warm", 2)):
            found[name] = vllm(checkpoint, [{"enforce_eager": False}] * count, environment)
        compiled = list(Path(cache).rglob("*.compiled"))
    if len(compiled) != 1:
        raise RuntimeError(f"replicas of one engine compiled {len(compiled)} times: {found}")
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as cache:
        found["side_by_side_cold"] = vllm(checkpoint, [{"enforce_eager": False}] * 2, {"VLLM_CACHE_ROOT": cache})
    return {f"{name}_s": [one["load_s"] for one in loads] for name, loads in found.items()}


def check_vllm_steps(checkpoint: str) -> Mapping[str, Any]:
    cuda()
    chosen, small = (
        vllm(checkpoint, [{"args": args, "max_num_seqs": 256}])[0] for args in ({}, {"max_num_batched_tokens": 2048})
    )
    return {"own_step_tokens": chosen["step_tokens"], "own": chosen["tokens_per_s"], "of_2048": small["tokens_per_s"]}


def check_vllm_batches(checkpoint: str) -> Mapping[str, Any]:
    cuda()
    return {
        f"tokens_per_s_of_{size}": vllm(checkpoint, [{"max_num_seqs": size}])[0]["tokens_per_s"]
        for size in (64, 256, 1024)
    }


def check_vllm_tensor_parallel(checkpoint: str) -> Mapping[str, Any]:
    torch = cuda()
    if torch.cuda.device_count() < 2:
        raise SkippedError("there is one GPU, and two are needed")
    one, two = (vllm(checkpoint, [{"tensor_parallel": number}])[0] for number in (1, 2))
    return {"tokens_per_s_on_1": one["tokens_per_s"], "tokens_per_s_on_2": two["tokens_per_s"]}


CHECKS: dict[str, tuple[Callable[[str], Mapping[str, Any]], float]] = {
    "devices": (check_devices, 40),
    "killed_child": (check_killed_child, 60),
    "same_tokens": (check_same_tokens, 90),
    "halved_batches": (check_halved_batches, 90),
    "masks": (check_masks, 60),
    "pictures": (check_pictures, 90),
    "vllm_loads": (check_vllm_loads, 300),
    "vllm_steps": (check_vllm_steps, 120),
    "vllm_batches": (check_vllm_batches, 150),
    "vllm_tensor_parallel": (check_vllm_tensor_parallel, 120),
}


def cuda() -> Any:
    """Torch, where it has a GPU."""
    import torch

    if not torch.cuda.is_available():
        raise SkippedError(f"torch {torch.__version__} sees no GPU")
    return torch


def used_mb() -> float:
    """MB of all GPUs' memory in use."""
    return sum(one.used_mb for one in list_devices() if not one.is_cut)


def requests(rows: int, tokens: int, *, sees: bool) -> list[tuple[Request, tuple[bytes, ...]]]:
    """Greedy requests of different lengths; each picture has a colour of its own."""
    from PIL import Image

    from eibench_ray.rows.request import PlacedImage, Request, Sampling

    made = []
    for number in range(rows):
        buffer = io.BytesIO()
        Image.new("RGB", (200, 150), (number % 256, 40, 200)).save(buffer, "PNG")
        pictures = (buffer.getvalue(),) if sees else ()
        images = tuple(PlacedImage(place, f"{number}") for place in range(len(pictures)))
        text = f"{number} {SENTENCE[: 1 + 7 * number % len(SENTENCE)]}"
        sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=tokens)
        made.append((Request(f"s{number}", f"{number}", None, text, images, sampling, number), pictures))
    return made


def transformers(checkpoint: str, device: Any, batch: int = 16) -> Engine:
    """A transformers engine on a small checkpoint, which has not started."""
    from eibench_ray.engines.transformers.transformers_engine import TransformersEngine
    from eibench_ray.engines.transformers.transformers_section import TransformersSection
    from eibench_ray.weights.build import build_checkpoint

    build_checkpoint(checkpoint)
    keys = {"kind": "transformers", "source": f"checkpoint:{checkpoint}", "dtype": "float32", "max_num_seqs": batch}
    return TransformersEngine(TransformersSection.model_validate(keys), device)


def answer(engine: Engine, asked: Sequence[tuple[Request, tuple[bytes, ...]]]) -> tuple[float, list[Reply]]:
    """Seconds for the replies of an engine that is loaded, and the replies."""

    async def ask() -> tuple[float, list[Reply]]:
        await engine.start()
        began = time.perf_counter()
        replies = await asyncio.gather(*(engine.generate(*one) for one in asked))
        took_s = time.perf_counter() - began
        await engine.stop()
        return took_s, replies

    return asyncio.run(ask())


def vllm(checkpoint: str, replicas: Sequence[Mapping[str, Any]], environment: Mapping[str, str] = {}) -> list[Any]:
    """Measurements of replicas that start at the same time, each on GPUs of its own where there are enough."""
    from eibench_ray.engines.python_environment import vllm_version

    if vllm_version() is None:
        raise SkippedError("vLLM is not installed")
    processes = []
    for number, keys in enumerate(replicas):
        own = {} if len(replicas) == 1 or len(list_devices()) < len(replicas) else {"CUDA_VISIBLE_DEVICES": str(number)}
        options = json.dumps(
            {"checkpoint": checkpoint, "keys": dict(keys), "share": 0.8 / (1 if own else len(replicas))}
        )
        command = [sys.executable, "-m", "bench.gpu_check", "--load", options]
        processes.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment | own)
        )
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError("a replica did not load: its error is above")
    return [json.loads(one.splitlines()[-1]) for one in said]


async def load_vllm(options: Mapping[str, Any]) -> dict[str, Any]:
    """Loads one replica as a run would, and asks it twice."""
    import torch

    from eibench_ray.engines.vllm.vllm_engine import VllmEngine
    from eibench_ray.engines.vllm.vllm_kind import KIND
    from eibench_ray.engines.vllm.vllm_section import VllmSection
    from eibench_ray.weights.build import build_checkpoint

    name, on_gpu = options["checkpoint"], torch.cuda.is_available()
    source = name if Path(name).is_dir() else f"checkpoint:{build_checkpoint(name) and name}"
    keys: dict[str, Any] = {"kind": "vllm", "source": source, "max_model_len": 512, "max_num_seqs": 64}
    keys |= {"gpu_memory_utilization": options["share"]} if on_gpu else {"kv_cache_gib": 0.1, "dtype": "float32"}
    section = VllmSection.model_validate(keys | options["keys"])
    section = section.model_copy(update=dict(KIND.spread(section, 1)) if on_gpu else {})
    device: Any = "cuda" if on_gpu else "cpu"
    for variable, value in KIND.variables(section, device, 0).items():
        os.environ.setdefault(variable, value)
    engine = VllmEngine(section, device)
    began = time.perf_counter()
    await engine.start()
    loaded = time.perf_counter()
    asked = requests(4 * section.num_seqs if on_gpu else 16, 64, sees=False)
    for _ in range(2):  # the first warms up
        asking = time.perf_counter()
        replies = await asyncio.gather(*(engine.generate(*one) for one in asked))
        took_s = time.perf_counter() - asking
    tokens = sum(reply.completion_tokens for reply in replies)
    step_tokens = engine._llm.vllm_config.scheduler_config.max_num_batched_tokens
    await engine.stop()
    return {
        "load_s": round(loaded - began, 1),
        "tokens_per_s": round(tokens / took_s),
        "step_tokens": step_tokens,
    }


if __name__ == "__main__":
    main()
