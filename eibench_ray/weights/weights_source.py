"""Resolves `source` of an engine's configuration: a built checkpoint, a folder, or a Hugging Face id."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from eibench_ray.errors import ConfigError
from eibench_ray.weights.content_identity import identity
from eibench_ray.weights.hub_cache import cached_commit
from eibench_ray.weights.recipes import checkpoint_folder, find_recipe

PREFIX = "checkpoint:"


def resolve_source(source: str, environ: Mapping[str, str] = os.environ) -> str:
    """Resolves a source to an absolute folder, or the hub id unchanged. Builds and downloads nothing."""
    if source.startswith(PREFIX):
        return str(checkpoint_folder(source.removeprefix(PREFIX), environ))
    folder = local_folder(source)
    return source if folder is None else str(folder)


def source_identity(
    source: str,
    revision: str | None,
    environ: Mapping[str, str] = os.environ,
    content: Callable[[Path], str] = identity,
) -> str:
    """Identity of the weights for step ids; cheap enough to ask for every plan.

    A `checkpoint:NAME` is its recipe and version, built or not; a folder is its content, or its path as long as it is
    not there; a hub id is its revision. A hub id without one is the commit that the local cache holds for `main`, and
    plain "main" before the first download.

    Args:
        source: as configured.
        revision: the hub's branch, tag or commit; None: the main branch, or no hub.
        environ: says where the cache is.
        content: the identity of a folder.

    Raises:
        ConfigError: the checkpoint is unknown, the folder is none, or a revision is given where there can be none.
    """
    folder = None if source.startswith(PREFIX) else local_folder(source)
    if revision is not None and (folder is not None or source.startswith(PREFIX)):
        raise ConfigError(f"source {source!r} has no revisions, but revision is {revision!r}: set revision to null")
    if folder is not None:
        return f"folder:{content(folder)}" if folder.exists() else f"absent:{folder}"
    if source.startswith(PREFIX):
        recipe = find_recipe(source.removeprefix(PREFIX))
        return f"{PREFIX}{recipe.name}@{recipe.version}"
    return f"hub:{source}@{revision or cached_commit(source, 'main', environ) or 'main'}"


def local_folder(source: str) -> Path | None:
    """The absolute folder that a source names, there or not; None for a hub id, which is `name` or `owner/name`."""
    path = Path(source).expanduser()
    if source.startswith(("/", ".", "~")) or source.count("/") > 1 or path.is_dir():
        return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links
    return None
