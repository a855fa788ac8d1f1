"""Runs one target under Atheris, in a process of its own: `fuzz_one.py TARGET CRASHES [libFuzzer's arguments]`.

An input that breaks a promise is kept in the folder CRASHES, once for each place in the code, and fuzzing goes on; only
what libFuzzer itself notices (a signal, too much memory or time) ends it.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import traceback
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["eibench_ray"]):
    from fuzz_targets import TARGETS


def main() -> None:
    """Fuzzes until libFuzzer's time is over."""
    name, crashes, *arguments = sys.argv[1:]
    target, seen = TARGETS[name], set[str]()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fuzz_", dir=memory if memory.is_dir() else None) as folder:

        def run(data: bytes) -> None:
            try:
                target.check(data, Path(folder))
            except Exception as error:
                place = _place(error)
                if place not in seen:
                    seen.add(place)
                    kept = Path(crashes) / f"crash-{hashlib.blake2b(data, digest_size=8).hexdigest()}"
                    kept.write_bytes(data)
                    sys.stderr.write(f"crash {kept}: {place}: {str(error)[:200]!r}\n")

        atheris.Setup([sys.argv[0], *arguments], run)
        atheris.Fuzz()


def _place(error: Exception) -> str:
    """The kind of an error, and the innermost line of the product's or of the target's that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "eibench_ray" in frame.filename or "fuzz" in frame.filename]
    return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"


if __name__ == "__main__":
    main()
