"""The runs of Weights & Biases: one per cell, opened at its first note, blocking and raising as W&B does.

Offline and resumed runs. A cell's run id is derived from its key, so a resumed sweep resumes its runs: online, W&B
appends to the run; offline, every start of the sweep leaves its own `offline-run-<time>-<id>` folder with the same id,
and `wandb sync` uploads them to one run, in the order of their start times. The tables' pictures lie in
`wandb/artifacts`, by absolute path: sync where the sweep's folder has the same path.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import wandb
from PIL import Image

from eibench_ray.config.schema import TrackingConfig
from eibench_ray.report.tracking import Mode, SampleRow, TrackedCell

log = logging.getLogger(__name__)

# One wait for the server, at a run's start or end: a third of the deadline of a tracker's `close`.
SERVER_TIMEOUT_S = 20.0
PICTURE_PIXELS = 512  # longer side: 24 noisy pictures of 640 x 480 take 2 MB as such JPEGs, 18 MB as W&B's PNGs


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a cell is."""

    cell: TrackedCell
    rows_done: int
    tokens: int
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Final:
    """A cell's scores and samples."""

    cell: TrackedCell
    scores: Mapping[str, float | int]
    samples: Sequence[SampleRow]


class WandbRuns:
    """The W&B runs of one sweep, by cell. Blocks and raises as W&B does; for one thread only."""

    def __init__(self, config: TrackingConfig, folder: Path, mode: Mode, api_key: str | None) -> None:
        self._config = config
        self._folder = folder
        self._mode: Mode = mode
        self._api_key = api_key
        self._runs: dict[str, Any] = {}

    def show(self, progress: Progress) -> None:
        """Add one point to the history of a cell's run."""
        self._open(progress.cell).log(
            {
                "rows_done": progress.rows_done,
                "rows_total": progress.cell.num_rows,
                "tokens": progress.tokens,
                "tokens_per_s": progress.tokens_per_s,
            }
        )

    def finish(self, final: Final) -> None:
        """Write a cell's summary and its table of samples, and end its run.

        Raises:
            TimeoutError: the server did not take the run's data in time; `wandb sync` can send it later.
        """
        run = self._open(final.cell)
        if final.samples:
            run.log({"samples": sample_table(final.samples)})
        run.summary.update(dict(final.scores))
        del self._runs[final.cell.key]
        run.finish()

    def abandon(self, cell: TrackedCell) -> None:
        """End the run of a cell that was not finished, as failed."""
        if run := self._runs.pop(cell.key, None):
            run.finish(exit_code=1)

    def start_over_offline(self) -> None:
        """Let go of all runs; what comes next opens them anew, offline."""
        self._mode = "offline"
        self.close()

    def close(self) -> None:
        """End W&B's service, dead or alive; without that, the end of an offline run may not be on disk yet."""
        self._runs.clear()
        with contextlib.suppress(SystemExit):  # W&B leaves by it where its service ended with an error
            wandb.teardown()

    def _open(self, cell: TrackedCell) -> Any:
        if cell.key not in self._runs:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.R_OK | os.W_OK):  # W&B would write to the system's temporary folder
                raise PermissionError(f"{self._folder} cannot be read and written")
            wandb.setup(wandb.Settings(silent=True))  # also what is said before a run has settings of its own
            run = wandb.init(
                project=self._config.project,
                entity=self._config.entity,
                id=cell.key[:32],
                group=cell.sweep,
                name=cell.name,
                config=dict(cell.config),
                mode=self._mode,
                resume="allow",
                reinit="create_new",
                settings=run_settings(self._folder, self._api_key if self._mode == "online" else None),
            )
            for metric in ("rows_total", "tokens", "tokens_per_s"):
                run.define_metric(metric, step_metric="rows_done")
            self._runs[cell.key] = run
        return self._runs[cell.key]


def run_environ(folder: Path) -> dict[str, str]:
    """What W&B takes only from the process's environment; what the user has set there wins."""
    return {
        # A table's pictures are staged in the home folder, which a batch job may lose before they are synced.
        "WANDB_DATA_DIR": str(folder / "wandb"),
        # Its service's own log; where there is no home folder, that log goes to the terminal.
        "WANDB_CACHE_DIR": str(folder / "wandb" / "cache"),
        # Its reports on itself go out offline too, and held the process for 22 s at its end with a silent server.
        "WANDB_ERROR_REPORTING": "false",
    }


def run_settings(folder: Path, api_key: str | None) -> wandb.Settings:
    """Settings of a run that prints nothing, asks nothing, stops nothing, and tells nothing about the machine."""
    return wandb.Settings(
        api_key=api_key,
        root_dir=str(folder),
        use_dot_wandb=False,
        symlink=False,
        silent=True,
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        label_disable=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_service_wait=SERVER_TIMEOUT_S,
        init_timeout=SERVER_TIMEOUT_S,
        finish_timeout=SERVER_TIMEOUT_S,
        finish_timeout_raises=True,
        stop_fn=ignore_stop,
    )


def ignore_stop() -> None:
    """Log that a run was stopped on W&B's page: by default that would interrupt the whole sweep."""
    log.info("a stop asked for on the tracker's page is ignored: interrupt the sweep itself")


def sample_table(samples: Sequence[SampleRow]) -> wandb.Table:
    """The table of samples, one column per field, the picture where it can be read."""
    columns = [field.name for field in fields(SampleRow)]
    table = wandb.Table(columns=columns)
    for sample in samples:
        row = {name: getattr(sample, name) for name in columns}
        table.add_data(*(row | {"image": thumbnail(sample.image) if sample.image else None}).values())
    return table


def thumbnail(image: bytes) -> wandb.Image | None:
    """A picture small enough for a table; None where its bytes are no picture."""
    try:
        picture = Image.open(io.BytesIO(image)).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        log.debug("no picture for the table of samples: %s", first_line(error))
        return None
    picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    return wandb.Image(picture, file_type="jpg")


def first_line(error: BaseException) -> str:
    """The error's kind and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
