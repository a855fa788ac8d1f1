"""The section `tracking`: what the core does of it, and the options of the tracker that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PositiveFloat, field_validator, model_validator

from eibench_ray.config.section import Filled, Frozen, read_options, write_options
from eibench_ray.errors import ConfigError
from eibench_ray.plugins import PluginGroup

TRACKERS = PluginGroup(
    entry_points="eibench_ray.trackers",
    builtin={"wandb": "eibench_ray.tracking.wandb.wandb_tracker:WandbTracker"},
    what="tracker",
)
NONE = "none"


class TrackingConfig(Frozen):
    """Experiment tracking. Beside these keys stand the tracker's options.

    Attributes:
        deadline_s: seconds that the tracker may take at the end of a run; what it was not sent by then is named.
    """

    model_config = ConfigDict(extra="allow")

    name: Filled
    kind: Filled  # the tracker: built in, or an installed package's; `none` tracks nothing, whatever options there are
    num_samples: Annotated[int, Field(ge=0)] = 24  # rows in the table of samples, 0 for none
    deadline_s: PositiveFloat = 600.0

    @field_validator("kind")
    @classmethod
    def _is_a_tracker(cls, kind: str) -> str:
        try:
            if kind != NONE:
                TRACKERS.find(kind, type)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return kind

    @model_validator(mode="before")
    @classmethod
    def _options_are_its_trackers(cls, given: object) -> object:
        """The section with the options as the tracker has them, those left out included."""
        if not isinstance(given, Mapping) or not isinstance(kind := given.get("kind"), str) or kind == NONE:
            return given
        own = {name: value for name, value in given.items() if name in cls.model_fields}
        try:
            tracker: type[object] = TRACKERS.find(kind, type)
        except ConfigError:  # the field says it, under its own key
            return given
        options = read_options(tracker, {key: value for key, value in given.items() if key not in own})
        return {**own, **write_options(options)}

    @property
    def is_on(self) -> bool:
        """Whether something is tracked."""
        return self.kind != NONE

    @property
    def options(self) -> dict[str, Any]:
        """The tracker's own."""
        return dict(self.model_extra or {})

    @classmethod
    def plugin_keys(cls) -> Iterator[str]:
        """The options of all trackers."""
        for name in TRACKERS.names():
            try:
                yield from (option.name for option in fields(TRACKERS.find(name, type)))
            except (ConfigError, TypeError):  # a package that is broken is named when it is asked for
                continue
