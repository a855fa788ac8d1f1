"""The runs of MLflow: found by their keys, so that a resumed sweep goes on. They block and raise as MLflow does."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from eibench_ray.tracking.flat_config import flatten
from eibench_ray.tracking.thumbnails import thumbnail
from eibench_ray.tracking.tracker import Delivery, Final, Progress, RunFacts, TrackedRun, TrackedTable
from eibench_ray.visible_text import in_line, in_page

KEY_TAG = "eibench_ray.key"
# What one request may hold, and a value. Source: mlflow 3, utils/validation.py.
MOST_METRICS, MOST_PARAMS, VALUE_CHARS = 1000, 100, 6000
# MLflow's store of files makes a folder of what stands before a slash: `score` could not lie beside `score/easy`.
_NO_NAME = re.compile(r"[^\w\-. ]", re.ASCII)

T = TypeVar("T")


class MlflowRun(TrackedRun):
    """A run of MLflow's."""

    def __init__(self, client: MlflowClient, run: Run, address: str) -> None:
        self._client = client
        self._id: str = run.info.run_id
        self._experiment = run.info.experiment_id
        self._address = address

    def log(self, progress: Progress) -> None:
        """Adds one point to each metric's history."""
        self._log_metrics(progress.all_figures, progress.rows_done)

    def finish(self, facts: RunFacts, final: Final) -> Delivery:
        """Writes figures, tables, files and addresses, and ends the run."""
        client, run_id = self._client, self._id
        client.set_tag(run_id, "mlflow.runName", in_line(facts.name))
        self._log_metrics(final.scores, facts.num_rows)
        for name, table in final.tables.items():
            client.log_dict(run_id, self._log_table(name, table), f"{name}.json")
        for file in final.files:
            client.log_artifact(run_id, str(file))
        if final.addresses:
            client.log_dict(run_id, dict(final.addresses), "addresses.json")
        client.set_terminated(run_id, "FINISHED")
        is_served = self._address.startswith("http")
        url = f"{self._address.rstrip('/')}/#/experiments/{self._experiment}/runs/{run_id}" if is_served else None
        return Delivery("online", run_id, url)

    def fail(self) -> None:
        """Ends the run as failed."""
        self._client.set_terminated(self._id, "FAILED")

    def _log_metrics(self, figures: Mapping[str, float | int], step: int) -> None:
        now_ms = round(time.time() * 1000)
        metrics = [Metric(to_name(name), float(value), now_ms, step) for name, value in figures.items()]
        for some in _chunks(metrics, MOST_METRICS):
            self._client.log_batch(self._id, metrics=some)

    def _log_table(self, name: str, table: TrackedTable) -> dict[str, Any]:
        """A table as MLflow's own viewer reads it; its pictures are artifacts, of which it has the paths."""
        rows = []
        for number, row in enumerate(table.rows):
            shown: list[Any] = []
            for column, value in zip(table.columns, row, strict=True):
                if isinstance(value, bytes):
                    path = f"{name}/{number:03d} {to_name(column)}.jpg"
                    image = thumbnail(value)
                    if image is not None:
                        self._client.log_image(self._id, image.convert("RGB"), path)
                    shown.append(path if image is not None else None)
                else:
                    shown.append(in_page(value) if isinstance(value, str) else value)
            rows.append(shown)
        return {"columns": list(table.columns), "data": rows}


def open_run(facts: RunFacts, address: str, shown_address: str, experiment: str) -> MlflowRun:
    """A run, made or gone on in; that of a cell stands below the sweep's.

    Args:
        facts: the run's.
        address: the tracking URI.
        shown_address: the same without a login.
        experiment: the experiment's name.
    """
    client = MlflowClient(tracking_uri=address)
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(experiment)
    tags: dict[str, str] = {}
    if facts.parent is not None:
        parent = _find(client, experiment_id, facts.parent)
        if parent is None:
            name = in_line(f"sweep {facts.sweep}")
            parent = client.create_run(experiment_id, run_name=name, tags={KEY_TAG: facts.parent})
        tags["mlflow.parentRunId"] = parent.info.run_id
    run = _find(client, experiment_id, facts.key)
    if run is None:
        run = client.create_run(experiment_id, run_name=in_line(facts.name), tags={KEY_TAG: facts.key})
    elif run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")
    tags |= {"job_type": facts.job, "sweep": in_line(facts.sweep), "labels": ", ".join(map(in_line, facts.tags))}
    client.log_batch(run.info.run_id, tags=[RunTag(name, value[:VALUE_CHARS]) for name, value in tags.items()])
    if not run.data.params:  # what MLflow has of a run cannot be changed, and it is the same
        client.log_dict(run.info.run_id, dict(facts.config), "config.json")
        values = {to_name(key): in_page(str(value))[:VALUE_CHARS] for key, value in flatten(facts.config)}
        for some in _chunks([Param(key, value) for key, value in values.items()], MOST_PARAMS):
            client.log_batch(run.info.run_id, params=some)
    return MlflowRun(client, run, shown_address)


def to_name(name: str) -> str:
    """The name of a metric or of a parameter, of what MLflow takes in one: `score/easy` is `score.easy`."""
    return _NO_NAME.sub("_", name.replace("/", "."))[:250]


def _find(client: MlflowClient, experiment_id: str, key: str) -> Run | None:
    runs = client.search_runs([experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    return runs[0] if runs else None


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))
