"""The section `tracking`: its own keys, and below their names those of trackers."""

from __future__ import annotations

from typing import Any

import pytest

from eibench_ray.config.load import suggest_key, validate
from eibench_ray.config.tracking_section import TrackingConfig
from eibench_ray.errors import ConfigError


def test_options_are_the_trackers_with_its_defaults() -> None:
    config = validate({"wandb": {"project": "mine"}, "samples": 3}, TrackingConfig)
    expected = {"project": "mine", "entity": None, "mode": "auto", "api_key_env": "WANDB_API_KEY"}
    assert (config.trackers, config.samples) == ({"wandb": expected}, 3)
    assert validate(config.model_dump(), TrackingConfig) == config


def test_nothing_is_told_without_a_tracker_or_when_disabled() -> None:
    assert validate({}, TrackingConfig).trackers == {}
    assert validate({"wandb": {}, "enabled": False}, TrackingConfig).trackers == {}


def test_nothing_but_texts_of_a_few_samples_goes_out_by_default() -> None:
    config = validate({}, TrackingConfig)
    assert (config.samples, config.pictures, config.page) == (24, False, False)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"wandb": {"projekt": "x"}}, "wandb.projekt: there is no such key; did you mean 'wandb.project'?"),
        ({"wandb": {"mode": "on"}}, "wandb.mode is 'on': input should be 'auto', 'online' or 'offline'"),
        ({"wandb": {"project": ""}}, "wandb.project is '': empty: give it a value, or leave it out"),
        ({"wandb": {"entity": 3}}, "wandb.entity is 3: input should be a valid string"),
        ({"deadline_s": 0.0}, "deadline_s is 0.0: input should be greater than 0"),
        ({"wanbd": {}}, "wanbd: there is no tracker 'wanbd': 'wandb' is near"),
        ({"deadlin_s": 3}, "deadlin_s: there is no such key; did you mean 'deadline_s'?"),
        ({"wandb": "mine"}, "wandb is 'mine': input should be"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(section, TrackingConfig)
    assert message in str(caught.value)


def test_a_misspelt_option_of_a_tracker_has_a_near_one() -> None:
    assert suggest_key("tracking.projct") == "; did you mean 'tracking.wandb.project'?"
    assert suggest_key("tracking.wandb.projct") == "; did you mean 'tracking.wandb.project'?"
