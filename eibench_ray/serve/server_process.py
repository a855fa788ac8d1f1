"""A server as a process of an actor: started behind its guard, watched by /health, stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eibench_ray.engines.api_key import Secret
from eibench_ray.errors import EngineError
from eibench_ray.serve.listen_address import ListenAddress

# What is kept of its output: a traceback of vLLM has some hundred lines, in each of two processes.
TAIL_LINES = 500
LONGEST_LINE = 1 << 20
# An answer of /health costs nothing; on cores that are all taken it may take its time.
HEALTH_TIMEOUT_S = 20.0


@dataclass(slots=True)
class ServerProcess:
    """A server that was started; `ended` says why it is none any more."""

    pid: int  # of the server's own process
    _guard: asyncio.subprocess.Process
    _ending: asyncio.Task[str]

    @classmethod
    async def start(cls, arguments: Sequence[str], environment: Mapping[str, str], secret: Secret) -> ServerProcess:
        """A server that has just begun to load.

        Args:
            arguments: what follows `python`.
            environment: all of its environment variables.
            secret: what must not be read in its output.

        Raises:
            EngineError: it cannot be started.
        """
        python = (sys.executable, "-P")  # -P: not this folder, where a checkout may lie
        guard = await asyncio.create_subprocess_exec(
            *(*python, "-m", "eibench_ray.serve.parent_guard", *python, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
            limit=LONGEST_LINE,
        )
        assert guard.stdout is not None
        assert guard.stderr is not None
        output = asyncio.create_task(_follow(guard.stderr, secret))
        first = (await guard.stdout.readline()).split()
        if not first:
            raise EngineError(f"the server cannot be started: {describe_end(1, await output)}")
        return cls(int(first[1]), guard, asyncio.create_task(_wait(guard.stdout, output)))

    async def ended(self, timeout_s: float | None = None) -> str | None:
        """The reason for its end; None where it has not ended within the time."""
        done, _ = await asyncio.wait({self._ending}, timeout=timeout_s)
        return self._ending.result() if done else None

    async def stop(self) -> None:
        """Ends it in order; returns when nothing of it is left."""
        assert self._guard.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._guard.stdin.write(b"stop\n")
            await self._guard.stdin.drain()
        await self.ended()

    async def kill(self) -> None:
        """Ends it at once; returns when nothing of it is left."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        await self.ended()


async def is_healthy(listening: ListenAddress, port: int) -> bool:
    """Whether a server answers there that it is ready."""
    return await asyncio.to_thread(_ask_health, listening.local_host, port)


def _ask_health(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=HEALTH_TIMEOUT_S)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    return False


async def _follow(output: asyncio.StreamReader, secret: Secret) -> str:
    """The last lines of what a server prints, once it has ended; all of it goes to Ray's log of this process."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    while True:
        try:
            line = secret.hide((await output.readline()).decode(errors="replace"))
        except ValueError:  # a line beyond all limits
            continue
        if not line:
            return "".join(tail)
        tail.append(line)
        sys.stderr.write(line)


async def _wait(reports: asyncio.StreamReader, output: asyncio.Task[str]) -> str:
    """Waits for a server's end, and returns the reason."""
    code = (await reports.read()).decode().partition("exit ")[2]
    return describe_end(int(code), await output) if code else "its guard was killed"


LONGEST = 600
# Colours, and what vLLM writes before a line: `(EngineCore pid=12) ERROR 11-26 06:20:51 [core.py:1100] `.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PREFIX = re.compile(r"^(?:\([\w.-]+ pid=\d+\)\s*)?(?:[A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\]\s?)?")
# An exception's own line at the end of a traceback, and what argparse and Python themselves say.
_ERROR = re.compile(r"^(?:[\w.]*(?:Error|Exception)\b: \S|\S+: error: |\S+: No module named )")
# What a process says of the death of another, which has given its reason before.
_ECHOES = ("Engine core initialization failed", "Engine core proc", "EngineCore encountered an issue")


def describe_end(code: int, output: str) -> str:
    """The last error that was printed, else the last line, and the code; of one that was killed, by which signal."""
    lines = [_PREFIX.sub("", _COLOUR.sub("", line)).strip() for line in output.splitlines()]
    errors = [line for line in lines if _ERROR.match(line)]
    own = [line for line in errors if not any(echo in line for echo in _ECHOES)]
    said = (own or errors or [""])[-1]
    if not said and code >= 0:
        said = next((line for line in reversed(lines) if line), "it said nothing")
    end = f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"
    return f"{said[:LONGEST].rstrip('.')} ({end})" if said else end


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
