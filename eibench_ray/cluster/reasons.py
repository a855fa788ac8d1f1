"""The reason in what Ray says of a failed task or actor: several paragraphs, of which one line matters. Pure."""

from __future__ import annotations

import re

# The end of a traceback: a class of errors, perhaps with its module, and the message, which may have several lines.
_ERROR_LINE = re.compile(r"^\s*((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Exit|Interrupt)): (\S.*)$")
_LACKS = re.compile(r"No module named '(eibench_ray|vllm|transformers|torch)\b")
_MOST_CHARS = 1000


# What Ray adds where a process died without a word, whoever it was, and guesses why.
_NAMES = re.compile(r"^\s*(class_name|actor_id|pid|namespace|ip): .*$", re.MULTILINE)
_GUESSES = re.compile(r"Some common causes include: .*", re.DOTALL)


def find_reason(text: str) -> str:
    """What says why, whole and in one line: of a traceback its last error, else all of it."""
    lines = text.splitlines()
    found = [number for number, line in enumerate(lines) if _ERROR_LINE.match(line)]
    words = "\n".join(lines[found[-1] :]) if found else _GUESSES.sub("", _NAMES.sub("", text))
    reason = " ".join(words.split())
    if len(reason) > _MOST_CHARS:
        reason = f"{reason[:_MOST_CHARS]}..."
    if _LACKS.search(reason):
        reason += " on its node, where the Python environment of this machine is to be, at the same path"
    return reason
