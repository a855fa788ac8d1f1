"""Runs a command and ends all of it with its parent: `python -m eibench_ray.serve.parent_guard COMMAND...`.

Measured with Ray 2.60 and vLLM 0.32: when the process that called `ray.init` is killed, the server's actor ends itself
within 3 s and kills what it has started, and no more than that: vLLM's EngineCore and Worker live on, with their
memory. So the actor starts this guard, which leaves the actor's family and group at once, and learns of its death by a
pipe that closes.

stdin: a line asks the server to end in order, the end of stdin kills it. stdout: `pid N`, at last `exit CODE`. What the
command prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main(command: list[str]) -> None:
    """Runs the command in a group of processes of its own, of which nothing is left when this returns."""
    if os.fork():
        os._exit(0)  # the actor has waited for this one; the other is no child of its any more
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)
    _report(f"pid {server.pid}")
    threading.Thread(target=_obey, args=(server,), daemon=True).start()
    code = server.wait()
    _kill_group(server)
    _report(f"exit {code}")


def _obey(server: subprocess.Popen[bytes]) -> None:
    while sys.stdin.readline():
        server.terminate()
    _kill_group(server)


def _kill_group(server: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)


def _report(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody is left to read it
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
