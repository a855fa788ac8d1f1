"""Asks an endpoint's batch mode, here or in a process of its own that a test may kill.

python batch_asking.py CONFIG FOLDER WORD...
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asking import ask

from eibench_ray.engines.openai.batch_engine import OpenaiBatchEngine
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.ratelimit.rate_limiter import RateLimiter
from eibench_ray.rows.request import Reply, Request


def request(word: str, **fields: Any) -> Request:
    """A request of its own for each word."""
    return ask(word, digest=hashlib.sha256(word.encode()).hexdigest(), **fields)


async def ask_all(
    config: OpenaiSection, folder: Path, words: Sequence[str], limiter: RateLimiter | None = None
) -> list[Reply | BaseException]:
    """Replies of a new engine over a folder to each word."""
    engine = OpenaiBatchEngine(config, limiter or LocalRateLimiter(), folder)
    await engine.start()
    try:
        return await asyncio.gather(*(engine.generate(request(word), ()) for word in words), return_exceptions=True)
    finally:
        await engine.stop()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(ask_all(OpenaiSection.model_validate_json(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
