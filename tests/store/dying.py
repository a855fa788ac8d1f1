"""Asks a small sweep in a process that is killed at a named moment: `dying.py FOLDER ROOT MOMENT NUMBER`.

The moments: `written` (a slice is beside its final name), `renamed` (it has it), `answered` (a row is back).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from conftest import Scripted, Sweeps

from eibench_ray.rows.request import Request


def main() -> None:
    """Runs until it is killed."""
    folder, root, moment, number = sys.argv[1:]
    left = int(number)
    rename = Path.replace

    def pass_by(name: str) -> None:
        nonlocal left
        left -= name == moment
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    def replace(self: Path, target: Path) -> Path:
        is_slice = str(target).endswith(".parquet")
        if is_slice:
            pass_by("written")
        renamed = rename(self, target)
        if is_slice:
            pass_by("renamed")
        return renamed

    def answer(request: Request) -> str:
        pass_by("answered")
        return f"it rains on {request.sample_id}"

    Path.replace = replace  # type: ignore[method-assign, assignment]
    sweeps = Sweeps(Path(folder))
    config = sweeps.config(store={"root": root, "slice_rows": 4})
    sweeps.ask(sweeps.plan(config), Scripted(answer), run_id="killed")


if __name__ == "__main__":
    main()
