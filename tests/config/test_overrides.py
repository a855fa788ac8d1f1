"""Value overrides below a varied group."""

from __future__ import annotations

import pytest
from hydra.errors import OverrideParseException

from eibench_ray.config.overrides import defer_to_jobs, spread_lists
from eibench_ray.errors import ConfigError


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["dataset=a,b", "dataset.limit=8"], ["dataset=a,b", "dataset.limit=choice(8)"]),
        (["dataset=a,b", "model.engine.dtype=x"], ["dataset=a,b", "model.engine.dtype=x"]),
        (["dataset=a", "dataset.limit=8"], ["dataset=a", "dataset.limit=8"]),
        (["dataset=a,b", "dataset.limit=8,9"], ["dataset=a,b", "dataset.limit=8,9"]),
        (
            ["model@judge.model=a,b", "+judge.model.engine.x=[1,2]"],
            ["model@judge.model=a,b", "+judge.model.engine.x=choice([1,2])"],
        ),
        (["model=a,b", "~model.system"], ["model=a,b", "~model.system"]),
        (["model=a,b", "modelx.y=1"], ["model=a,b", "modelx.y=1"]),
    ],
)
def test_only_values_below_a_swept_group_wait_for_the_jobs(overrides: list[str], expected: list[str]) -> None:
    assert defer_to_jobs(overrides) == expected


@pytest.mark.parametrize(
    ("overrides", "expected", "has_several"),
    [
        (["judge=[a,b]", "model=x"], ["judge=a,b", "model=x"], True),
        (["judge=[a]"], ["judge=a"], False),
        (["judge=[a,a]"], ["judge=a"], False),
        (["judge=['a','b']"], ["judge=a,b"], True),
        (["judge=[mine/a, b]", "model=[x,y]"], ["judge=mine/a,b", "model=x,y"], True),
        (["judge=a,b"], ["judge=a,b"], False),
        (["judge=[a],[b]"], ["judge=[a],[b]"], False),  # Hydra's own choice
        (
            ["judge.sampling.stop=[a,b]", "+judge@other=[a,b]"],
            ["judge.sampling.stop=[a,b]", "+judge@other=[a,b]"],
            False,
        ),
        (["~judge", "tracking=[a,b]"], ["~judge", "tracking=[a,b]"], False),
    ],
)
def test_a_list_of_options_is_a_choice(overrides: list[str], expected: list[str], has_several: bool) -> None:
    assert spread_lists(overrides) == (expected, has_several)


@pytest.mark.parametrize("override", ["judge=[]", "judge=[1,2]", "judge=[[a],b]", "judge=[null]", "model=[{a:1}]"])
def test_a_list_of_something_else_is_told_what_to_write(override: str) -> None:
    with pytest.raises(ConfigError, match=r"write the names of one or more options, e\.g\. (judge|model)=\[a,b\]"):
        spread_lists([override])


def test_an_unreadable_override_is_hydras_own_error() -> None:
    with pytest.raises(OverrideParseException):
        defer_to_jobs(["model=[a"])
