"""The option files: a user's own come before the package's, and each file is read once.

Hydra looks into its folders in their order: its own, the package's, then those of `--config-dir` and of
`hydra.searchpath`. A user's option with the name of one of the package's would be ignored without a word. Here the
user's folders come first, and a line says whose place their files take.
"""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from hydra._internal import defaults_list
from hydra._internal import hydra as hydra_entry
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.default_element import GroupDefault, InputDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from eibench_ray.config.load import is_known_key
from eibench_ray.config.programs import refuse_programs
from eibench_ray.config.secrets import refuse_secrets
from eibench_ray.errors import ConfigError
from eibench_ray.scoring.scorer_registry import add_scorer_files
from eibench_ray.visible_text import in_line, list_some

PACKAGES = frozenset({"hydra", "main"})  # Hydra's words for its own folder and for the application's
SCHEMA = "schema"  # what is registered in code; Hydra wants it last
PLAIN = "hydra.mode=RUN"  # what Hydra adds where neither -m nor a file asks for a sweep
MAX_NAMED = 6


# What the package's own files say, as pickles: folders -> name of a file -> what it says.
_packaged: dict[tuple[tuple[str, str], ...], dict[str, bytes]] = {}


class OptionFiles(ConfigRepository):
    """Hydra's repository of option files: the user's first, with a memory that outlives one composition."""

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Reads from these sources from now on, and forgets what others said."""
        super().initialize_sources(config_search_path)
        own = [source for source in self.sources if source.provider not in PACKAGES | {SCHEMA}]
        self.sources = [*own, *(source for source in self.sources if source not in own)]
        # Pickled: six times as fast to copy as by copy.deepcopy. The package's files do not change while it runs.
        places = tuple((source.provider, source.path) for source in self.sources)
        self._read: dict[str, bytes] = {} if own else _packaged.setdefault(places, {})
        for source in own:
            if not source.available():
                raise ConfigError(f"{source.path} ({source.provider}) is no folder of option files: name one that is")
            _announce(source, [other for other in self.sources if other.provider in PACKAGES])
        for source in reversed(own):  # of two of one name, the first folder's stays
            add_scorer_files(_list_scorers(source))

    def __deepcopy__(self, memo: dict[int, Any]) -> OptionFiles:
        """Another one with the same memory: Hydra takes a copy for each composition, and may change its sources."""
        return copy.copy(self)

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A copy of what a file says: a composition writes into what it loads."""
        if config_path not in self._read:
            self._read[config_path] = pickle.dumps(super().load_config(config_path))
        loaded: ConfigResult | None = pickle.loads(self._read[config_path])
        return loaded


class OptionLoader(ConfigLoaderImpl):
    """Hydra's composition, from these files, without programs and without secrets."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = OptionFiles(config_search_path)
        self._seen: tuple[tuple[str | None, ...], DictConfig] | None = None  # what was asked for a look, and found

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Composes files and overrides, with Hydra's node; Hydra writes it to disk before it calls the task.

        Hydra composes first only to see whether a file asks for a sweep (0.1 s), then once more with that in its
        overrides. The second is made from the first here, but for an option that nobody chose: a sweep may choose it.

        Raises:
            ConfigError: it holds a secret, or names a program to start.
        """
        asked = (config_name, *overrides)
        seen, self._seen = self._seen, None
        if seen is not None and asked in (seen[0], (*seen[0], PLAIN)):
            config = seen[1]
            if run_mode == RunMode.MULTIRUN or not OmegaConf.missing_keys(config.hydra.runtime.choices):
                parsed = OverridesParser.create().parse_overrides(overrides)
                self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
                if asked != seen[0]:
                    config.hydra.mode = RunMode.RUN
                    config.hydra.overrides.hydra.append(PLAIN)
                return config
        config = super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        refuse_programs(config)
        refuse_secrets(config)
        _refuse_other_encodings(config)
        if not validate_sweep_overrides:
            self._seen = asked, config
        return config


