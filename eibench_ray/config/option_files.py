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
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from hydra._internal import defaults_list
from hydra._internal import hydra as hydra_entry
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository, IConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.default_element import GroupDefault, InputDefault, ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override

from eibench_ray.config.load import is_known_key
from eibench_ray.config.programs import refuse_programs
from eibench_ray.config.secrets import refuse_secrets
from eibench_ray.errors import ConfigError
from eibench_ray.scoring.scorer_registry import add_scorer_files
from eibench_ray.visible_text import in_line, list_some

T = TypeVar("T")

PACKAGES = frozenset({"hydra", "main"})  # Hydra's words for its own folder and for the application's
MAIN = "hydra/config"  # of Hydra's own files, the last that is merged
SCHEMA = "schema"  # what is registered in code; Hydra wants it last
PLAIN = "hydra.mode=RUN"  # what Hydra adds where neither -m nor a file asks for a sweep
MAX_NAMED = 6
_OWN = "of a user's own"

# What was made of the package's own files, as pickles: their folders -> what it is -> pickle.
_packaged: dict[tuple[tuple[str, str], ...], dict[Hashable, bytes]] = {}


class OptionFiles(ConfigRepository):
    """Hydra's repository of option files: the user's first, with a memory that outlives one composition."""

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Reads from these sources from now on, and forgets what others said."""
        super().initialize_sources(config_search_path)
        own = [source for source in self.sources if source.provider not in PACKAGES | {SCHEMA}]
        packages = [source for source in self.sources if source not in own]
        self.sources = [*own, *packages]
        places = tuple((source.provider, source.path) for source in packages)
        self._packaged = _packaged.setdefault(places, {})
        self._own: dict[Hashable, bytes] = {}
        self._stamps: dict[str, Hashable] = {}  # of files that were looked for
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
        return self.make_once(config_path, [config_path], lambda: super(OptionFiles, self).load_config(config_path))

    def make_once(self, what: Hashable, files: Sequence[str], make: Callable[[], T]) -> T:
        """A copy of what was made of these files, which is made once.

        What is made of the package's files alone is kept for all commands of this process, until one of them changes.
        """
        stamps = tuple(self._stamp(file) for file in files)
        memory, key = (self._own, what) if _OWN in stamps else (self._packaged, (what, stamps))
        if key not in memory:
            memory[key] = pickle.dumps(make())  # six times as fast to copy as by copy.deepcopy
        made: T = pickle.loads(memory[key])
        return made

    def _stamp(self, file: str) -> Hashable:
        """The version of a file of the package's; `_OWN` for a user's."""
        if file not in self._stamps:
            source = self._find_object_source(file, ObjectType.CONFIG)
            if source is None or source.provider in PACKAGES | {SCHEMA}:
                self._stamps[file] = _version(source, file)
            else:
                self._stamps[file] = _OWN
        return self._stamps[file]


def _version(source: ConfigSource | None, file: str) -> Hashable:
    """The time and the size of a file in a folder; Hydra's own, which are of a package or made in code, have none."""
    if source is None or source.scheme() != "file":
        return None
    found = Path(source.path, f"{file}.yaml").stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


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
        plain = to_plain(config)
        refuse_programs(plain)
        refuse_secrets(plain)
        _refuse_other_encodings(plain)
        if not validate_sweep_overrides:
            self._seen = asked, config
        return config

    def _compose_config_from_defaults_list(self, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        """Merges the files; those of Hydra's node, which come first, are merged once: 12 of 35 ms."""
        files = [str(one.config_path) for one in defaults]
        num_own = files.index(MAIN) + 1 if MAIN in files else 0
        merge = super()._compose_config_from_defaults_list
        if num_own < 2 or not isinstance(repo, CachingConfigRepository) or not isinstance(repo.delegate, OptionFiles):
            return merge(defaults, repo)
        own = defaults[:num_own]
        what = tuple((one.config_path, one.package) for one in own)
        node = repo.delegate.make_once(what, files[:num_own], lambda: merge(own, repo))
        repo.cache[f"config_path={MAIN}"] = ConfigResult("hydra", "", node, {"package": ""}, is_schema_source=True)
        config = merge([ResultDefault(MAIN, package=""), *defaults[num_own:]], repo)
        # The time that folders are named by is the same in all copies of a composition, and another in the next one.
        now = datetime.now()
        for (pattern,) in OmegaConf.get_cache(node)["now"]:
            OmegaConf.get_cache(config)["now"].setdefault((pattern,), now.strftime(pattern))
        return config

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        """Values of a file, in their section. It leaves the composition's memory: later files write into it.

        Hydra would copy it instead, with copy.deepcopy: a tenth of the time.
        """
        loaded = super()._load_single_config(default, repo)
        if isinstance(repo, CachingConfigRepository):
            repo.cache.pop(f"config_path={default.config_path}")
        return loaded

    @staticmethod
    def _embed_result_config(ret: ConfigResult, package_override: str | None) -> ConfigResult:
        package = package_override if package_override is not None else ret.header["package"]
        if not package:
            return ret
        config = OmegaConf.create()
        with flag_override(config, "no_deepcopy_set_nodes", True):
            OmegaConf.update(config, package, ret.config, merge=False)
        return replace(ret, config=config)


def to_plain(config: DictConfig, *, resolve: bool = False) -> dict[str, Any]:
    """A composition as plain values.

    Raises:
        MissingMandatoryValue: it is to be resolved, and a value that a person must choose is missing (OmegaConf's).
        InterpolationResolutionError: it is to be resolved, and an interpolation leads nowhere (OmegaConf's).
    """
    plain = OmegaConf.to_container(config, resolve=resolve, throw_on_missing=resolve)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _refuse_other_encodings(config: Mapping[str, Any]) -> None:
    """Refuses a path whose bytes are no UTF-8: what Python has in their place, no file can hold."""
    try:
        json.dumps(config, ensure_ascii=False, default=str).encode()
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
