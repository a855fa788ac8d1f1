"""The environment in which W&B's service starts: what describes one run is left out, since a sweep has many."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

# These name one run, its place or its parent. `wandb agent` and `wandb launch` set them for the command that they
# start, and they win over what a program says: all cells would become that one run.
# Source: wandb 0.31, Settings and env.py.
_OF_ONE_RUN = frozenset(
    {"SWEEP_ID", "SWEEP_PARAM_PATH", "RUN_ID", "RUN_NAME", "NAME", "RUN_GROUP", "RUN_STORAGE_ID", "RUN_DIR", "RESUME"}
    | {"RESUME_FROM", "RESUMED", "FORK_FROM", "REINIT", "PROJECT", "ENTITY", "ORGANIZATION", "DIR", "SERVICE"}
    | {"CONFIG_PATHS", "JOB_NAME", "JOB_SOURCE", "SHOW_RUN", "PROGRAM", "ARGS", "NOTEBOOK_NAME", "DESCRIPTION"}
)
_OF_ONE_RUN_PRIVATE = frozenset(
    {"LABEL", "PRIMARY", "UPDATE_FINISH_STATE", "SKIP_TRANSACTION_LOG", "SYNC", "SYNC_DIR_SUFFIX", "START_TIME"}
    | {"FILES_DIR", "RUNQUEUE_ITEM_ID"}
)
_PREFIX = "WANDB_"


def left_out(environ: Mapping[str, str]) -> list[str]:
    """The variables of an environment that describe one run of W&B's, sorted: WANDB_SWEEP_ID, WANDB_RUN_ID, ..."""
    return sorted(name for name, value in environ.items() if value and _is_of_one_run(name))


def _is_of_one_run(name: str) -> bool:
    if not name.startswith(_PREFIX):
        return False
    key = name.removeprefix(_PREFIX)
    private = key.removeprefix("X_").removeprefix("_")
    return key in _OF_ONE_RUN or key.startswith("LAUNCH") or (private != key and private in _OF_ONE_RUN_PRIVATE)


def describe_left_out(names: list[str]) -> str:
    """One line that says which variables are left out, and what says it instead."""
    return (
        f"tracking leaves out {', '.join(names)} of the environment: each cell is a run of its own. "
        f"Name the place with tracking.wandb.project and tracking.wandb.entity, and the group with sweep"
    )


@contextlib.contextmanager
def tracking_environ(folder: Path) -> Iterator[None]:
    """The process's environment while W&B's service runs; afterwards it is what it was.

    Args:
        folder: where the tracker may write.
    """
    before = dict(os.environ)
    for name in [name for name in before if _is_of_one_run(name)]:
        os.environ.pop(name)
    for name, value in run_environ(folder).items():
        os.environ.setdefault(name, value)  # what the user has set wins
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith(_PREFIX) and name not in before]:
            os.environ.pop(name)
        os.environ.update({name: value for name, value in before.items() if name.startswith(_PREFIX)})


def run_environ(folder: Path) -> dict[str, str]:
    """Settings that W&B takes only from the process's environment."""
    return {
        # A table's pictures are staged in the home folder, which a batch job may lose before they are synced.
        "WANDB_DATA_DIR": str(folder / "wandb"),
        # Its service's own log; where there is no home folder, that log goes to the terminal.
        "WANDB_CACHE_DIR": str(folder / "wandb" / "cache"),
        # Its reports on itself go out offline too, and held the process for 22 s at its end with a silent server.
        "WANDB_ERROR_REPORTING": "false",
    }
