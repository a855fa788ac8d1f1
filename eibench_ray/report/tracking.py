"""Experiment tracking: one tracked run per cell, grouped by sweep.

Tracking is a bystander. It is told about cells from the driver's loop and never makes that loop wait or fail: what it
cannot deliver is kept on disk or dropped, with one line in the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from eibench_ray.config.schema import TrackingConfig
from eibench_ray.errors import ConfigError

Mode = Literal["online", "offline"]

# W&B's own values of WANDB_MODE; `run` and `dryrun` are its older names.
_MODES: dict[str, Mode] = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline"}


@dataclass(frozen=True, slots=True)
class TrackedCell:
    """One cell as its tracker sees it.

    Attributes:
        key: hex digest, the same for the same cell of the same sweep; the id of the tracked run derives from it.
        sweep: the group of the run.
        name: model/setting/dataset/judge.
        config: JSON-able, free of secrets.
        num_rows: rows that the cell has in all.
    """

    key: str
    sweep: str
    name: str
    config: Mapping[str, Any]
    num_rows: int


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One row of the table of samples.

    Attributes:
        recall: share of the reference triggers that the answer names, in [0, 1]; None without a valid verdict.
        image: the picture's bytes as they are stored; None for a text-only sample.
    """

    sample_id: str
    question: str
    emotion: str
    reference: str
    answer: str | None
    judge_reply: str | None
    recall: float | None
    image: bytes | None


class Tracker(Protocol):
    """Where a sweep's progress and scores are shown. No method raises, and only `close` waits."""

    def progress(self, cell: TrackedCell, *, rows_done: int, tokens: int, tokens_per_s: float) -> None:
        """Note how far a cell is; the caller limits the rate, and only a cell's newest note is sure to arrive."""

    def finish(self, cell: TrackedCell, scores: Mapping[str, float | int], samples: Sequence[SampleRow]) -> None:
        """Note a cell's scores, and end its run."""

    def close(self) -> None:
        """Deliver what is left, within a deadline, and log what is given up."""


class NoTracker:
    """A tracker that does nothing."""

    def progress(self, cell: TrackedCell, *, rows_done: int, tokens: int, tokens_per_s: float) -> None:
        """Do nothing."""

    def finish(self, cell: TrackedCell, scores: Mapping[str, float | int], samples: Sequence[SampleRow]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def open_tracker(config: TrackingConfig, folder: Path, environ: Mapping[str, str]) -> Tracker:
    """The tracker that the configuration asks for; W&B is imported only if it is W&B's.

    Args:
        config: what to track with.
        folder: where the tracker may write; W&B's files lie in its `wandb`.
        environ: the process's environment, for the key and for WANDB_MODE.

    Raises:
        ConfigError: online without a key, or an unknown WANDB_MODE.
    """
    mode = resolve_mode(config, environ) if config.kind == "wandb" else None
    if mode is None:
        return NoTracker()
    from eibench_ray.report.wandb_tracker import WandbTracker

    return WandbTracker(config, folder, mode, environ.get(config.api_key_env) if mode == "online" else None)


def resolve_mode(config: TrackingConfig, environ: Mapping[str, str]) -> Mode | None:
    """Online or offline; None where WANDB_MODE is `disabled`.

    A mode in the configuration wins. `auto` follows WANDB_MODE where that is set, and else whether there is a key.
    """
    has_key = bool(environ.get(config.api_key_env))
    mode: Mode | None
    if config.mode != "auto":
        mode, source = config.mode, "tracking.mode"
    elif asked := environ.get("WANDB_MODE"):
        if asked != "disabled" and asked not in _MODES:
            raise ConfigError(
                f"WANDB_MODE is {asked!r}, which a sweep cannot use: unset it, or set it to online, offline or disabled"
            )
        mode, source = _MODES.get(asked), "WANDB_MODE"
    else:
        mode, source = "online" if has_key else "offline", "tracking.mode"
    if mode == "online" and not has_key:
        # W&B would ask at the terminal, and a sweep has nobody there to answer.
        raise ConfigError(
            f"{source} is online, but the environment variable {config.api_key_env} is not set: "
            f"put the key there, or set tracking.mode=offline and run `wandb sync` later"
        )
    return mode
