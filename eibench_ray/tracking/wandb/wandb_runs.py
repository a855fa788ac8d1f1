"""The runs of Weights & Biases: per cell and sweep, opened at the first note, blocking and raising as W&B does.

Offline and resumed runs. A run's id is derived from its key, so a resumed sweep resumes its runs: online, W&B
appends to the run; offline, every start of the sweep leaves its own `offline-run-<time>-<id>` folder with the same id,
and `wandb sync` uploads them to one run, in the order of their start times. The tables and their pictures lie in
`wandb/artifacts`, by absolute path: sync where the sweep's folder has the same path.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import wandb
from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry

from eibench_ray.errors import EibenchError
from eibench_ray.tracking.thumbnails import thumbnail
from eibench_ray.tracking.tracker import (
    Delivery,
    Final,
    Mode,
    Progress,
    RunFacts,
    TrackedRun,
    TrackedTable,
    TrackingPlace,
)
from eibench_ray.tracking.wandb.wandb_log import read_troubles
from eibench_ray.visible_text import in_line, in_page

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0  # for the server's answer at a run's start
UPLOAD_TIMEOUT_S = 120.0  # for a run's last data; some MB of pictures over a slow line
TAG_LENGTH = 64  # W&B takes no longer ones


_NO_NAME = re.compile(r"[^\w.-]", re.ASCII)  # in the name of an artifact


class NotDeliveredError(EibenchError):
    """W&B ended a run without an error, but its service could not send all of it."""


class WandbRun(TrackedRun):
    """A run of W&B's. Blocks and raises as W&B does."""

    def __init__(self, run: Any, mode: Mode) -> None:
        self._run = run
        self.folder = Path(run.dir).parent  # where W&B keeps it
        self._mode = mode

    def log(self, progress: Progress) -> None:
        """Adds one point to the history."""
        self._run.log(progress.all_figures)

    def finish(self, facts: RunFacts, final: Final) -> Delivery:
        """Writes summary, tables, files and addresses, ends the run, and makes sure that all of it went out.

        Raises:
            TimeoutError: the server did not take the run's data in time.
            NotDeliveredError: it refused some of it.
        """
        run, folder = self._run, self.folder
        staged = _list_staged(folder.parent)
        if run.name != (name := in_line(facts.name)):  # it was opened before anything was known to be missing
            run.name = name
        if final.tables:
            run.log({name: make_table(table) for name, table in final.tables.items()})
        for file in final.files:
            run.save(str(file), base_path=str(file.parent), policy="now")
        if final.addresses:
            run.log_artifact(reference(f"{facts.sweep}-{facts.key[:8]}", final.addresses))
        run.summary.update(dict(final.scores))
        try:
            run.finish()
        except TimeoutError as error:
            raise TimeoutError(f"{error} {'; '.join(read_troubles(folder))}") from None
        finally:
            if self._mode == "online":  # sent, or told again: offline, where it is staged again
                for path in _list_staged(self.folder.parent) - staged:
                    path.unlink(missing_ok=True)
        if self._mode == "online" and (troubles := read_troubles(folder, only_lost=True)):
            # W&B's service logs what it could not upload, and ends the run as if nothing had been.
            raise NotDeliveredError("; ".join(troubles))
        return Delivery(self._mode, run.id, run.url, str(folder) if self._mode == "offline" else None)

    def fail(self) -> None:
        """Ends the run as failed."""
        self._run.finish(exit_code=1)


def open_run(facts: RunFacts, place: TrackingPlace, project: str, entity: str | None) -> WandbRun:
    """A run, opened or resumed.

    Raises:
        PermissionError: its folder cannot be written.
    """
    folder, mode = place.folder, place.mode
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.R_OK | os.W_OK):  # W&B would write to the system's temporary folder
        raise PermissionError(f"{folder} cannot be read and written")
    wandb.setup(wandb.Settings(silent=True))  # also what is said before a run has settings of its own
    before = _list_folders(folder)
    try:
        run = wandb.init(
            project=project,
            entity=entity,
            id=facts.key[:32],
            group=in_line(facts.sweep),
            job_type=facts.job,
            name=in_line(facts.name),
            tags=[in_line(tag)[:TAG_LENGTH] for tag in facts.tags],
            config=dict(facts.config),
            mode=mode,
            resume="allow",
            reinit="create_new",
            settings=run_settings(folder, place.secret if mode == "online" else None),
        )
    except Exception:
        for made in _list_folders(folder) - before:  # nothing is in it but W&B's own log
            shutil.rmtree(made, ignore_errors=True)
        raise
    if facts.job == "cell":  # a sweep's figures are drawn over time
        run.define_metric("rows_done")
        run.define_metric("*", step_metric="rows_done")
    return WandbRun(run, mode)


def end_service() -> None:
    """Lets go of all runs, with W&B's service; what comes next starts it anew."""
    with contextlib.suppress(SystemExit):  # W&B leaves by it where its service ended with an error
        wandb.teardown()


def kill_service() -> None:
    """Kills W&B's service, so that a call which waits for it ends; from any thread."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.name() == "wandb-core":
                child.kill()
                child.wait(5)


def clean_folder(folder: Path, *, is_all_sent: bool) -> None:
    """Removes what nobody reads again: the service's cache, and what was staged for an upload that is done."""
    for name in ("cache", *(["artifacts"] if is_all_sent else [])):
        shutil.rmtree(folder / "wandb" / name, ignore_errors=True)
    for empty in (folder / "wandb").glob("*/tmp"):  # where W&B would save code, which it is told not to
        shutil.rmtree(empty, ignore_errors=True)


def last_trouble(folder: Path, runs: Sequence[TrackedRun]) -> str | None:
    """The last thing that a run which is still open met on its way to the server; from any thread."""
    open_runs = [run.folder for run in runs if isinstance(run, WandbRun)]
    # W&B makes the folder of a run before it asks the server for it.
    for run_folder in (*open_runs, *sorted(_list_folders(folder))[-1:]):
        if troubles := read_troubles(run_folder):
            return troubles[-1]
    return None


def _list_folders(folder: Path) -> set[Path]:
    """The folders of online runs."""
    return set((folder / "wandb").glob("run-*"))


def _list_staged(folder: Path) -> set[Path]:
    """Copies of what tables and artifacts hold, from which W&B uploads."""
    return set((folder / "artifacts" / "staging").glob("*"))


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


def make_table(table: TrackedTable) -> wandb.Table:
    """A table of W&B's, with its pictures as thumbnails."""
    made = wandb.Table(columns=list(table.columns), allow_mixed_types=True)
    for row in table.rows:
        made.add_data(*map(_show, row))
    return made


def _show(value: str | float | bool | bytes | None) -> Any:
    if isinstance(value, bytes):
        picture = thumbnail(value)
        return None if picture is None else wandb.Image(picture, file_type="jpg")
    return in_page(value) if isinstance(value, str) else value


def reference(name: str, addresses: Mapping[str, str]) -> wandb.Artifact:
    """An artifact that says where data lies, and holds none of it.

    `Artifact.add_reference` would list a folder's files one by one, and asks a bucket for them.
    """
    artifact = wandb.Artifact(_NO_NAME.sub("-", name), type="store")
    for path, address in addresses.items():
        artifact.manifest.add_entry(ArtifactManifestEntry(path=path, ref=address, digest=address))
    return artifact
