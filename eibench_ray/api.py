"""Plan and run sweeps, and read what runs left, from a notebook or a program.

import eibench_ray as eb

plan = eb.plan("experiment=demo")                    # what the sweep would ask, load and take
run = eb.run("model=echo", "judge=echo", "dataset=demo", "tracking=none")
run.leaderboard                                      # a Polars frame, as are run.rows() and run.answers()
eb.open_run("multirun/2026-11-29/22-30-55")          # an earlier run, by its folder or id

`plan` and `run` call the command in a process of its own: Ray, signals and Hydra's global state stay there, so both
work in Jupyter, whose event loop runs already, and in any thread.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eibench_ray.errors import EibenchError, UserError

if TYPE_CHECKING:
    import polars as pl

    from eibench_ray.runs.find_run import FoundRun

_ERROR = "eibench-ray: "


def plan(*overrides: str, config_dir: str | os.PathLike[str] | None = None) -> SweepPlan:
    """Plans a sweep: what it would ask, load and take, and what its store has of it already. Asks nothing.

    Args:
        overrides: as behind `eibench-ray plan -m`: "experiment=demo", "model=a,b" (both), "judge.repeats=3", ...
        config_dir: a folder of option files of your own.

    Raises:
        UserError: the sweep cannot be configured or planned so.
    """
    return SweepPlan(_call("plan", overrides, config_dir))


def run(*overrides: str, config_dir: str | os.PathLike[str] | None = None) -> Run:
    """Runs a sweep to its end: plans it, asks what its store lacks, and scores its cells.

    Progress is written to `sys.stderr`, a line per change of state. Ctrl-C (in Jupyter: interrupt the kernel) commits
    what is in flight and returns the run with state "interrupted"; the same call goes on from there.

    Args:
        overrides: as behind `eibench-ray run -m`.
        config_dir: a folder of option files of your own.

    Raises:
        UserError: the sweep cannot be configured, planned or begun so.
        EibenchError: the run broke off without a leaderboard. Models that failed are in `Run.failures` instead.
    """
    return open_run(_call("run", overrides, config_dir)["run_dir"])


def open_run(run: str | os.PathLike[str] | None = None, *, store: str | None = None) -> Run:
    """Opens a run of earlier, or one that is still going on.

    Args:
        run: its folder, its id, or the beginning of its id; None: the latest one that was called from here.
        store: its store, where it was moved, or to find the run by its id.

    Raises:
        StoreError: there is no such run.
    """
    from eibench_ray.runs.find_run import find_run

    return Run(find_run(None if run is None else os.fspath(run), store))


@dataclass(frozen=True, repr=False)
class SweepPlan:
    """A planned sweep."""

    summary: Mapping[str, Any]  # everything that `eibench-ray plan --json` says

    def __repr__(self) -> str:
        done, cells = self.requests_done, len(self.summary["cells"])
        return f"sweep {self.summary['sweep']!r}: {cells} cells, {self.requests:,} requests, {done:,} of them done"

    @property
    def requests(self) -> int:
        """Requests of the whole sweep, those that the store has answered included."""
        return int(self.summary["requests"])

    @property
    def requests_done(self) -> int:
        """Requests that need not be asked again."""
        return int(self.summary["requests_done"])

    @cached_property
    def cells(self) -> pl.DataFrame:
        """A row per model x setting x dataset x judge."""
        return _to_frame(self.summary["cells"])

    @cached_property
    def steps(self) -> pl.DataFrame:
        """A row per step: what is asked of which engine, of how many rows."""
        return _to_frame([step | {"inputs": list(step["inputs"].values())} for step in self.summary["steps"]])

    @cached_property
    def engines(self) -> pl.DataFrame:
        """A row per engine: what is loaded or asked, and on how many GPUs."""
        return _to_frame(self.summary["engines"])


@dataclass(frozen=True, repr=False)
class Run:
    """A run with its store; figures are read and scored when they are asked for."""

    _found: FoundRun

    def __repr__(self) -> str:
        return f"run {self.id} ({self.state}) in {self.folder}"

    @property
    def id(self) -> str:
        """The run's id."""
        return self._found.manifest.id

    @property
    def folder(self) -> Path:
        """The folder of its files: leaderboard, log, ledger."""
        return self._found.folder

    @property
    def state(self) -> str:
        """`finished`, `running`, `interrupted`, `preempted`, `handed_over`, `failed`, `budget_spent`, or `killed`."""
        from eibench_ray.runs.find_run import state_of

        return state_of(self._found.status)

    @property
    def failures(self) -> Mapping[str, str]:
        """Reasons why engines were given up, by model."""
        return self._found.status.failures

    @cached_property
    def leaderboard(self) -> pl.DataFrame:
        """A row per cell with its figures, scored from the store as `eibench-ray report` does.

        Raises:
            DataError: a dataset was prepared anew since, or rows are gone, so that the figures would not be the run's.
        """
        from eibench_ray.report.leaderboard_files import to_frame
        from eibench_ray.runs.pinned_inputs import check_unchanged
        from eibench_ray.runs.results import score_run

        found = self._found
        check_unchanged(found.manifest, found.status, found.store, otherwise="")
        return to_frame(score_run(found.manifest, found.store, found.status.failures))

    def rows(self) -> pl.DataFrame:
        """A row per sample of each cell and repeat of setting and judge: sample, answer, reply and score, joined."""
        import polars as pl

        from eibench_ray.runs.export_run import joined_tables

        tables = map(pl.from_arrow, joined_tables(self._found.manifest.plan, self._found.store))
        return pl.concat([table for table in tables if isinstance(table, pl.DataFrame)])

    def answers(self) -> pl.DataFrame:
        """A row per request of each step (captions, answers, replies of judges): its text, or its error."""
        import polars as pl

        texts = dict.fromkeys(("text", "error_kind", "error", "finish_reason", "thinking", "likelihoods"), pl.String)
        numbers = {"cost_usd": pl.Float64, "mean_logprob": pl.Float64, "thinking_tokens": pl.Int32}
        return _to_frame(list(self._answers()), texts | numbers)

    def _answers(self) -> Iterator[dict[str, Any]]:
        from eibench_ray.datasets.dataset import open_dataset

        plan, store = self._found.manifest.plan, self._found.store
        samples = {name: open_dataset(spec.path).index().sample_ids for name, spec in plan.datasets.items()}
        asked = {name: {samples[name][row] for row in spec.rows} for name, spec in plan.datasets.items()}
        for step in plan.steps.values():
            where = {"step": step.id, "call": step.name, "model": plan.model_of(step)}
            for sample_id, row in store.read_rows(step.id, 0, samples[step.dataset]).items():
                if sample_id in asked[step.dataset]:
                    yield {**where, "dataset": step.dataset, **asdict(row)}


