"""Why a server ended, from its exit code and what it printed last. Pure."""

from __future__ import annotations

import re
import signal

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
