"""Reasons why tasks, actors and starts failed, in words for people, and whether a start is worth another try. Pure."""

from __future__ import annotations

import re

from eibench_ray.engines.engine import EngineDeadError
from eibench_ray.errors import EibenchError, EngineError
from eibench_ray.plan.graph import Plan

# The end of a traceback: a class of errors, perhaps with its module, and the message, which may have several lines.
_ERROR_LINE = re.compile(r"^\s*((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Exit|Interrupt)): (\S.*)$")
_LACKS = re.compile(r"No module named '(eibench_ray|vllm|transformers|torch)\b")
_MOST_CHARS = 1000
_MODEL_KEY = re.compile(r"(?<![\w.])model\.engine\b")

# What Ray adds where a process died without a word, whoever it was, and guesses why.
_NAMES = re.compile(r"^\s*(class_name|actor_id|pid|namespace|ip): .*$", re.MULTILINE)
_GUESSES = re.compile(r"Some common causes include: .*", re.DOTALL)


def find_reason(text: str) -> str:
    """The reason in Ray's several paragraphs, whole and in one line: of a traceback its last error, else all."""
    lines = text.splitlines()
    found = [number for number, line in enumerate(lines) if _ERROR_LINE.match(line)]
    words = "\n".join(lines[found[-1] :]) if found else _GUESSES.sub("", _NAMES.sub("", text))
    reason = " ".join(words.split())
    if len(reason) > _MOST_CHARS:
        reason = f"{reason[:_MOST_CHARS]}..."
    if _LACKS.search(reason):
        reason += " on its node, where the Python environment of this machine is to be, at the same path"
    return reason


def name_keys(reason: str, engine: str, plan: Plan) -> str:
    """The reason with the keys that its reader can set: of an engine that only judges they stand below `judge`.

    So they do of a baseline that is no model of the sweep.
    """
    asks = {step.id for step in plan.steps.values() if step.engine == engine}
    verdicts = {step for cell in plan.cells for step in cell.verdicts}
    compared = plan.steps_behind(answer for cell in plan.cells if cell.baseline for answer in cell.baseline.answers)
    compared -= plan.steps_behind(answer for cell in plan.cells for answer in cell.answers)
    for key, steps in (("judge.model.engine", verdicts), ("judge.baseline.engine", compared)):
        if asks and asks <= steps:
            return _MODEL_KEY.sub(key, reason)
    return reason


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
