"""Building a checkpoint into its folder: once, whole or not at all, and quietly."""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from eibench_ray.errors import ConfigError
from eibench_ray.versions import extra_command
from eibench_ray.weights.file_locks import locked
from eibench_ray.weights.recipes import Recipe, checkpoint_folder, find_recipe

log = logging.getLogger(__name__)


def build_checkpoint(name: str) -> Path:
    """The folder of a checkpoint, which is built first where it is missing.

    Two processes that ask at once build once: the second waits for the first.

    Raises:
        ConfigError: the name is unknown, a package that building needs is missing, or the cache cannot be written.
    """
    recipe = find_recipe(name)
    folder = checkpoint_folder(name)
    if folder.is_dir():
        return folder
    _check_packages(recipe)
    with _locked(folder.with_name(f".{folder.name}.lock")):
        if folder.is_dir():
            return folder
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # what a killed build left; the lock says that nobody writes it
        partial.mkdir()
        with _quiet():
            importlib.import_module(recipe.module).build(name, partial)
        mode = partial.stat().st_mode & 0o666  # what the umask lets others do
        for file in partial.iterdir():
            file.chmod(mode)  # safetensors writes 0600, which another user's replica could not read
        partial.rename(folder)
    log.info("checkpoint built name=%s folder=%s", name, folder)
    return folder


def _check_packages(recipe: Recipe) -> None:
    missing = [module for module in recipe.requires if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"checkpoint {recipe.name!r} cannot be built: {', '.join(missing)} not installed in {sys.prefix}: "
            f"{extra_command('cpu,demo')}"
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666))
    except OSError as error:
        raise ConfigError(
            f"checkpoints cannot be written to {path.parent} ({error.strerror}): "
            f"set EIBENCH_CHECKPOINTS to a folder that can"
        ) from error
    with locked(path):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the libraries' progress bars and notices off the terminal: what they print goes to the debug log."""
    from transformers.utils import logging as chatter

    level, has_bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    printed = io.StringIO()  # reading a GGUF draws a bar that no setting of transformers turns off
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            yield
    finally:
        log.debug("printed while building: %s", printed.getvalue())
        chatter.set_verbosity(level)
        if has_bars:
            chatter.enable_progress_bar()
