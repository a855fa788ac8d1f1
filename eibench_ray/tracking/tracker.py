"""Experiment tracking: one tracked run per cell, grouped by sweep.

Tracking is a bystander. It is told about cells from the driver's loop and never makes that loop wait or fail. What was
delivered, and where, is told back cell by cell; what was not is named at the end, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from eibench_ray.config.schema import TrackingConfig
from eibench_ray.errors import ConfigError

Mode = Literal["online", "offline"]

# W&B's own values of WANDB_MODE; `run` and `dryrun` are its older names.
_MODES: dict[str, Mode] = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline"}
DEFAULT_SERVER = "https://api.wandb.ai"


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


@dataclass(frozen=True, slots=True)
class Target:
    """The place that a tracker sends to.

    Attributes:
        server: W&B's address.
        entity: team or user; None: the key's own.
    """

    mode: Mode
    server: str
    entity: str | None
    project: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A cell's final figures at the place where they arrived.

    Attributes:
        entity: as the server named it; offline, as configured.
        url: the run's page; None offline.
        folder: the offline run's folder; None online.
    """

    mode: Mode
    run_id: str
    entity: str | None
    project: str
    url: str | None
    folder: str | None


@dataclass(slots=True)
class TrackingReport:
    """What a tracker delivered of the final figures that it was told.

    Attributes:
        sent: cell name -> the tracked run's page.
        offline: cell name -> the offline run's folder.
        missing: cell name -> why its figures are nowhere.
        reason: why cells are offline or missing, as the server or the system said it; None where all were sent.
    """

    sent: dict[str, str | None] = field(default_factory=dict)
    offline: dict[str, str | None] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    reason: str | None = None

    def note(self, cell: TrackedCell, delivery: Delivery) -> None:
        """Enters a delivery."""
        if delivery.mode == "online":
            self.sent[cell.name] = delivery.url
        else:
            self.offline[cell.name] = delivery.folder

    def describe(self, run: Path) -> str | None:
        """One paragraph about what was not sent, and how to send it; None where nothing is left to send.

        Args:
            run: the run's folder.
        """
        num_left = len(self.offline) + len(self.missing)
        if not num_left:
            return None
        where = [f"{len(self.offline)} in offline folders below {run / 'wandb'}"] if self.offline else []
        where += [f"{len(self.missing)} nowhere ({_shorten(sorted(self.missing))})"] if self.missing else []
        return (
            f"Tracking: the final figures of {num_left} of {num_left + len(self.sent)} cells are not at W&B: "
            f"{', '.join(where)}. Reason: {self.reason or 'unknown'}. "
            f"`eibench-ray track {run}` sends them, and so does the next run of this sweep that reaches W&B."
        )


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


class Tracker(Protocol):
    """Where a sweep's progress and scores are shown. No method raises, and only `close` waits.

    Attributes:
        target: where it sends; None: nowhere.
    """

    target: Target | None

    def progress(self, cell: TrackedCell, *, rows_done: int, tokens: int, tokens_per_s: float) -> None:
        """Note how far a cell is; the caller limits the rate, and only a cell's newest note is sure to arrive."""

    def finish(
        self,
        cell: TrackedCell,
        scores: Mapping[str, float | int],
        samples: Sequence[SampleRow],
        on_delivery: Callable[[Delivery], None],
    ) -> None:
        """Note a cell's scores, and end its run; `on_delivery` is called once they have arrived, from any thread."""

    def close(self, deadline_s: float, say: Callable[[str], None]) -> TrackingReport:
        """Deliver what is left.

        Args:
            deadline_s: seconds after which it gives up, and kills what still sends; Ctrl-C does that before.
            say: takes a line about what is waited for, now and then.
        """


class NoTracker:
    """A tracker that sends nothing.

    Args:
        reason: why, if the configuration asks for tracking; then its report names the cells that it was told.
    """

    def __init__(self, reason: str | None = None) -> None:
        self.target: Target | None = None
        self._report = TrackingReport(reason=reason)

    def progress(self, cell: TrackedCell, *, rows_done: int, tokens: int, tokens_per_s: float) -> None:
        """Do nothing."""

    def finish(
        self,
        cell: TrackedCell,
        scores: Mapping[str, float | int],  # noqa: ARG002 - as the protocol wants it
        samples: Sequence[SampleRow],  # noqa: ARG002
        on_delivery: Callable[[Delivery], None],  # noqa: ARG002
    ) -> None:
        """Keep the cell's name, if somebody wants to know what was not sent."""
        if self._report.reason:
            self._report.missing[cell.name] = self._report.reason

    def close(self, deadline_s: float, say: Callable[[str], None]) -> TrackingReport:  # noqa: ARG002
        """Report what was not sent."""
        return self._report


def open_tracker(config: TrackingConfig, folder: Path, environ: Mapping[str, str]) -> Tracker:
    """The tracker that the configuration asks for; W&B is imported only if it is W&B's.

    Args:
        config: what to track with.
        folder: where the tracker may write; W&B's files lie in its `wandb`.
        environ: the process's environment, for the key and for WANDB_MODE.

    Raises:
        ConfigError: online without a key, or an unknown WANDB_MODE.
    """
    if config.kind != "wandb":
        return NoTracker()
    mode = resolve_mode(config, environ)
    if mode is None:
        return NoTracker("WANDB_MODE is disabled")
    from eibench_ray.tracking.wandb.wandb_tracker import WandbTracker

    target = make_target(config, mode, environ)
    return WandbTracker(config, folder, target, environ.get(config.api_key_env) if mode == "online" else None)


def make_target(config: TrackingConfig, mode: Mode, environ: Mapping[str, str]) -> Target:
    """The place that a configuration names; the server is the environment's."""
    return Target(mode, environ.get("WANDB_BASE_URL") or DEFAULT_SERVER, config.entity, config.project)


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
            f"put the key there, or set tracking.mode=offline and send later with `eibench-ray track RUN`"
        )
    return mode
