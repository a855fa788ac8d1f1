"""Hydra's and OmegaConf's complaints as one paragraph of ours: the full key, and the nearest name that exists."""

from __future__ import annotations

import re
import shlex
import traceback
from collections.abc import Iterator
from difflib import get_close_matches
from types import FrameType
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from eibench_ray.config.load import is_known_key, suggest_key
from eibench_ray.config.schema import RunConfig
from eibench_ray.config.section import Frozen
from eibench_ray.errors import ConfigError

# PyYAML's are of an option file; Hydra lets them through.
HYDRA_ERRORS: tuple[type[Exception], ...] = (HydraException, OmegaConfBaseException, yaml.YAMLError)
# What else comes out of a composition: a few of Hydra's own, such as for `model=null`; PyYAML's for `!!bool x` or
# `!!timestamp x`; OmegaConf's for a file that holds a number; a list that is in itself; a file that may not be read.
UNNAMED_ERRORS: tuple[type[Exception], ...] = (ValueError, LookupError, AttributeError, RecursionError, OSError)

_NO_OPTION = re.compile(
    r"Could not find '([^']+)/([^'/]+)'.*?Available options in '[^']+':(.*?)(?:Config search path|$)", re.S
)
_NO_CHOICE = re.compile(r"You must specify '([^']+)'.*?Available options:(.*)", re.S)
_NO_KEY = re.compile(r"Could not override '([^']+)'")
_NO_DELETION = re.compile(r"Could not delete from config. '([^']+)' does not exist")
_SEVERAL = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '([^']+)'")
_FULL_KEY = re.compile(r"full_key: (\S+)")


def explain(error: Exception, schema: type[Frozen] = RunConfig) -> ConfigError:
    """One paragraph for an error of Hydra's or OmegaConf's; `schema` has the keys that can be meant."""
    if isinstance(error, RecursionError) and (cycle := find_cycle(error)):
        return ConfigError(f"the defaults of an option file lead back to it: {cycle}: take one of these entries out")
    if not isinstance(error, HYDRA_ERRORS):
        reason = str(error) if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {error}"
        return ConfigError(f"{reason[:300]}: correct the command line, or the option file that it names")
    text = "\n".join(dict.fromkeys(str(link) for link in _chain(error)))
    if match := _NO_OPTION.search(text):
        group, option, listed = match.groups()
        return ConfigError(f"{group}={option}: there is no such option{_suggest(option, _options(listed))}")
    if match := _NO_CHOICE.search(text):
        group, listed = match.groups()
        return ConfigError(
            f"{group} is missing: choose one with {group}=OPTION (there are {', '.join(_options(listed))})"
        )
    if isinstance(error, MissingMandatoryValue) and (match := _FULL_KEY.search(text)):
        return ConfigError(f"{match.group(1)} is missing: set it with {match.group(1)}=VALUE")
    if match := _NO_KEY.search(text):
        return ConfigError(f"{match.group(1)}: there is no such key{suggest_key(match.group(1), schema)}")
    if match := _NO_DELETION.search(text):
        key = match.group(1)
        reason = (
            "no option file sets it: leave this out"
            if is_known_key(key)
            else f"there is no such key{suggest_key(key, schema)}"
        )
        return ConfigError(f"~{key}: {reason}")
    if match := _SEVERAL.search(text):
        quoted = quote_for_shell(match.group(1))
        as_text = f", or as one text: {quoted}" if quoted else ""
        return ConfigError(
            f"{match.group(1)} has several values: add -m to sweep over them, or write a list as [a,b]{as_text}"
        )
    if isinstance(error, InterpolationResolutionError) and (match := _FULL_KEY.search(text)):
        return ConfigError(f"{match.group(1)} reads a value from elsewhere: {text.splitlines()[0]}")
    if isinstance(error, yaml.YAMLError):
        return ConfigError(f"an option file is not YAML that can be read: {' '.join(text.split())}: fix it there")
    if isinstance(error, OverrideParseException):
        quoted = quote_for_shell(str(error.override))
        how = f"a value with such characters in quotes: {quoted}" if quoted else "quote what the shell would split"
        return ConfigError(f"{error.override!r} is not an override: write key=value, and {how}")
    return ConfigError(" ".join(text.split()))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _options(listed: str) -> list[str]:
    """The options in Hydra's list; those that start with an underscore are parts of others."""
    return [name for name in listed.split() if not name.startswith("_")]


def _suggest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1) or [option for option in known if option.startswith(name)]
    return f"; did you mean {close[0]!r}?" if close else f" (there are {', '.join(known)})"


_MAX_FILES = 8


def find_cycle(error: BaseException) -> str | None:
    """The option files whose defaults lead back to themselves, with a path; None where there are none."""
    steps = [
        (frame.f_locals["root"].node.get_config_path(), frame.f_locals["repo"])
        for frame in _frames(error, "_create_defaults_tree_impl")
        if "root" in frame.f_locals and "repo" in frame.f_locals
    ]
    names = [name for name, _ in steps]
    if not names or (last := names[-1]) not in names[:-1]:
        return None
    cycle = names[len(names) - 2 - names[:-1][::-1].index(last) :]
    shown = " > ".join(cycle if len(cycle) <= _MAX_FILES else [*cycle[:_MAX_FILES], "..."])
    return f"{shown} ({_locate(steps[-1][1], last)})"


def _frames(error: BaseException | None, function: str) -> Iterator[FrameType]:
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_name == function:
                yield frame
        error = error.__cause__ or error.__context__


def _locate(repository: Any, config_path: str) -> str:
    for source in repository.get_sources():
        if source.is_config(config_path):
            return f"{source.path.rstrip('/')}/{config_path}.yaml"
    return config_path


def quote_for_shell(override: str) -> str | None:
    """The override as it can be pasted into a shell, its value as one text; None where no quotes help.

    Args:
        override: as it was given, e.g. `store.root=runs/epoch=3`.
    """
    key, separator, text = override.partition("=")
    if not separator:
        return None
    quoted = f"{key}={QuotedString(text, Quote.double).with_quotes()}"
    try:
        [parsed] = OverridesParser.create().parse_overrides([quoted])
        value = parsed.value()
    except HydraException:
        return None
    return shlex.quote(quoted) if value == text else None
