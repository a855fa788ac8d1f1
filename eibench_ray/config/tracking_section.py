"""The section `tracking`: what trackers are given, and below each tracker's name its options.

In YAML: `tracking: {samples: 24, wandb: {project: mine}, mlflow: {}}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PositiveFloat, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from eibench_ray.config.section import Frozen, read_options, write_options
from eibench_ray.errors import ConfigError
from eibench_ray.plugins import PluginGroup

TRACKERS = PluginGroup(
    entry_points="eibench_ray.trackers",
    builtin={
        "mlflow": "eibench_ray.tracking.mlflow.mlflow_tracker:MlflowTracker",
        "tensorboard": "eibench_ray.tracking.tensorboard.tensorboard_tracker:TensorboardTracker",
        "wandb": "eibench_ray.tracking.wandb.wandb_tracker:WandbTracker",
    },
    what="tracker",
)


class TrackingConfig(Frozen):
    """Experiment tracking. Beside these keys stand the trackers, each with its options.

    Attributes:
        deadline_s: seconds that the trackers may take at the end of a run; what they were not sent by then is named.
    """

    model_config = ConfigDict(extra="allow")

    enabled: bool = True  # False tells no tracker, whichever are chosen
    samples: Annotated[int, Field(ge=0)] = 24  # rows in the table of samples, with their texts; 0: none
    pictures: bool = False  # whether that table shows the samples' pictures
    page: bool = False  # whether the run's page goes along, with the samples and pictures that it shows
    deadline_s: PositiveFloat = 600.0

    @model_validator(mode="before")
    @classmethod
    def _options_are_their_trackers(cls, given: object) -> object:
        """The section with the options as the trackers have them, those left out included."""
        if not isinstance(given, Mapping):
            return given
        own = {name: value for name, value in given.items() if name in cls.model_fields}
        return own | {name: _read_tracker(name, options) for name, options in given.items() if name not in own}

    @property
    def trackers(self) -> dict[str, dict[str, Any]]:
        """The options of each tracker that is told, by the tracker's name."""
        return dict(self.model_extra or {}) if self.enabled else {}

    @classmethod
    def plugin_keys(cls) -> Iterator[str]:
        """The options of all trackers."""
        for name in TRACKERS.names():
            try:
                yield from (f"{name}.{option.name}" for option in fields(TRACKERS.find(name, type)))
            except (ConfigError, TypeError):  # a package that is broken is named when it is asked for
                continue


def _read_tracker(name: str, given: object) -> dict[str, Any]:
    """A tracker's options, those left out included.

    Raises:
        ValidationError: there is no such tracker, or it has no such option.
    """
    if not isinstance(given, Mapping) and name not in TRACKERS.names():
        raise _problem(InitErrorDetails(type="extra_forbidden", loc=(name,), input=given))
    try:
        tracker: type[object] = TRACKERS.find(name, type)
    except ConfigError as error:
        wrong = PydanticCustomError("tracker", "{reason}", {"reason": str(error)})
        raise _problem(InitErrorDetails(type=wrong, loc=(name,), input=given)) from None
    try:
        return write_options(read_options(tracker, given))
    except ValidationError as error:
        raise _problem(
            *(
                InitErrorDetails(type=one["type"], loc=(name, *one["loc"]), input=one["input"], ctx=one.get("ctx", {}))
                for one in error.errors()
            )
        ) from None


def _problem(*details: InitErrorDetails) -> ValidationError:
    return ValidationError.from_exception_data("tracking", list(details))
