"""Greedy requests, and an engine that is loaded, asked and stopped in this process."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eibench_ray.engines.engine import Engine
    from eibench_ray.rows.request import Reply, Request

SENTENCE = "Look at this person, and say in a few words what may have made them feel as they do."


def requests(rows: int, tokens: int, *, sees: bool) -> list[tuple[Request, tuple[bytes, ...]]]:
    """Requests with prompts of different lengths; each picture has a colour of its own.

    Args:
        rows: how many.
        tokens: that a reply may have.
        sees: whether each has a picture.
    """
    from PIL import Image

    from eibench_ray.rows.request import PlacedImage, Request, Sampling

    made = []
    for number in range(rows):
        buffer = io.BytesIO()
        Image.new("RGB", (200, 150), (number % 256, number // 256 * 40 % 256, 200)).save(buffer, "PNG")
        pictures = (buffer.getvalue(),) if sees else ()
        images = tuple(PlacedImage(place, f"{number}") for place in range(len(pictures)))
        text = f"{number} {SENTENCE[: 1 + 7 * number % len(SENTENCE)]}"
        sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=tokens)
        made.append((Request(f"s{number}", f"{number}", None, text, images, sampling, number), pictures))
    return made


def answer(engine: Engine, asked: Sequence[tuple[Request, tuple[bytes, ...]]]) -> tuple[float, list[Reply]]:
    """Starts the engine, and returns the seconds for the replies once it is loaded, and the replies."""

    async def ask() -> tuple[float, list[Reply]]:
        await engine.start()
        began = time.perf_counter()
        replies = await asyncio.gather(*(engine.generate(*one) for one in asked))
        took_s = time.perf_counter() - began
        await engine.stop()
        return took_s, replies

    return asyncio.run(ask())