def _refuse_other_encodings(config: DictConfig) -> None:
    """Refuses a path whose bytes are no UTF-8: what Python has in their place, no file can hold."""
    try:
        json.dumps(OmegaConf.to_container(config, resolve=False), ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        where = str(error.object)
        start = where.rfind('"', 0, error.start) + 1
        named = where[start : where.find('"', error.start)]
        raise ConfigError(f"the path {named} is not UTF-8: work in folders, and name files, whose names are") from None


@contextlib.contextmanager
def own_loader() -> Iterator[None]:
    """Has Hydra compose with `OptionLoader` meanwhile; whose place a user's files take is said once."""
    _announced.clear()
    with (
        mock.patch.object(hydra_entry, "ConfigLoaderImpl", OptionLoader),
        mock.patch.object(ConfigLoaderImpl, "_apply_overrides_to_config", staticmethod(_apply_overrides)),
        mock.patch.object(defaults_list, "_create_interpolation_map", _map_choices),
    ):
        yield


_hydra_maps = defaults_list._create_interpolation_map


def _map_choices(overrides: Any, defaults: list[InputDefault], self_added: bool) -> DictConfig | None:
    """Hydra's map of all choices, made only for defaults that name another's choice: a tenth of a composition."""
    is_read = any(one.is_interpolation() or (isinstance(one, GroupDefault) and one.is_options()) for one in defaults)
    return _hydra_maps(overrides, defaults, self_added) if is_read else None


_hydra_applies = ConfigLoaderImpl._apply_overrides_to_config


def _apply_overrides(overrides: list[Override], config: DictConfig) -> None:
    """Hydra's, which sets only what the files have: a key that they leave at its default is added, as `++` does."""
    _hydra_applies([_as_addition(one) if _is_left_out(one, config) else one for one in overrides], config)


def _is_left_out(override: Override, config: DictConfig) -> bool:
    """Whether it sets a key that the schema has and the files do not."""
    key = override.key_or_group
    if override.type is not OverrideType.CHANGE or override.package is not None:
        return False
    # An interpolation that has no value yet, such as hydra.sweep.subdir, is there. The schema comes last: to know its
    # keys loads every engine's module (0.3 s).
    found = OmegaConf.select(config, key, default=_NOTHING, throw_on_resolution_failure=False)
    return found is _NOTHING and is_known_key(key)


def _as_addition(override: Override) -> Override:
    return replace(override, type=OverrideType.FORCE_ADD)


_NOTHING = object()


_announced: set[str] = set()


def _announce(own: ConfigSource, packages: Sequence[ConfigSource]) -> None:
    """Says which of the package's files a user's folder has in their place.

    Raises:
        ConfigError: one of its files is to be in such a place, and has a name that Hydra does not read.
    """
    if own.path in _announced:
        return
    _announced.add(own.path)
    names = [name for source in packages for name in _list_files(source, "")]
    if unread := [file for name in names if (file := Path(own.path, f"{name}.yml")).is_file()]:
        raise ConfigError(f"{unread[0]} would not be read: the name of an option file ends in .yaml; rename it")
    found = [name for name in names if own.is_config(name)]
    if found:
        named = list_some(found, MAX_NAMED)
        # Not through the log: what is run is another thing than its name says, and that is to be seen.
        sys.stderr.write(f"Note: {in_line(own.path)} has options in the place of the package's: {in_line(named)}\n")


def _list_scorers(source: ConfigSource) -> dict[str, str]:
    """A folder's own scorers: name -> Python file in its `scorers`."""
    files = Path(source.path, "scorers").glob("*.py")
    return {file.stem: str(file.absolute()) for file in files if not file.stem.startswith("_")}


def _list_files(source: ConfigSource, group: str) -> Iterator[str]:
    """The options of a source, as `model/echo`, in all its groups."""
    prefix = f"{group}/" if group else ""
    for name in source.list(group, ObjectType.CONFIG):
        yield f"{prefix}{name}"
    for name in source.list(group, ObjectType.GROUP):
        if not name.startswith(("__", ".")):
            yield from _list_files(source, f"{prefix}{name}")
