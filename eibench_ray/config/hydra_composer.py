"""Hydra's composition of one job: whole, or without Hydra's own node, which is most of the work and always the same."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from eibench_ray.config.hydra_errors import HYDRA_ERRORS
from eibench_ray.config.option_files import OptionFiles, own_loader
from eibench_ray.config.overrides import CELL_GROUPS
from eibench_ray.config.programs import refuse_programs
from eibench_ray.config.secrets import refuse_secrets
from eibench_ray.errors import ConfigError

Overrides = Sequence[str]


HYDRA = "hydra"  # Hydra's own section
NUM_PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Sections:
    """One job without Hydra's node."""

    raw: Mapping[str, Any]  # its sections as plain values
    choices: Mapping[str, str | None]  # the option that was chosen of each group, as Hydra notes it
    has_interpolation: bool  # whether a value was read from elsewhere


class Composer:
    """Composes jobs of a sweep from option files that are read once."""

    def __init__(self, loader: ConfigLoaderImpl, master: DictConfig) -> None:
        loader.repository = OptionFiles(loader.config_search_path)
        self._loader = loader
        self.master = master  # the sweep's own configuration, before its jobs

    def compose(self, overrides: Overrides) -> DictConfig:
        """The job with Hydra's node.

        Raises:
            HydraException, OmegaConfBaseException: it cannot be composed.
        """
        return self._loader.load_sweep_config(self.master, list(overrides))

    def compose_sections(self, jobs: Sequence[Overrides]) -> list[Sections] | None:
        """The jobs without Hydra's node (26 ms each instead of 71), on two cores; None where one cannot be composed."""
        if len(jobs) < NUM_PROCESSES or threading.active_count() > 1:  # a fork takes no other thread along
            composed = [self._try_sections(job) for job in jobs]
        else:
            with get_context("fork").Pool(NUM_PROCESSES, _adopt, (self,)) as pool:
                composed = pool.map(_try_sections, jobs)
        sections = [result for result in composed if result is not None]
        return sections if len(sections) == len(jobs) else None

    def _try_sections(self, overrides: Overrides) -> Sections | None:
        # Errors stay here: not all of Hydra's can be sent from one process to another.
        with contextlib.suppress(*HYDRA_ERRORS, RecursionError):
            return self._compose_sections(overrides)
        return None

    def _compose_sections(self, overrides: Overrides) -> Sections:
        """It goes Hydra's own way (its defaults list, its merge, its overrides; 1.3, pinned), past what is Hydra's."""
        hydra = self.master.hydra
        config_name = hydra.job.config_name
        said = [*hydra.overrides.hydra, *overrides]
        parsed, files = self._loader._parse_overrides_and_create_caching_repo(config_name, said)
        repository = _WithoutHydra(files.delegate)
        defaults = create_defaults_list(
            repo=repository,
            config_name=config_name,
            overrides_list=[override for override in parsed if not override.is_hydra_override()],
            prepend_hydra=False,
            skip_missing=False,
        )
        config = self._loader._compose_config_from_defaults_list(defaults.defaults, repository)
        OmegaConf.set_struct(config, True)
        self._loader._apply_overrides_to_config(defaults.config_overrides, config)
        return to_sections(config, dict(defaults.overrides.known_choices))


@contextlib.contextmanager
def composing(folder: Path, config_name: str, always: Overrides = ()) -> Iterator[Composer]:
    """A composer of jobs of that configuration, outside of a sweep; Hydra's `compose` can be called meanwhile, too.

    Args:
        folder: of the option files.
        config_name: of the configuration in it.
        always: overrides of every job, such as a folder of a user's own.
    """
    with own_loader(), initialize_config_dir(str(folder), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        yield Composer(loader, loader.load_configuration(config_name, list(always), RunMode.MULTIRUN))


def to_sections(config: DictConfig, choices: Mapping[str, str | None]) -> Sections:
    """The sections of a composition.

    Raises:
        ConfigError: an option file chooses several options of one of a cell's groups, holds a secret, or names a
            program.
        MissingMandatoryValue: a value that a person must choose is missing (OmegaConf's).
        InterpolationResolutionError: an interpolation leads nowhere (OmegaConf's).
    """
    for group in sorted(CELL_GROUPS & {str(key) for key in config} - choices.keys()):  # Hydra notes no list as a choice
        raise ConfigError(
            f"{group}: a list of defaults names several options, which Hydra would make into one: sweep over them with "
            f"hydra.sweeper.params.{group} in that file, or with {group}=[a,b] on the command line"
        )
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != HYDRA])
    refuse_programs(own)
    refuse_secrets(own)
    raw = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    assert isinstance(raw, dict)
    has_interpolation = bool(raw != OmegaConf.to_container(own, resolve=False))
    return Sections({str(key): value for key, value in raw.items()}, choices, has_interpolation)


_adopted: Composer


def _adopt(composer: Composer) -> None:
    """Takes a process's composer, which came with the fork."""
    global _adopted
    _adopted = composer


def _try_sections(overrides: Overrides) -> Sections | None:
    return _adopted._try_sections(overrides)


class _WithoutHydra(CachingConfigRepository):
    """Option files whose defaults lists say nothing of Hydra's own groups."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        loaded = super().load_config(config_path)
        if loaded is not None and loaded.defaults_list is not None:
            loaded.defaults_list = [
                entry for entry in loaded.defaults_list if not str(getattr(entry, "group", "")).startswith("hydra/")
            ]
        return loaded
