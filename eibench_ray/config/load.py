"""The edge of the configuration: plain values in, a frozen RunConfig or one clear paragraph out."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from eibench_ray.config.engine_section import ENGINE_KINDS, EngineSection, section_class
from eibench_ray.config.schema import RunConfig
from eibench_ray.config.section import Frozen
from eibench_ray.errors import ConfigError
from eibench_ray.scoring.scorer_registry import scorer_names

# Pydantic names the member of a union in the path of an error; no such key exists.
_UNION_TAGS = frozenset({"texts", "lines of"})

Schema = TypeVar("Schema", bound=Frozen)


def to_config(raw: Mapping[str, Any]) -> RunConfig:
    """The validated configuration of one cell.

    Raises:
        ConfigError: an unknown key, a wrong type or a value out of range; every problem with its full key.
    """
    return validate(raw, RunConfig)


def validate(raw: Mapping[str, Any], schema: type[Schema]) -> Schema:
    """The validated configuration behind one of the main option files.

    Raises:
        ConfigError: an unknown key, a wrong type or a value out of range; every problem with its full key.
    """
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        problems = [_describe(detail, schema) for detail in error.errors()]
        raise ConfigError("the configuration is not valid: " + "; ".join(problems)) from None


def is_known_key(key: str) -> bool:
    """Whether the schema has a dotted key, in a section of some kind; a mapping has any key below its own.

    >>> is_known_key("setting.repeats"), is_known_key("setting.calls.0.each"), is_known_key("setting.repeat")
    (True, True, False)
    >>> is_known_key("model.engine.env.HF_HOME")
    True
    """
    names = [part for part in key.split(".") if not part.isdecimal()]  # elements of a list share their keys
    path = ".".join(names)
    on_path: dict[str, bool] = {}
    for name, is_mapping in _dotted(RunConfig, "", path):
        on_path[name] = on_path.get(name, False) or is_mapping
    above = (".".join(names[:length]) for length in range(1, len(names)))
    return path in on_path or any(on_path.get(name, False) for name in above)


def suggest_key(key: str, schema: type[Frozen] = RunConfig) -> str:
    """A hint at the known key that a dotted, misspelt one may mean; empty where there is none."""
    every = _every_key(schema)
    if key in every:
        return " for this kind; another kind has it"
    known = [name for name in every if not key.startswith(f"{name}.")]
    leaf = key.rsplit(".", 1)[-1]
    same_leaf = [name for name in known if name.rsplit(".", 1)[-1] == leaf]
    close = same_leaf[:1] or get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _every_key(schema: type[Frozen]) -> dict[str, bool]:
    """Every dotted key, and whether it is a mapping, which takes any keys."""
    return _keys_with(schema, frozenset(scorer_names()))


@cache
def _keys_with(schema: type[Frozen], scorers: frozenset[str]) -> dict[str, bool]:  # noqa: ARG001 - more may come to be known
    found: dict[str, bool] = {}
    for key, is_mapping in _dotted(schema, ""):
        found[key] = found.get(key, False) or is_mapping
    return found


def _describe(detail: ErrorDetails, schema: type[Frozen]) -> str:
    key = ".".join(str(part) for part in detail["loc"] if part not in _UNION_TAGS)
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: there is no such key{suggest_key(key, schema)}"
    if detail["type"] == "missing":
        return f"{key} is missing: set it, e.g. {key}=VALUE"
    message = detail["msg"].removeprefix("Value error, ")
    # A whole section is not shown: it is long, and its `env` may hold what nobody should read; so may an address.
    given = detail["input"]
    is_shown = not isinstance(given, dict | list) and not ("://" in str(given) and "@" in str(given))
    value = f" is {given!r}" if is_shown else ""
    return f"{key}{value}: {message[0].lower() if value else message[0]}{message[1:]}{_as_text(detail, key)}"


def _as_text(detail: ErrorDetails, key: str) -> str:
    """Quotes a text that would be read as another type; empty where no quotes are needed."""
    if detail["type"] != "string_type":
        return ""
    given = detail["input"]
    text = str(given).lower() if isinstance(given, int) else "null" if given is None else "VALUE"
    quoted = shlex.quote(f'{key}="{text}"')
    return f" (a text that reads as something else stands in quotes: {quoted})"


def _dotted(section: type[Any], prefix: str, path: str | None = None) -> Iterator[tuple[str, bool]]:
    """Every key of the schema, e.g. `model.engine.dtype`, and whether it is a mapping; of each member of a union.

    With a path, of its sections alone: a key outside of engines is found without loading every engine's module (0.2 s).
    """
    if is_dataclass(section):
        yield from ((prefix + option.name, _is_mapping(option.type)) for option in fields(section))
        return
    if issubclass(section, Frozen):
        yield from ((prefix + name, True) for name in section.plugin_keys())  # of a plug-in's, only names are known
    for name, field in section.model_fields.items():
        yield prefix + name, _is_mapping(field.annotation)
        if path is not None and not path.startswith(f"{prefix}{name}."):
            continue
        for inner in _sections_in(field.annotation):
            if inner is not section:  # a judge has judges as members, under keys of their own
                yield from _dotted(inner, f"{prefix}{name}.", path)


def _is_mapping(annotation: Any) -> bool:
    return re.search(r"\b(dict|Mapping)\b", str(annotation)) is not None


def _sections_in(annotation: Any) -> Iterator[type[Any]]:
    if annotation is EngineSection:
        for name in ENGINE_KINDS.names():
            with contextlib.suppress(ConfigError):  # one that is broken is named when it is asked for
                yield section_class(name)
    elif isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _sections_in(argument)


def with_expected_cluster(config: RunConfig, given: Mapping[str, float]) -> RunConfig:
    """The configuration with another expected cluster; the GPUs' memory goes before `cluster.gpu_memory_gb`."""
    if not given:
        return config
    changes: dict[str, Any] = {"expect": config.cluster.expect.model_copy(update=given)}
    if "gpu_memory_gb" in given:
        changes["gpu_memory_gb"] = given["gpu_memory_gb"]
    return config.model_copy(update={"cluster": config.cluster.model_copy(update=changes)})
