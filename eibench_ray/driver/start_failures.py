"""Which failed starts of an engine are worth another one. Pure."""

from __future__ import annotations

import re

from eibench_ray.engines.engine import EngineDeadError
from eibench_ray.errors import EibenchError, EngineError


class StartTimeoutError(EngineError):
    """An engine did not load in time."""


# What others on the machine or on the way to it do, or what an earlier process has left, and what passes. Where vLLM's
# own process fails, the parent knows no reason ("Engine core initialization failed. See root cause above").
_PASSING = re.compile(
    r"""
    \b(cuda|nccl|hip|accelerator)\s(driver\s)?error | cudaError | NCCL\serror | ncclUnhandled
    | out\sof\smemory | OutOfMemory | cannot\sallocate\smemory | can't\sallocate\smemory
    | free\smemory\son\sdevice | less\sthan\sdesired\sGPU\smemory
    | address\salready\sin\suse | EADDRINUSE | port\s\S*\s?is\s(already\s)?in\suse
    | engine\score\s(proc\S*\s)?(initialization\s)?failed | worker\s?proc\S*\sinitialization\sfailed
    | connection\s(reset|refused|aborted|timed\sout|error) | ConnectionError | ReadTimeout | timed\sout
    | temporary\sfailure | temporarily\sunavailable | too\smany\srequests
    | \b(429|50[234])\s(client|server|bad|service|gateway)
    | stale\sfile\shandle | input/output\serror | too\smany\sopen\sfiles
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_passing(error: EibenchError) -> bool:
    """Whether the same engine may start if it is tried again: it died, took too long, or met what passes.

    Weights that are not there, and a configuration that is wrong, are so the next time.
    """
    return isinstance(error, EngineDeadError | StartTimeoutError) or _PASSING.search(str(error)) is not None
