"""Weights on the node that loads them: fetched, or copied to its own disk, once per node whatever starts there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from eibench_ray.errors import ConfigError, EngineError
from eibench_ray.weights.build import build_checkpoint
from eibench_ray.weights.checkpoint_files import choose_files
from eibench_ray.weights.content_identity import identity
from eibench_ray.weights.hub_cache import HubModel
from eibench_ray.weights.hub_download import GB, explain_failure, fetch, num_bytes_here
from eibench_ray.weights.missing_imports import explain_missing, missing_packages
from eibench_ray.weights.node_copies import copy_folder
from eibench_ray.weights.weights_request import WeightsRequest
from eibench_ray.weights.weights_source import PREFIX, local_folder, resolve_source

# What a replica's environment says of cluster.weights_cache.
CACHE_VARIABLE = "EIBENCH_WEIGHTS_CACHE"
_COMMIT_DIGITS = 12


class Weights:
    """Weights of an engine: as configured, until `bring` has made them a folder of this machine.

    A folder, so that all of a sweep's replicas load the commit that the cache has, whatever a branch becomes meanwhile,
    and ask the hub nothing more.

    Attributes:
        source: an absolute folder, or a hub id that the engine fetches itself.
    """

    def __init__(self, request: WeightsRequest, environ: Mapping[str, str] = os.environ) -> None:
        self._request = request
        self._environ = environ
        self._fetching: HubModel | None = None
        self._copying: str | None = None
        self.source = resolve_source(request.source, environ)
        self.revision = request.revision
        self.commit: str | None = None  # of the hub, once it is here; None: not known, or not from there

    def bring(self) -> None:
        """Returns once they are here.

        A replica over several nodes keeps its source: each of its processes finds the weights on its own node, as vLLM
        does by itself.

        Raises:
            EngineError: they cannot be had, with what to do.
        """
        folder = self._find_folder()
        self.commit = folder.name if folder is not None and folder.parent.name == "snapshots" else None
        if folder is None:
            return
        self._check_packages(folder)
        if self._request.is_spread:
            return
        # An adapter is read once, and small beside what it is added to.
        if (cache := self._environ.get(CACHE_VARIABLE)) and self._request.part.by != "adapter":
            folder = self._copy(folder, Path(os.path.expandvars(cache)).expanduser())
        self.source, self.revision = str(folder), None

    @property
    def label(self) -> str:
        """Source and revision in one word, for what is stored with every row: the commit, where it is known."""
        revision = self.commit or self._request.revision
        return f"{self._request.source}@{revision}" if revision else self._request.source

    def _check_packages(self, folder: Path) -> None:
        """Names what the checkpoint imports and this Python lacks, before minutes of loading end with it."""
        if packages := missing_packages(folder, self._request):
            raise EngineError(
                f"{self._request.source} needs {', '.join(packages)}, not installed on this node: "
                f"{explain_missing(packages)}"
            )

    @property
    def doing(self) -> str:
        """Wait of a `bring` in another thread; empty where there is none."""
        if (model := self._fetching) is not None:
            return f"fetching the weights of {model} ({num_bytes_here(model, self._environ) / GB:.1f} GB are here)"
        return f"copying the weights of {self._request.source} ({self._copying})" if self._copying else ""

    def _find_folder(self) -> Path | None:
        source = self._request.source
        if source.startswith(PREFIX):
            try:
                return build_checkpoint(source.removeprefix(PREFIX))
            except ConfigError as error:
                raise EngineError(str(error)) from error
        if folder := local_folder(source):
            return folder
        if (model := self._request.hub_model) is None:
            return None
        self._fetching = model
        try:
            return fetch(model, self._environ)
        except Exception as error:
            trouble = explain_failure(error, model, self._environ)
            raise EngineError(f"no weights of {model}: {trouble.what}: {trouble.remedy}") from error
        finally:
            self._fetching = None

    def _copy(self, folder: Path, cache: Path) -> Path:
        """The copy in the node's own cache."""

        def report(how_far: str) -> None:
            self._copying = how_far

        report("not begun")
        try:
            names = choose_files((path.relative_to(folder).as_posix() for path in _files(folder)), self._request.part)
            return copy_folder(folder, names, cache / self._copy_name(folder), report)
        except (OSError, ConfigError) as error:
            raise EngineError(
                f"the weights of {self._request.source} cannot be copied to cluster.weights_cache={cache} ({error}): "
                f"free some space there, choose another folder, or set it to null"
            ) from error
        finally:
            self._copying = None

    def _copy_name(self, folder: Path) -> str:
        """Name of a copy by its content; another content has another name."""
        if folder.parent.name == "snapshots":
            return f"{folder.parents[1].name}--{folder.name[:_COMMIT_DIGITS]}--{self._request.part.by}"
        return f"{folder.name}--{identity(folder)}"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
