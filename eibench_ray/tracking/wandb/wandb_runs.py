"""The runs of Weights & Biases: one per cell, opened at its first note, blocking and raising as W&B does.

Offline and resumed runs. A cell's run id is derived from its key, so a resumed sweep resumes its runs: online, W&B
appends to the run; offline, every start of the sweep leaves its own `offline-run-<time>-<id>` folder with the same id,
and `wandb sync` uploads them to one run, in the order of their start times. The tables and their pictures lie in
`wandb/artifacts`, by absolute path: sync where the sweep's folder has the same path.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil
import wandb

from eibench_ray.config.schema import TrackingConfig
from eibench_ray.engines.engine import RowError
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.errors import EibenchError
from eibench_ray.tracking.tracker import Delivery, Mode, SampleRow, TrackedCell
from eibench_ray.visible_text import in_line, in_page

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0  # for the server's answer at a run's start
UPLOAD_TIMEOUT_S = 120.0  # for a run's last data; some MB of pictures over a slow line
# Errors in the log of W&B's service that say nothing about the data: a server without a list of features; an answer
# that is tried again, or whose consequence has a line of its own.
_HARMLESS = ("featurechecker", "api: HTTP error")
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
    """A cell's scores and samples, and whom to tell that they have arrived."""

    cell: TrackedCell
    scores: Mapping[str, float | int]
    samples: Sequence[SampleRow]
    on_delivery: Callable[[Delivery], None]


class NotDeliveredError(EibenchError):
    """W&B ended a run without an error, but its service could not send all of it."""


class WandbRuns:
    """The W&B runs of one sweep, by cell. Blocks and raises as W&B does; for one thread only, but for `kill`.

    Args:
        config: what to track with.
        folder: where W&B's files go, in its `wandb`.
        api_key: for online runs.
        has_pictures: whether offline tables hold pictures: a MB per cell, for `wandb sync`.
    """

    def __init__(self, config: TrackingConfig, folder: Path, api_key: str | None, has_pictures: bool) -> None:
        self._config = config
        self._folder = folder
        self._api_key = api_key
        self._has_pictures = has_pictures
        self._runs: dict[tuple[str, Mode], Any] = {}

    def show(self, progress: Progress, mode: Mode) -> None:
        """Add one point to the history of a cell's run."""
        self._open(progress.cell, mode).log(
            {
                "rows_done": progress.rows_done,
                "rows_total": progress.cell.num_rows,
                "tokens": progress.tokens,
                "tokens_per_s": progress.tokens_per_s,
            }
        )

    def finish(self, final: Final, mode: Mode) -> Delivery:
        """Write a cell's summary and its table of samples, end its run, and make sure that all of it went out.

        Raises:
            TimeoutError: the server did not take the run's data in time.
            NotDeliveredError: it refused some of it.
        """
        run = self._open(final.cell, mode)
        if run.name != (name := in_line(final.cell.name)):  # it was opened before anything was known to be missing
            run.name = name
        if final.samples:
            run.log({"samples": sample_table(final.samples, has_pictures=mode == "online" or self._has_pictures)})
        run.summary.update(dict(final.scores))
        del self._runs[final.cell.key, mode]
        try:
            run.finish()
        except TimeoutError as error:
            raise TimeoutError(f"{error} {'; '.join(read_troubles(Path(run.dir).parent))}") from None
        if mode == "online" and (troubles := read_troubles(Path(run.dir).parent, only_lost=True)):
            # W&B's service logs what it could not upload, and ends the run as if nothing had been.
            raise NotDeliveredError("; ".join(troubles))
        folder = str(Path(run.dir).parent) if mode == "offline" else None
        return Delivery(mode, run.id, run.entity or None, run.project, run.url, folder)

    def abandon(self, cell: TrackedCell) -> None:
        """End the runs of a cell that was not finished, as failed."""
        for mode in ("online", "offline"):
            if run := self._runs.pop((cell.key, mode), None):
                run.finish(exit_code=1)

    def start_over(self) -> None:
        """Let go of all runs, with W&B's service; what comes next opens them anew."""
        self._runs.clear()
        with contextlib.suppress(SystemExit):  # W&B leaves by it where its service ended with an error
            wandb.teardown()

    def kill(self) -> None:
        """Kill W&B's service, so that a call which waits for it ends; from any thread."""
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if child.name() == "wandb-core":
                    child.kill()
                    child.wait(5)

    def clean(self, *, is_all_sent: bool) -> None:
        """Remove what nobody reads again: the service's cache, and what was staged for an upload that is done."""
        for name in ("cache", *(["artifacts"] if is_all_sent else [])):
            shutil.rmtree(self._folder / "wandb" / name, ignore_errors=True)
        for empty in (self._folder / "wandb").glob("*/tmp"):  # where W&B would save code, which it is told not to
            shutil.rmtree(empty, ignore_errors=True)

    def describe_trouble(self) -> str | None:
        """The last thing that a run which is still open met on its way to the server; from any thread."""
        open_runs = [Path(run.dir).parent for run in list(self._runs.values())]
        # W&B makes the folder of a run before it asks the server for it.
        for folder in (*open_runs, *sorted(self._list_folders())[-1:]):
            if troubles := read_troubles(folder):
                return troubles[-1]
        return None

    def _open(self, cell: TrackedCell, mode: Mode) -> Any:
        if (cell.key, mode) not in self._runs:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.R_OK | os.W_OK):  # W&B would write to the system's temporary folder
                raise PermissionError(f"{self._folder} cannot be read and written")
            wandb.setup(wandb.Settings(silent=True))  # also what is said before a run has settings of its own
            before = self._list_folders()
            try:
                run = self._init(cell, mode)
            except Exception:
                for folder in self._list_folders() - before:  # nothing is in it but W&B's own log
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            for metric in ("rows_total", "tokens", "tokens_per_s"):
                run.define_metric(metric, step_metric="rows_done")
            self._runs[cell.key, mode] = run
        return self._runs[cell.key, mode]

    def _list_folders(self) -> set[Path]:
        """The folders of online runs."""
        return set((self._folder / "wandb").glob("run-*"))

    def _init(self, cell: TrackedCell, mode: Mode) -> Any:
        return wandb.init(
            project=self._config.project,
            entity=self._config.entity,
            id=cell.key[:32],
            group=in_line(cell.sweep),
            name=in_line(cell.name),
            config=dict(cell.config),
            mode=mode,
            resume="allow",
            reinit="create_new",
            settings=run_settings(self._folder, self._api_key if mode == "online" else None),
        )


