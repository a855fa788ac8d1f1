"""The options of models that need no further choice, read from their files as Hydra composes them."""

from __future__ import annotations

from pathlib import Path

from hydra import compose
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

from eibench_ray.config.hydra_composer import composing
from eibench_ray.config.load import validate
from eibench_ray.config.schema import ModelConfig
from eibench_ray.config.section import Frozen


class _Composed(Frozen):
    """A composed option of the group `model`."""

    model: ModelConfig


def read_models(folder: Path, own: Path | None = None) -> list[ModelConfig]:
    """All models, by name; options that leave a value to be chosen (`replay`, `endpoint`) are none.

    Args:
        folder: of the package's option files.
        own: a folder of a user's own, as `--config-dir` names it.

    Raises:
        ConfigError: an option has a key or a value that cannot be.
        HydraException, OmegaConfBaseException: an option cannot be composed (Hydra's and OmegaConf's).
    """
    files = [path for root in (folder, own) if root for path in (root / "model").glob("[!_]*.yaml")]
    where = QuotedString(f"file://{own.absolute()}", Quote.double).with_quotes() if own else ""
    search = [f"hydra.searchpath=[{where}]"] if own else []
    models = []
    with composing(folder, "serve", search) as composer:
        for name in sorted({path.stem for path in files}):
            # Without Hydra's own node: in half the time. What has a value left to choose is not composed so, nor
            # what cannot be, which then fails in Hydra's own words.
            if sections := composer.compose_sections([f"model={name}"]):
                raw = sections.raw["model"]
            else:
                config = compose("serve", [f"model={name}", *search])
                if OmegaConf.missing_keys(config.model):
                    continue
                raw = OmegaConf.to_container(config.model, resolve=True)
            models.append(validate({"model": raw}, _Composed).model)
    return sorted(models, key=lambda model: model.name)
