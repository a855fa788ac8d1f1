"""Weights & Biases: its options, where it sends, and its service. W&B is imported when a run is opened."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from eibench_ray.config.section import Filled
from eibench_ray.errors import ConfigError
from eibench_ray.tracking.tracker import Mode, RunFacts, Target, TrackedRun, Tracker, TrackingPlace
from eibench_ray.tracking.wandb.wandb_environ import describe_left_out, left_out, tracking_environ

log = logging.getLogger(__name__)

# W&B's own values of WANDB_MODE; `run` and `dryrun` are its older names.
_MODES: dict[str, Mode] = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline"}
DEFAULT_SERVER = "https://api.wandb.ai"


@dataclass(frozen=True, slots=True)
class WandbTracker(Tracker):
    """One W&B run per cell, and one for the sweep.

    Attributes:
        mode: `auto` is online where the key's variable is set, offline otherwise; it never prompts.
        api_key_env: name of the environment variable that holds the key. The key itself is never in a config.
    """

    project: Filled = "eibench"
    entity: str | None = None  # team or user; None: the key's own
    mode: Literal["auto", "online", "offline"] = "auto"
    api_key_env: str = "WANDB_API_KEY"

    title = "W&B"
    has_offline = True

    def target(self, environ: Mapping[str, str]) -> Target:
        """The project on the environment's server, online or offline.

        Raises:
            ConfigError: WANDB_MODE is unknown.
        """
        server = environ.get("WANDB_BASE_URL") or DEFAULT_SERVER
        mode, reason = self._resolve_mode(environ)
        return Target(mode, server, "/".join(filter(None, (self.entity, self.project))), reason)

    def _resolve_mode(self, environ: Mapping[str, str]) -> tuple[Literal["online", "offline", "disabled"], str | None]:
        """A configured mode wins; `auto` follows WANDB_MODE, where it is set, and else whether there is a key."""
        asked = environ.get("WANDB_MODE")
        if self.mode != "auto":
            mode = self.mode
        elif asked == "disabled":
            return "disabled", "WANDB_MODE is disabled"
        elif asked in _MODES:
            mode = _MODES[asked]
        elif asked:
            raise ConfigError(
                f"WANDB_MODE is {asked!r}, which a sweep cannot use: unset it, or set it to online, offline or disabled"
            )
        elif not environ.get(self.api_key_env):
            return "offline", f"tracking is offline ({self.api_key_env} is not set)"
        else:
            mode = "online"
        return mode, None if mode == "online" else "tracking is offline (as configured)"

    def secret(self, environ: Mapping[str, str]) -> str | None:
        """The key.

        Raises:
            ConfigError: it is needed and not there: W&B would ask at the terminal, and a sweep has nobody there.
        """
        key = environ.get(self.api_key_env)
        if not key and self.target(environ).mode == "online":
            asked = "WANDB_MODE" if self.mode == "auto" else "tracking.wandb.mode"
            raise ConfigError(
                f"{asked} is online, but the environment variable {self.api_key_env} is not set: put the key there, or "
                f"set tracking.wandb.mode=offline and send later with `eibench-ray track RUN`"
            )
        return key

    def dashboard(self, environ: Mapping[str, str], *, is_dry: bool) -> str:
        """A workspace of the project.

        Raises:
            ConfigError: wandb-workspaces is not installed, or there is no key.
        """
        if find_spec("wandb_workspaces") is None:
            raise ConfigError(
                "a dashboard of W&B needs the package wandb-workspaces, which is not installed here: "
                "pip install 'eibench-ray[dashboards]'"
            )
        from eibench_ray.tracking.wandb.wandb_dashboard import build_dashboard, describe_dashboard, save_dashboard

        if is_dry:
            return describe_dashboard(
                build_dashboard(self.entity or "your default entity", self.project, "eibench_ray")
            )
        key = self.online().secret(environ)
        assert key is not None  # it was refused otherwise
        return save_dashboard(self.project, self.entity, "eibench_ray", key)

    def online(self) -> WandbTracker:
        """The same, online."""
        return replace(self, mode="online")

    @contextlib.contextmanager
    def session(self, folder: Path) -> Iterator[None]:
        """The process's environment as W&B's service is to see it."""
        if names := left_out(os.environ):
            log.warning("%s", describe_left_out(names))
        with tracking_environ(folder):
            yield

    def open(self, facts: RunFacts, place: TrackingPlace) -> TrackedRun:
        """A run of W&B's."""
        from eibench_ray.tracking.wandb.wandb_runs import open_run

        return open_run(facts, place, self.project, self.entity)

    def reset(self) -> None:
        """Ends W&B's service."""
        from eibench_ray.tracking.wandb.wandb_runs import end_service

        end_service()

    def stop(self) -> None:
        """Kills W&B's service, so that a call which waits for it ends."""
        from eibench_ray.tracking.wandb.wandb_runs import kill_service

        kill_service()

    def describe_trouble(self, folder: Path, runs: Sequence[TrackedRun]) -> str | None:
        """The last thing that a run met on its way to the server."""
        from eibench_ray.tracking.wandb.wandb_runs import last_trouble

        return last_trouble(folder, runs)

    def clean(self, folder: Path, *, is_all_sent: bool) -> None:
        """Removes the service's cache, and what was staged for an upload that is done."""
        from eibench_ray.tracking.wandb.wandb_runs import clean_folder

        clean_folder(folder, is_all_sent=is_all_sent)

    def was_synced(self, folder: Path) -> bool:
        """Whether `wandb sync` has sent it: that leaves a file beside the run's log."""
        return any(folder.glob("*.wandb.synced"))
