"""One check in a process of its own, and its line of the result."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench.gpu_check.check_table import CHECKS
from bench.gpu_check.machine import SkippedError


def run_apart(name: str, checkpoint: str, seconds: float) -> dict[str, Any]:
    """A line for one check, from a process group of its own that ends with it."""
    started = time.monotonic()
    line: dict[str, Any] = {"check": name, "status": "skipped", "reason": "no time is left: raise --minutes"}
    if seconds > 1:
        command = [sys.executable, "-m", "bench.gpu_check", "--child", name, "--checkpoint", checkpoint]
        with tempfile.TemporaryFile("w+") as log:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
            try:
                said, _ = child.communicate(timeout=min(seconds, CHECKS[name].most_s))
                line |= {"reason": ""} | json.loads(said.splitlines()[-1])
            except subprocess.TimeoutExpired:
                line |= {"status": "failed", "reason": f"not done after {time.monotonic() - started:.0f} s"}
            except (IndexError, ValueError):
                log.seek(0)
                last = " ".join(log.read()[-1000:].split())
                line |= {"status": "failed", "reason": f"ended with {child.returncode}: {last}"}
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    return line | {"took_s": round(time.monotonic() - started, 1)}


def run_here(name: str, checkpoint: str) -> dict[str, Any]:
    """Figures of a check, or the reason why there are none."""
    try:
        return {"status": "ok"} | dict(CHECKS[name].measure(checkpoint))
    except SkippedError as skipped:
        return {"status": "skipped", "reason": str(skipped)}
    except ImportError as error:
        return {"status": "skipped", "reason": f"{error}: install what it names"}
    except Exception as error:
        return {"status": "failed", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"}
