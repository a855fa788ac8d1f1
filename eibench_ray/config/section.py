"""What all sections of the configuration share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A frozen section of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


def number_or_auto(value: object, what: str) -> object:
    """The value, if it is a number of something or `auto`."""
    if value != "auto" and (type(value) is not int or value < 1):
        raise ValueError(f"should be a number of {what}, or 'auto'")
    return value
