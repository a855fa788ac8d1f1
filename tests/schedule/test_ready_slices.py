"""The order of slices that can be asked: side by side where prompts begin alike, a replica by its own rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from eibench_ray.plan.graph import Prompt, Step
from eibench_ray.plan.slices import Slice, cut
from eibench_ray.rows.request import Sampling
from eibench_ray.schedule.ready_slices import ReadySlices, StepGroup

TEXT = Prompt(None, "Judge. {{ question }} {{ answer }}", image=False, is_official=False)


def step_of(name: str, prompt: Prompt = TEXT, adapter: str | None = None, dataset: str = "faces") -> Step:
    return Step(name, name, "engine", prompt, Sampling(0.0, 1.0, 8), 0, dataset, {}, adapter=adapter)


def ready_of(*steps: Step, depths: Mapping[str, int] | None = None, num_rows: int = 12) -> ReadySlices:
    ready = ReadySlices({step.id: step for step in steps}, {step.id: (depths or {}).get(step.id, 0) for step in steps})
    for step in steps:
        for slice_ in cut(step.id, num_rows, 4):
            ready.add(slice_)
    return ready


def take(ready: ReadySlices, beside: Slice | None = None, **tokens: float) -> Slice:
    slice_ = ready.take(lambda step: tokens.get(step, 1.0), beside)
    ready.hold(slice_)
    return slice_


def names(slices: list[Slice]) -> list[str]:
    return [f"{slice_.step}{slice_.index}" for slice_ in slices]


def test_one_replica_goes_row_by_row_through_steps_that_begin_alike() -> None:
    ready = ready_of(step_of("a"), step_of("b"))
    taken: list[Slice] = []
    while any(ready):
        taken.append(take(ready, taken[-1] if taken else None, b=2.0))
    assert names(taken) == ["b0", "a0", "b1", "a1", "b2", "a2"], "the longest replies first within the rows"


def test_each_of_two_replicas_has_rows_of_its_own_until_none_are_left() -> None:
    ready = ready_of(step_of("a"), step_of("b"))
    mine, yours = [take(ready)], [take(ready)]
    for _ in range(2):
        mine.append(take(ready, mine[-1]))
        yours.append(take(ready, yours[-1]))
    assert names(mine) == ["a0", "b0", "a2"]
    assert names(yours) == ["a1", "b1", "b2"], "of the last rows there is one for each"


def test_rows_of_a_replica_that_is_gone_are_for_the_next_that_asks() -> None:
    ready = ready_of(step_of("a"), step_of("b"))
    first = take(ready)
    ready.release(first)
    ready.add(first, is_first=True)
    assert names([take(ready)]) == ["b0"], "it was ready before"
    assert names([take(ready)]) == ["a1"], "the other is left to who has its rows"


def test_what_begins_otherwise_is_asked_step_by_step_the_longest_first() -> None:
    other = replace(TEXT, user="Grade. {{ question }} {{ answer }}")
    ready = ready_of(step_of("a"), step_of("b", other))
    taken: list[Slice] = []
    while any(ready):
        taken.append(take(ready, taken[-1] if taken else None, b=2.0))
    assert names(taken) == ["b0", "b1", "b2", "a0", "a1", "a2"]


def test_what_most_waits_for_comes_first_though_its_replies_are_short() -> None:
    ready = ready_of(step_of("a"), step_of("b"), depths={"a": 1})
    assert names([take(ready, b=9.0) for _ in range(4)]) == ["a0", "a1", "a2", "b0"]


@pytest.mark.parametrize(
    ("prompt", "adapter", "is_alike"),
    [
        (TEXT, None, True),
        (replace(TEXT, user="Judge. {{ question }} And then?"), None, True),
        (replace(TEXT, user="Judge. {{ answer }} {{ question }}"), None, False),
        (replace(TEXT, system="You judge."), None, False),
        (replace(TEXT, image=True), None, False),
        (TEXT, "tuned", False),
    ],
)
def test_prompts_begin_alike_up_to_the_first_word_that_a_sample_decides(
    prompt: Prompt, adapter: str | None, is_alike: bool
) -> None:
    groups = [StepGroup.of(step, 0) for step in (step_of("a"), step_of("b", prompt, adapter))]
    assert (groups[0] == groups[1]) is is_alike


def test_prompts_with_the_picture_begin_alike_whatever_is_asked_about_it() -> None:
    seen, described = (replace(TEXT, user=user, image=True) for user in ("See. {{ question }}", "Describe it."))
    assert StepGroup.of(step_of("a", seen), 0) == StepGroup.of(step_of("b", described), 0)


def test_rows_of_what_begins_otherwise_are_no_reason_to_go_on_with_them() -> None:
    ready = ready_of(step_of("a"), step_of("b", replace(TEXT, user="Grade. {{ question }}")))
    assert names([take(ready, Slice("b", 2, 8, 12))]) == ["a0"]


def test_equal_numbers_of_rows_of_two_datasets_are_not_the_same_rows() -> None:
    ready = ready_of(step_of("a"), step_of("b", dataset="pets"))
    first = take(ready)
    assert (first.step, take(ready, first).step, len({slice_.step for slice_ in ready})) == ("a", "a", 2)


def test_a_step_that_is_given_up_leaves_nothing() -> None:
    ready = ready_of(step_of("a"), step_of("b"))
    held = take(ready)
    ready.clear()
    assert not any(ready)
    ready.release(held)
    ready.add(held)
    assert list(ready) == [held]
