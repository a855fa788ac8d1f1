"""A run that begins: its folder is taken, its record written; and how it ends is written, whatever ends it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from eibench_ray.config.hydra_jobs import MULTIRUN_FILE
from eibench_ray.driver.stop_signals import PREEMPTED
from eibench_ray.errors import EibenchError, StoreError, UserError
from eibench_ray.runs.known_stores import remember_store
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.run_record import (
    RunManifest,
    RunState,
    RunStatus,
    new_manifest,
    new_status,
    write_manifest,
    write_state,
)
from eibench_ray.store.run_folder import LEDGER_FILE, RunFolder, take_folder
from eibench_ray.store.slice_store import Store

log = logging.getLogger(__name__)

# What Hydra writes, unless hydra.output_subdir says otherwise.
_HYDRA_FILES = (".hydra", MULTIRUN_FILE)


@dataclass(frozen=True, slots=True)
class BegunRun:
    """A run with its folder and its record."""

    manifest: RunManifest
    status: RunStatus
    folder: RunFolder
    store: Store

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Writes how the block ended; a run that was refused before it asked anything leaves nothing behind.

        Raises:
            StoreError: the run came to its end, and its record cannot be written.
        """
        try:
            yield
        except BaseException as error:
            if self._is_refused(error):
                self._withdraw()
                raise
            self._note(error)
            with self._shown_after(error):
                self.status.end(self.folder.path, self.store)
            raise
        self.status.end(self.folder.path, self.store)

    def _is_refused(self, error: BaseException) -> bool:
        """Whether the error is the user's to correct, and nothing has been asked."""
        is_theirs = isinstance(error, UserError) and error.exit_code == UserError.exit_code
        return is_theirs and not (self.folder.path / LEDGER_FILE).exists()

    def _withdraw(self) -> None:
        self.folder.withdraw(*_HYDRA_FILES)
        for path in (self.store.paths.state(self.status.id), self.store.paths.run(self.status.id)):
            with contextlib.suppress(StoreError):  # what is wrong with the store is what is told
                self.store.storage.remove(path)

    def _note(self, error: BaseException) -> None:
        self.status.state = state_after(error)
        if self.status.state == "failed":
            self.status.error = str(error) if isinstance(error, EibenchError) else f"{type(error).__name__}: {error}"

    @contextlib.contextmanager
    def _shown_after(self, first: BaseException) -> Iterator[None]:
        """Tells an error of the block as a warning: the first one is to be shown."""
        try:
            yield
        except EibenchError as error:
            if str(error) != str(first):
                log.warning("the run's record is not complete: %s", error)


def state_after(error: BaseException) -> RunState:
    """The state of a run that an error, or a signal, has ended."""
    match error:
        case SystemExit(code=code) if code == PREEMPTED:
            return "preempted"
        case KeyboardInterrupt():
            return "interrupted"
        case _:
            return "failed"


def begin_run(sweep: PlannedSweep, wanted: Path, run_id: str) -> BegunRun:
    """A run with a folder of its own and a record in its store.

    Raises:
        StoreError: one of them cannot be written.
    """
    config = sweep.config
    manifest = new_manifest(sweep.plan, wanted, config.store, config.score, config.retry, config.tracking, run_id)
    status = new_status(manifest, sweep.store)
    status.budget_usd, status.spent_usd = sweep.budget.budget_usd, sweep.budget.spent_usd
    status.done = {step: left.num_done for step, left in sweep.work.items()}
    status.absent = {step: left.num_absent for step, left in sweep.work.items()}
    folder = take_folder(wanted.absolute(), status.dump())
    status.folder = str(folder.path)
    manifest = replace(manifest, folder=status.folder)
    run = BegunRun(manifest, status, folder, sweep.store)
    try:
        write_state(status, sweep.store)  # first: what lists runs goes by their manifests
        write_manifest(manifest, sweep.store)
        status.write(folder.path)
    except StoreError:
        run._withdraw()
        raise
    remember_store(sweep.store.root, Path())
    return run
