"""Asks vLLM in ways that have spoiled other rows, ends its EngineCore under it, and prints as JSON what came of it.

It runs as answer_with_vllm.py does.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import psutil
from asking_models import paint, request, show
from safetensors.torch import load_file, save_file

from eibench_ray.engines.engine import EngineDeadError, RowError
from eibench_ray.engines.vllm.vllm_engine import VllmEngine
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.errors import EngineError
from eibench_ray.weights.build import build_checkpoint

ENGINE = {"kind": "vllm", "dtype": "float32", "max_model_len": 1024, "max_num_seqs": 8, "enforce_eager": True}
REFUSED = {"token": "what is <image> here?", "tokens": "<image> or <image>?", "length": "so " * 2000}


async def ask(engine: VllmEngine, picture: bytes | None, user: str = "Why?", **options: Any) -> list[str]:
    """End of a row, and its text or its error."""
    try:
        reply = await engine.generate(*show(request(user, **options), () if picture is None else (picture,)))
    except (RowError, EngineDeadError) as error:
        return [type(error).__name__, str(error)]
    return [reply.finish_reason, reply.text]


async def refuse(engine: VllmEngine) -> dict[str, list[str]]:
    """Kind and message of each refused row's error."""
    rows = {name: (paint("red"), text) for name, text in REFUSED.items()} | {"picture": (b"no picture", "Why?")}
    said = {}
    for name, (picture, text) in rows.items():
        try:
            await engine.generate(*show(request(text), (picture,)))
        except RowError as error:
            said[name] = [error.kind, str(error)]
    return said


async def spoil(engine: VllmEngine) -> dict[str, Any]:
    """Replies of rows whose picture another row had, which was refused or given up."""
    said: dict[str, Any] = {}
    for number, (name, text) in enumerate(REFUSED.items()):
        picture = paint("red", (200, 100 + number))
        said[name] = [(await ask(engine, picture, text))[0], *(await ask(engine, picture))]
        said[name] += await ask(engine, picture)
    said["given up"] = []
    for number in range(24):
        picture = paint("blue", (200, 100 + number))
        row = asyncio.create_task(ask(engine, picture, max_tokens=64))
        await asyncio.sleep(0.002 * number)
        row.cancel()
        await asyncio.gather(row, return_exceptions=True)
        said["given up"].append((await ask(engine, picture))[0])
    texts = [REFUSED["token"] if number % 4 == 0 else f"Why {number}?" for number in range(24)]
    together = await asyncio.gather(*(ask(engine, paint("green"), text) for text in texts))
    said["together"] = [row[0] for row in together]
    return said


async def end(engine: VllmEngine) -> list[list[str]]:
    """Replies of rows while EngineCore is told to end, and of one after them."""
    asked = [asyncio.create_task(ask(engine, None, f"Why {number}?", max_tokens=900)) for number in range(8)]
    await asyncio.sleep(0.3)
    for process in psutil.Process().children(recursive=True):
        if "EngineCore" in " ".join(process.cmdline()):
            process.terminate()
    return [*(await asyncio.gather(*asked)), await ask(engine, None)]


async def ask_deadly() -> list[list[str]]:
    """Replies of rows before one that kills vLLM's process, then of that row and of others in its batch."""
    keys = ENGINE | {"source": "checkpoint:tiny_llama", "kv_cache_gib": 1 / 64}
    keys["args"] = {"logits_processors": ["deadly_row:DeadlyRow"]}
    engine = VllmEngine(VllmSection.model_validate(keys), "cpu")
    await engine.start()
    before = [ask(engine, None, f"Why {number}?") for number in range(3)]
    amid = [
        ask(engine, None, "why " * 150),
        *(ask(engine, None, f"Why {number}?", max_tokens=900) for number in range(3)),
    ]
    said = [*await asyncio.gather(*before), *await asyncio.gather(*amid)]
    await engine.stop()
    return said


async def ask_base(folder: Path) -> list[list[str]]:
    """Replies of a model without a chat template, with its own and with the package's."""
    shutil.copytree(build_checkpoint("tiny_llama"), folder)
    for path in folder.glob("*chat_template*"):
        path.unlink()
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "chat_template": None}))
    said = []
    for template in (None, "package:plain"):
        keys = ENGINE | {"source": str(folder), "chat_template": template, "kv_cache_gib": 1 / 64}
        engine = VllmEngine(VllmSection.model_validate(keys), "cpu")
        try:
            await engine.start()
            said.append(await ask(engine, None, system="Be brief."))
        except EngineError as error:
            said.append([type(error).__name__, str(error)])
        await engine.stop()
    return said


async def ask_spoilt(folder: Path) -> list[str]:
    """Replies of a model whose logits are no numbers."""
    shutil.copytree(build_checkpoint("tiny_llama"), folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    engine = VllmEngine(VllmSection.model_validate(ENGINE | {"source": str(folder), "kv_cache_gib": 1 / 64}), "cpu")
    await engine.start()
    said = await ask(engine, None)
    await engine.stop()
    return said


async def run(folder: Path) -> dict[str, Any]:
    """All of it."""
    keys = ENGINE | {"source": "checkpoint:tiny_idefics3", "kv_cache_gib": 1 / 16}
    engine = VllmEngine(VllmSection.model_validate(keys), "cpu")
    await engine.start()
    said = {"refused": await refuse(engine), "spoiled": await spoil(engine), "ended": await end(engine)}
    await engine.stop()
    said["deadly"] = await ask_deadly()
    return said | {"base": await ask_base(folder / "base"), "spoilt": await ask_spoilt(folder / "spoilt")}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Path(sys.argv[1])))))
