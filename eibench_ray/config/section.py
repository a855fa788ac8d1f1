"""Base of all sections of the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


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


def number_or_auto(value: object, what: str) -> object:
    """The value, if it is a number of something or `auto`."""
    if value != "auto" and (type(value) is not int or value < 1):
        raise ValueError(f"should be a number of {what}, or 'auto'")
    return value