def _to_frame(rows: list[dict[str, Any]], types: Mapping[str, Any] = {}) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(rows, schema_overrides=types, infer_schema_length=None)


def _call(command: str, overrides: tuple[str, ...], config_dir: str | os.PathLike[str] | None) -> Any:
    """Returns what a command's `--json` says; its other lines are written to `sys.stderr`."""
    options = [] if config_dir is None else ["--config-dir", str(Path(config_dir).absolute())]
    arguments = [sys.executable, "-m", "eibench_ray.cli.app", command, "-m", "--json", *options, *overrides]
    # A file, as nobody reads a pipe while lines of stderr are read; a session of its own, so that Ctrl-C in a terminal
    # reaches the command once.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        with subprocess.Popen(
            arguments, stdout=out, stderr=subprocess.PIPE, text=True, errors="backslashreplace", start_new_session=True
        ) as child:
            error = _relay(child)
        out.seek(0)
        if lines := out.read().splitlines():
            return json.loads(lines[-1])
    kind = UserError if child.returncode == UserError.exit_code else EibenchError
    raise kind(error or f"`eibench-ray {command}` ended with {child.returncode}, and did not say why")


def _relay(child: subprocess.Popen[str]) -> str:
    """Writes a command's lines to `sys.stderr`, hands interrupts on to it, and returns the error that ended it."""
    assert child.stderr is not None
    error = ""
    while True:
        try:
            for line in child.stderr:
                if line.startswith(_ERROR):
                    error = line.removeprefix(_ERROR).strip()
                else:
                    sys.stderr.write(line)
            child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
        else:
            return error
