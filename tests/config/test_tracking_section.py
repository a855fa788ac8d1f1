"""The section `tracking`: its own keys, and those of the tracker that it names."""

from __future__ import annotations

from typing import Any

import pytest

from eibench_ray.config.load import suggest_key, validate
from eibench_ray.config.tracking_section import TrackingConfig
from eibench_ray.errors import ConfigError


def test_options_are_the_trackers_with_its_defaults() -> None:
    config = validate({"name": "wandb", "kind": "wandb", "project": "mine"}, TrackingConfig)
    expected = {"project": "mine", "entity": None, "mode": "auto", "api_key_env": "WANDB_API_KEY"}
    assert config.options == expected
    assert validate(config.model_dump(), TrackingConfig) == config


def test_none_tracks_nothing_whatever_options_there_are() -> None:
    config = validate({"name": "wandb", "kind": "none", "project": "mine"}, TrackingConfig)
    assert not config.is_on


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kind": "wandb", "projekt": "x"}, "projekt: there is no such key; did you mean 'project'?"),
        ({"kind": "wandb", "mode": "on"}, "mode is 'on': input should be 'auto', 'online' or 'offline'"),
        ({"kind": "wandb", "project": ""}, "project is '': empty: give it a value, or leave it out"),
        ({"kind": "wandb", "entity": 3}, "entity is 3: input should be a valid string"),
        ({"kind": "wandb", "deadline_s": 0.0}, "deadline_s is 0.0: input should be greater than 0"),
        ({"kind": "wanbd"}, "kind is 'wanbd': there is no tracker 'wanbd': 'wandb' is near"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate({"name": "mine", **section}, TrackingConfig)
    assert message in str(caught.value)


def test_a_misspelt_option_of_a_tracker_has_a_near_one() -> None:
    assert suggest_key("tracking.projct") == "; did you mean 'tracking.project'?"
