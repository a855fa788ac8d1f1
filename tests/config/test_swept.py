"""Value overrides below a swept group."""

from __future__ import annotations

import pytest
from hydra.errors import OverrideParseException

from eibench_ray.config.swept import defer_to_jobs


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


def test_an_unreadable_override_is_hydras_own_error() -> None:
    with pytest.raises(OverrideParseException):
        defer_to_jobs(["model=[a"])
