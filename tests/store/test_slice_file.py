"""A slice's file while a task works on it: what another commits is read once and kept, and of two rows one stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eibench_ray.rows.completion import Completion
from eibench_ray.store.slice_file import SliceFile, settle
from eibench_ray.store.slice_store import Store

ANSWER = Completion("a", "d", "sun", None, None, "stop", 1, 1, 0, 1, 0.5, 1.0, "echo", "run", cost_usd=0.5)
PASSING = replace(ANSWER, text=None, error_kind="timeout", error="no reply", cost_usd=0.25)
DEADLY = replace(PASSING, error_kind="quarantined")


def test_what_another_commits_is_read_once_and_ones_own_is_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = Store(tmp_path), Store(tmp_path)
    second, third = replace(ANSWER, sample_id="b"), replace(ANSWER, sample_id="c")
    file = SliceFile(store, "step", 0)
    assert file.read_news() == {}
    other.write_slice("step", 0, [ANSWER])
    assert file.read_news() == {"a": ANSWER}
    with monkeypatch.context() as patch:
        patch.setattr(store, "read_slice", None)
        assert file.read_news() == {}, "the stamp says that nothing was written"
    other.write_slice("step", 0, [ANSWER, second])
    assert file.read_news() == {"b": second}
    file.write([ANSWER, second, third], num_asked=3, made_from=None)
    assert file.read_news() == {}
    assert file.rows == store.read_slice("step", 0) == {"a": ANSWER, "b": second, "c": third}


@pytest.mark.parametrize(
    ("mine", "other", "stands"),
    [
        (ANSWER, replace(ANSWER, text="rain"), "mine"),
        (PASSING, ANSWER, "other"),
        (ANSWER, PASSING, "mine"),
        (DEADLY, ANSWER, "other"),
        (PASSING, DEADLY, "other"),
        (DEADLY, PASSING, "mine"),
        (PASSING, PASSING, "mine"),
    ],
)
def test_an_answer_stands_before_an_engines_death_and_that_before_a_passing_error(
    mine: Completion, other: Completion, stands: str
) -> None:
    mine, other = replace(mine, run_id="mine"), replace(other, run_id="other")
    settled = settle(mine, other)
    assert settled.run_id == stands
    assert settled.cost_usd == (mine.cost_usd or 0) + (other.cost_usd or 0), "both were paid for"


def test_what_has_no_price_costs_nothing_known() -> None:
    free = replace(ANSWER, cost_usd=None)
    assert settle(free, free).cost_usd is None
    assert settle(free, ANSWER).cost_usd == 0.5
