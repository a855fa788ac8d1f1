"""A sweep as a union of products, and what a command line makes of it."""

from __future__ import annotations

import pytest

from eibench_ray.config.overrides import join_blocks
from eibench_ray.errors import ConfigError

BLOCKS = {
    "all": {"model": ("model=a", "model=b"), "dataset": ("dataset=x", "dataset=y")},
    "more": {"model": ("model=b",), "setting": ("setting=q", "setting=c")},
}


def jobs(**chosen: str) -> list[str]:
    listed = {key: tuple(f"{key}={value}" for value in values.split(",")) for key, values in chosen.items()}
    return [" ".join(item.split("=")[1] for item in job) for job in join_blocks(listed, BLOCKS)]


def test_the_blocks_follow_one_another() -> None:
    assert jobs() == ["a x", "a y", "b x", "b y", "b q", "b c"]


def test_what_is_chosen_for_all_goes_into_every_block() -> None:
    assert jobs(judge="j,k") == [f"{job} {judge}" for job in jobs() for judge in "jk"]


def test_what_is_chosen_narrows_the_blocks_that_list_it() -> None:
    assert jobs(model="a") == ["a x", "a y"]
    assert jobs(setting="c") == ["a x c", "a y c", "b x c", "b y c", "b c"]
    assert jobs(model="b", dataset="x") == ["b x", "b x q", "b x c"]


def test_what_no_block_lists_goes_into_all_of_them() -> None:
    assert jobs(model="z") == ["z x", "z y", "z q", "z c"]
    assert jobs(model="a,z", dataset="w") == ["a w", "z w", "z w q", "z w c"]


def test_equal_jobs_of_two_blocks_are_one() -> None:
    twice = {"one": {"model": ("model=a", "model=b")}, "two": {"model": ("model=b", "model=c")}}
    assert [job for (job,) in join_blocks({}, twice)] == ["model=a", "model=b", "model=c"]


def test_what_no_block_has_together_is_named() -> None:
    apart = {
        "one": {"model": ("model=a",), "setting": ("setting=q",)},
        "two": {"model": ("model=b",), "setting": ("setting=c",)},
    }
    with pytest.raises(
        ConfigError, match=r"no block of hydra.sweeper.blocks \(one, two\) has model=a setting=c together"
    ):
        join_blocks({"model": ("model=a",), "setting": ("setting=c",), "judge": ("judge=j",)}, apart)
