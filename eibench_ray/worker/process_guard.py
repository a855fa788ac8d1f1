"""Ends what a replica has started when the replica itself dies, and with it, or before it, whoever could do so.

Measured with Ray 2.60 and vLLM 0.32 (bench/chaos): where a node's raylet is killed, its replicas end themselves, and
vLLM's EngineCore lives on with its memory. Nobody can tell later whose it is, as it overwrites its environment with its
name. So each replica that starts processes has a guard, a process that waits for a pipe to close, as it does with
whoever holds its other end, and then kills the replica's group, which Ray has made for it.
"""

from __future__ import annotations

import os
import subprocess
import sys

_GUARD = "import os, signal, sys; sys.stdin.buffer.read(); os.killpg(int(sys.argv[1]), signal.SIGKILL)"


def guard_group() -> subprocess.Popen[bytes] | None:
    """The guard of this process's group, to be kept as long as it is to watch; None where the group is another's."""
    if os.getpgrp() != os.getpid():
        return None
    command = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid())]
    # In a session of its own it is not killed with the group; nothing but this process holds the pipe's other end.
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
