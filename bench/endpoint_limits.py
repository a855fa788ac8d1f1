"""Use of an endpoint's limit, and how often it is overrun: the real engine against the tests' fault server.

    python -m bench.endpoint_limits [--per-min 600] [--seconds 70] [--cases configured,learnt,...]

The server keeps a token bucket that holds a second's worth, and answers after half a second.

configured    the limit stands in the configuration
learnt        it stands nowhere, and the server says nothing but 429
headers       it stands in the headers of the server's replies
wait_ms       it stands nowhere; a 429 says when to come back, in milliseconds (retry-after-ms)
wait_s        the same in whole seconds (Retry-After), at which the server has been idle for a while
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import typer

from bench.result_file import write_result
from eibench_ray.engines.engine import Engine, RowError
from eibench_ray.engines.openai.openai_section import EndpointLimits, OpenaiSection
from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.rows.request import Request, Sampling

SERVER = Path(__file__).parent.parent / "tests" / "endpoints" / "fault_server.py"
# After so long a steady limit must not be overrun any more.
LEARNT_BY_S = 10.0
# What the server tells of its limit, by case.
TELLS: Mapping[str, dict[str, Any]] = {
    "configured": {},
    "learnt": {},
    "headers": {"tells_limit": True},
    "wait_ms": {"tells_wait": "ms"},
    "wait_s": {"tells_wait": "s"},
}


@contextlib.contextmanager
def serving(behaviour: Mapping[str, Any]) -> Iterator[str]:
    """The address of a fault server in a process of its own."""
    command = [sys.executable, str(SERVER), "--behaviour", json.dumps(behaviour)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.kill()
            process.wait()


def events_of(address: str) -> list[dict[str, Any]]:
    """Each request's end, as the server saw it."""
    with urlopen(HttpRequest(f"{address}/events")) as reply:
        found: list[dict[str, Any]] = json.load(reply)
    return found


async def ask_for(engine: Engine, seconds: float) -> int:
    """Asks without end, as many at once as the engine takes; the number of rows that failed."""
    facts = await engine.start()
    numbers, failed = itertools.count(), 0

    async def ask() -> None:
        nonlocal failed
        while True:
            number = next(numbers)
            text = f"why is person {number} so?"
            request = Request(str(number), str(number), None, text, (), Sampling(0.0, 1.0, 64), 0)
            try:
                await engine.generate(request, ())
            except RowError as error:
                failed += 1
                print(f"row {number} failed: {error}", file=sys.stderr)

    tasks = [asyncio.create_task(ask()) for _ in range(facts.max_num_seqs)]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    await engine.stop()
    for end in ends:
        if not isinstance(end, asyncio.CancelledError):
            raise end
    return failed


def run_case(case: str, per_min: float, seconds: float) -> dict[str, Any]:
    """One line of the table."""
    from eibench_ray.engines.openai.openai_engine import OpenaiEngine

    limit = {"requests_per_min": per_min} | TELLS[case]
    limits = EndpointLimits(requests_per_min=per_min if case == "configured" else None)
    with serving({"limit": limit, "latency_s": 0.5}) as address:
        config = OpenaiSection(kind="openai", endpoint="local", base_url=f"{address}/v1", model="tiny", limits=limits)
        engine = OpenaiEngine(config, LocalRateLimiter({config.pool: RateLimits(config.pool, limits.requests_per_min)}))
        # The server's clock begins with the first request.
        failed = asyncio.run(ask_for(engine, seconds + 2.0))
        events = events_of(address)
    begin = min(event["at"] for event in events)
    passed = [event["at"] - begin for event in events if event["outcome"] != "limited"]
    refused = [event["at"] - begin for event in events if event["outcome"] == "limited"]
    allowed_per_s = per_min / 60
    late = [at for at in passed if LEARNT_BY_S <= at < seconds]
    return {
        "case": case,
        "used": sum(at < seconds for at in passed) / (allowed_per_s * seconds),
        "used_after_10_s": len(late) / (allowed_per_s * (seconds - LEARNT_BY_S)),
        "refused": len(refused),
        "refused_after_10_s": sum(at >= LEARNT_BY_S for at in refused),
        "last_refused_s": max(refused, default=0.0),
        "failed_rows": failed,
    }


def main(
    per_min: Annotated[float, typer.Option(min=1.0)] = 600.0,
    seconds: Annotated[float, typer.Option(min=20.0)] = 70.0,
    cases: str = ",".join(TELLS),
) -> None:
    """Runs the benchmark."""
    lines = [run_case(case, per_min, seconds) for case in cases.split(",")]
    write_result("endpoint_limits", {"per_min": per_min, "seconds": seconds}, lines)


if __name__ == "__main__":
    typer.run(main)