def read_troubles(folder: Path, *, only_lost: bool = False) -> list[str]:
    """What a run's own log says went wrong, without repetitions.

    Args:
        folder: of the run.
        only_lost: leave out what was tried again.
    """
    found = []
    for entry in _read_log(folder / "logs" / "debug-internal.log"):
        level, message = str(entry.get("level", "")), str(entry.get("msg", ""))
        if level.startswith("ERROR") and not message.startswith(_HARMLESS):
            found.append(message)
        elif message.startswith("api: retrying") and not only_lost:
            found.append(" ".join(str(entry.get(name, "")) for name in ("error", "status", "url")).strip())
    return list(dict.fromkeys(" ".join(text.split()) for text in found))


def _read_log(path: Path) -> Iterator[Mapping[str, Any]]:
    """The entries of a log of JSON lines; nothing where it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            if isinstance(entry := json.loads(line), dict):
                yield entry


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
        x_service_wait=START_TIMEOUT_S,
        init_timeout=START_TIMEOUT_S,
        finish_timeout=UPLOAD_TIMEOUT_S,
        finish_timeout_raises=True,
        stop_fn=ignore_stop,
    )


def ignore_stop() -> None:
    """Log that a run was stopped on W&B's page: by default that would interrupt the whole sweep."""
    log.info("a stop asked for on the tracker's page is ignored: interrupt the sweep itself")


def sample_table(samples: Sequence[SampleRow], *, has_pictures: bool = True) -> wandb.Table:
    """The table of samples, one column per field, the picture where it can be read."""
    columns = [field.name for field in fields(SampleRow)]
    table = wandb.Table(columns=columns)
    for sample in samples:
        values = {name: getattr(sample, name) for name in columns}
        row = {name: in_page(value) if isinstance(value, str) else value for name, value in values.items()}
        table.add_data(*(row | {"image": thumbnail(sample.image) if sample.image and has_pictures else None}).values())
    return table


def thumbnail(image: bytes) -> wandb.Image | None:
    """A picture small enough for a table; None where its bytes are no picture."""
    try:
        picture = decode_picture(image)
    except RowError as error:
        log.debug("no picture for the table of samples: %s", error)
        return None
    picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    return wandb.Image(picture, file_type="jpg")


def describe_error(error: BaseException) -> str:
    """The error's kind and all that it says, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
