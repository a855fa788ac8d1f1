"""The reason why a task or an actor failed, in words for people. Pure."""

from __future__ import annotations

import re

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
    """What says why in Ray's several paragraphs, whole and in one line: of a traceback its last error, else all."""
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
    """The reason with the keys that its reader can set: of an engine that only judges they stand below `judge`."""
    verdicts = {step for cell in plan.cells for step in cell.verdicts}
    asks = {step.id for step in plan.steps.values() if step.engine == engine}
    return _MODEL_KEY.sub("judge.model.engine", reason) if asks and asks <= verdicts else reason
