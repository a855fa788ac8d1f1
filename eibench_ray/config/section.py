"""Base of all sections of the configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter

Options = TypeVar("Options")


def _is_not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("empty: give it a value, or leave it out")
    return value


def expand_home(value: str) -> str:
    """A path with the home folder in the place of a `~` at its start: in quotes, no shell does that."""
    return str(Path(value).expanduser()) if value == "~" or value.startswith("~/") else value


# A name, an address or another text that must say something.
Filled = Annotated[str, AfterValidator(_is_not_blank)]
# A path, or what may be one.
PathText = Annotated[Filled, AfterValidator(expand_home)]


class Frozen(BaseModel):
    """A frozen section of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())

    @classmethod
    def plugin_keys(cls) -> Iterable[str]:
        """The options that plug-ins may have beside its own keys."""
        return ()


_adapter_of: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def read_options(options: type[Options], given: object) -> Options:
    """The dataclass of these options, checked as strictly as a section.

    Raises:
        ValidationError: an option is unknown, or has no such value (pydantic's).
    """
    if isinstance(given, options):
        return given
    # As JSON, so that a list is a tuple where an option is one, also where values are read strictly.
    found: Options = _adapter_of(options).validate_json(json.dumps(given), strict=True, extra="forbid")
    return found


def write_options(options: object) -> dict[str, Any]:
    """The options of a dataclass as JSON values, those left out included."""
    found: dict[str, Any] = _adapter_of(type(options)).dump_python(options, mode="json")
    return found


def number_or_auto(value: object, what: str) -> object:
    """The value, if it is a whole number above 0 or `auto`."""
    if value != "auto" and (type(value) is not int or value < 1):
        raise ValueError(f"should be a whole number of {what} above 0, or 'auto'")
    return value
