"""MLflow: its options and where it sends. MLflow is imported when a run is opened."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from eibench_ray.config.section import Filled
from eibench_ray.tracking.tracker import RunFacts, Target, TrackedRun, Tracker, TrackingPlace

URI_VARIABLE = "MLFLOW_TRACKING_URI"
_SECRETS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD")

_ENVIRONMENT = {
    # MLflow 3 writes to a folder only where this says so; to a database only with packages that mlflow-skinny lacks.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A server that is down is asked for 12 minutes otherwise, once per call.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


@dataclass(frozen=True, slots=True)
class MlflowTracker(Tracker):
    """A parent run for the sweep, and one below it for each cell.

    Attributes:
        uri: of the tracking server, a folder or a database; None: MLFLOW_TRACKING_URI, and else a database or a folder
            in the folder where the command was called.
    """

    experiment: Filled = "eibench"
    uri: str | None = None

    title = "MLflow"
    module = "mlflow"
    extra = "mlflow"

    def target(self, environ: Mapping[str, str]) -> Target:
        """The experiment at the address, without a login."""
        return Target("online", _without_login(self.address(environ)), self.experiment)

    def address(self, environ: Mapping[str, str]) -> str:
        """The tracking URI; MLflow's own database where it can write one, else its folder of files."""
        if given := self.uri or environ.get(URI_VARIABLE):
            return given if "://" in given else str(Path(given).absolute())
        has_database = find_spec("sqlalchemy") is not None and find_spec("alembic") is not None
        return f"sqlite:///{Path('mlflow.db').absolute()}" if has_database else str(Path("mlruns").absolute())

    def secret(self, environ: Mapping[str, str]) -> str | None:
        """The token or the password, which MLflow reads from the environment itself."""
        given = [environ.get(name) for name in _SECRETS]
        return next(filter(None, [urlsplit(self.address(environ)).password, *given]), None)

    @contextlib.contextmanager
    def session(self, folder: Path) -> Iterator[None]:  # noqa: ARG002
        """The process's environment as MLflow is to see it; what the user has set wins."""
        added = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
        os.environ.update(added)
        try:
            yield
        finally:
            for name in added:
                os.environ.pop(name, None)

    def open(self, facts: RunFacts, place: TrackingPlace) -> TrackedRun:
        """A run of MLflow's."""
        from eibench_ray.tracking.mlflow.mlflow_runs import open_run

        return open_run(facts, self.address(os.environ), place.target.server, self.experiment)


def _without_login(uri: str) -> str:
    """An address without a name and a password."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.username else uri
