"""Turns of a node's replicas at compiling one engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eibench_ray.weights.file_locks import locked_here


@contextmanager
def compile_turn(folder: Path, key: str) -> Iterator[None]:
    """Lets one process of a key go first, while the others wait; once it is done, all others go at the same time.

    Eight copies that compile the same model at once take the node's cores from each other, and vLLM writes some of what
    it compiles in place. A process that fails or dies gives its turn to the next.

    Args:
        folder: of what is compiled, so that whoever deletes it deletes what says that it is there.
        key: of all that decides what is compiled.
    """
    done = folder / f"{key}.compiled"
    if not done.exists():
        with locked_here(f"compile-{key}", folder):
            if not done.exists():
                yield
                folder.mkdir(parents=True, exist_ok=True)
                done.touch()
                return
    yield
