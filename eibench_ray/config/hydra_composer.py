"""Hydra's composition of one job: whole, or without Hydra's own node, which is most of the work and always the same."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.default_element import GroupDefault, InputDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from eibench_ray.config.hydra_errors import HYDRA_ERRORS
from eibench_ray.config.option_files import OptionFiles, own_loader, to_plain
from eibench_ray.config.overrides import CELL_GROUPS, GLOBAL_GROUPS, section_of
from eibench_ray.config.programs import refuse_programs
from eibench_ray.config.secrets import leaves_of, refuse_secrets
from eibench_ray.errors import ConfigError

Overrides = Sequence[str]


HYDRA = "hydra"  # Hydra's own section
_MAY_CHANGE = re.compile(r"\$\{|\?\?\?")  # when a value is resolved: an interpolation, or what is left to choose


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

    def compose_sections(self, overrides: Overrides) -> Sections | None:
        """The job without Hydra's node (12 ms instead of 20); None where it cannot be composed."""
        with contextlib.suppress(*HYDRA_ERRORS, RecursionError):
            return to_sections(*self._compose_job(overrides, _WithoutHydra))
        return None

    def compose_apart(self, variants: Sequence[tuple[str, Overrides]]) -> list[Sections] | None:
        """Single sections of jobs, each without the options of the others (7 ms).

        Args:
            variants: a section with the overrides from which it follows.

        Returns:
            A section alone for each; None where one cannot be composed so, or writes to another section.
        """
        with contextlib.suppress(*HYDRA_ERRORS, RecursionError):
            composed: list[Sections] = []
            known: dict[Overrides, dict[str, Any]] = {}  # overrides of all sections -> what there is without any option
            for section, overrides in variants:
                shared = tuple(item for item in overrides if section_of(item) in GLOBAL_GROUPS)
                if shared not in known:
                    known[shared] = to_plain(self._compose_job(shared, partial(_OneSection, section=None))[0])
                config, choices = self._compose_job(overrides, partial(_OneSection, section=section))
                plain = to_plain(config)
                if _without(plain, HYDRA, section) != _without(known[shared], HYDRA, section):
                    return None
                own = {section: plain[section]} if section in plain else {}
                composed.append(_to_sections(config, own, choices))
            return composed
        return None

    def _compose_job(
        self, overrides: Overrides, limit: Callable[[IConfigRepository], CachingConfigRepository]
    ) -> tuple[DictConfig, dict[str, str | None]]:
        """The job and its choices, made Hydra's own way (its defaults list, merge and overrides; 1.3, pinned).

        Args:
            overrides: the job's.
            limit: leaves out of the option files what is not to be composed.
        """
        hydra = self.master.hydra
        config_name = hydra.job.config_name
        said = [*hydra.overrides.hydra, *overrides]
        parsed, files = self._loader._parse_overrides_and_create_caching_repo(config_name, said)
        repository = limit(files.delegate)
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
        return config, dict(defaults.overrides.known_choices)


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
    return _to_sections(config, _without(to_plain(config), HYDRA), choices)


def _to_sections(config: DictConfig, values: dict[str, Any], choices: Mapping[str, str | None]) -> Sections:
    """Those sections of a composition that are given as plain values, not yet resolved."""
    for group in sorted(CELL_GROUPS & values.keys() - choices.keys()):  # Hydra notes no list as a choice
        raise ConfigError(
            f"{group}: a list of defaults names several options, which Hydra would make into one: sweep over them with "
            f"hydra.sweeper.params.{group} in that file, or with {group}=[a,b] on the command line"
        )
    refuse_programs(values)
    refuse_secrets(values)
    if not any(isinstance(value, str) and _MAY_CHANGE.search(value) for _, value in leaves_of(values, "")):
        return Sections(values, choices, has_interpolation=False)
    # In a copy without the other sections, as nothing may be read from these: 4 of 16 ms.
    raw = to_plain(OmegaConf.masked_copy(config, list(values)), resolve=True)
    return Sections(raw, choices, has_interpolation=raw != values)


def _without(values: Mapping[str, Any], *sections: str | None) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in sections}


class _WithoutHydra(CachingConfigRepository):
    """Option files whose defaults lists say nothing of Hydra's own groups."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        loaded = super().load_config(config_path)
        if loaded is not None and loaded.defaults_list is not None:
            loaded.defaults_list = [entry for entry in loaded.defaults_list if self.takes(config_path, entry)]
        return loaded

    def takes(self, config_path: str, entry: InputDefault) -> bool:  # noqa: ARG002 - others ask for the file
        """Whether an entry of a file's defaults list counts."""
        return not str(getattr(entry, "group", "")).startswith("hydra/")


class _OneSection(_WithoutHydra):
    """Option files of which those that any section may be in choose options of one section alone; None: of none."""

    def __init__(self, delegate: IConfigRepository, section: str | None) -> None:
        super().__init__(delegate)
        self._section = section

    def takes(self, config_path: str, entry: InputDefault) -> bool:
        if not super().takes(config_path, entry) or not isinstance(entry, GroupDefault):
            return super().takes(config_path, entry)
        top, _, below = config_path.partition("/")
        group = str(entry.group)
        if below and not (top in GLOBAL_GROUPS and group.startswith("/")):
            return True  # a section's own file: what it chooses stands below the section, or is an error here
        group = group.lstrip("/")
        section = section_of(group if entry.package is None else f"{group}@{entry.package}")
        return section == self._section or section in GLOBAL_GROUPS
