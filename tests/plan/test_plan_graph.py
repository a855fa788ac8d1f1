"""The facts that a plan's steps, cells and engines tell of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from eibench_ray.engines.echo import EchoSection
from eibench_ray.engines.registry import engine_spec
from eibench_ray.plan.engine_traits import Adapter, Availability, EngineTraits, Expectation, describe_chosen
from eibench_ray.plan.fanout import Item
from eibench_ray.plan.graph import (
    Blocker,
    Cell,
    DatasetSpec,
    EngineSpec,
    Juror,
    MemoryFit,
    Plan,
    Prompt,
    Step,
    join_sources,
)
from eibench_ray.plan.packed_rows import pack
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.plan.slices import Slice, StepWork
from eibench_ray.rows.request import Sampling

SCORER = ScorerSpec("includes")


def engine(key: str, **traits: Any) -> EngineSpec:
    spec = engine_spec(key, f"model {key}", EchoSection(kind="echo"), "cpu", None, 0, Expectation())
    return replace(spec, traits=EngineTraits(max_num_seqs=4, **traits))


def step(name: str, engine_key: str, *reads: str, **more: Any) -> Step:
    prompt = Prompt(None, "", image=False, is_official=False)
    return Step(name, name, engine_key, prompt, Sampling(0.0, 1.0, 8), 0, "faces", {one: one for one in reads}, **more)


def cell(**changes: Any) -> Cell:
    facts: dict[str, Any] = {
        "key": "c",
        "model": "eye",
        "setting": "look",
        "dataset": "faces",
        "judge": "strict",
        "scorer": SCORER,
        "sees_image": True,
        "self_judged": False,
        "answer": "answer",
        "verdicts": ("verdict",),
        "steps": ("answer", "verdict"),
        "config": {},
    }
    return Cell(**facts | changes)


def plan_of(engines: Sequence[EngineSpec], steps: Sequence[Step], *cells: Cell) -> Plan:
    faces = DatasetSpec("faces", "faces", None, 5, is_prepared=True)
    return Plan("test", {one.key: one for one in engines}, {"faces": faces}, {one.id: one for one in steps}, cells)


@pytest.mark.parametrize(
    ("sources", "joined"),
    [
        ([], "model"),
        (["model", "model"], "model"),
        (["model", "recorded"], "recorded"),
        (["recorded", "made_up", "model"], "made_up"),
    ],
)
def test_what_is_made_up_spoils_what_is_made_from_it(sources: list[Any], joined: str) -> None:
    assert join_sources(sources) == joined


def test_whose_words_answers_and_verdicts_rest_on() -> None:
    engines = [engine("e", words="recorded"), engine("j", words="made_up"), engine("m")]
    steps = [step("caption", "e"), step("answer", "m", "caption"), step("verdict", "j", "answer")]
    judged = cell(steps=("caption", "answer", "verdict"))
    plan = plan_of(engines, steps, judged)
    assert plan.answer_source(judged) == "recorded"
    assert plan.judge_source(judged) == "made_up"
    assert plan.judge_source(cell(verdicts=())) == "rule"
    assert plan.sources_of("verdict") == {"verdict", "answer", "caption"}
    assert plan.sources_of("caption") == {"caption"}
    assert plan.engines_of(["verdict", "caption"]) == ["e", "j"]
    assert plan.engines_of(["answer"]) == ["m"]
    assert plan.num_requests == 3 * 5


@pytest.mark.parametrize(
    ("traits", "is_load"),
    [({}, True), ({"is_loaded": True}, True), ({"words": "recorded"}, False), ({"is_endpoint": True}, False)],
)
def test_a_recording_is_read_and_an_endpoint_is_asked_but_neither_is_loaded(
    traits: dict[str, Any], is_load: bool
) -> None:
    spec = engine("e", **traits)
    assert spec.is_load is is_load
    assert spec.traits.is_recorded is (traits.get("words") == "recorded")


def test_an_engine_of_which_little_is_said_costs_nothing_and_loads_nothing() -> None:
    plain = EngineTraits(max_num_seqs=1)
    assert (plain.is_loaded, plain.is_endpoint, plain.is_batch, plain.is_language_model) == (False,) * 4
    assert plain.is_pinned
    assert (plain.words, plain.stages, plain.picture_tokens, plain.thinking_tokens) == ("model", 1, 1000, 0)
    assert (plain.price, plain.limits, plain.reply_tokens, plain.environment) == (None,) * 4
    assert (plain.adapter_speed, plain.env) == (1.0, {})
    prior = Expectation()
    assert (prior.load_s, prior.tokens_per_s) == (120.0, 1000.0)
    assert (prior.alone_tokens_per_s, prior.batch, prior.tokens_per_row, prior.memory_gb) == (None,) * 4


def test_facts_that_nobody_gives_are_the_plain_ones() -> None:
    spec = EngineSpec("k", "eye", "echo", {}, "cpu", None, 0, Expectation(), EngineTraits(max_num_seqs=1))
    assert (spec.memory, spec.availability, spec.price) == (None, None, None)
    assert (spec.chosen, spec.most_images, spec.adapters) == ({}, 0, ())
    plain = step("a", "e")
    assert (plain.scorer, plain.accept, plain.item, plain.adapter, plain.examples, plain.lists) == (None,) * 5 + ({},)
    assert (cell().is_unparsed_wrong, cell().family, cell().judge_family, cell().jurors) == (False, None, None, ())
    assert (cell().blockers, cell().further_answers) == ((), ())
    assert not Juror("one", SCORER, 1).is_unparsed_wrong
    assert (SCORER.options, SCORER.file) == ({}, None)
    adapter = Adapter("k", "a", "me/a", None, 8)
    assert (adapter.base, adapter.is_pinned) == (None, True)
    work, part = StepWork(3, 1, 0, ()), Slice("s", 0, 0, 3)
    assert (work.num_absent, work.num_quarantined, part.chosen) == (0, 0, None)


def test_absent_rows_are_neither_requests_nor_replies() -> None:
    work = StepWork(10, 6, 1, (), num_absent=2)
    assert (work.num_requests, work.num_replied) == (8, 4)


def test_memory_that_is_just_enough_fits() -> None:
    fit = MemoryFit(10.0, None, 24.0, 24.0, "checkpoint")
    assert fit.fits
    assert not replace(fit, gpu_memory_gb=24.1).fits


def test_a_step_of_an_adapter_has_its_models_name() -> None:
    adapters = (Adapter("k1", "first", "me/a", None, 8), Adapter("k2", "second", "me/b", None, 8))
    spec = replace(engine("e"), adapters=adapters)
    asked = [step("a", "e"), step("b", "e", adapter="k2"), step("c", "e", adapter="k1")]
    plan = plan_of([spec], asked)
    assert [plan.model_of(one) for one in asked] == ["model e", "second", "first"]
    assert [one.asked for one in asked] == [("e", None), ("e", "k2"), ("e", "k1")]


def test_only_lines_of_an_answer_leave_the_number_of_requests_open() -> None:
    assert not step("a", "e").is_bounded
    assert not step("a", "e", item=Item("left")).is_bounded
    assert step("a", "e", item=Item(source="list", line=1)).is_bounded


@pytest.mark.parametrize(
    ("self_judged", "family", "judge_family", "same"),
    [
        (False, "qwen", "qwen", True),
        (True, "qwen", "qwen", False),  # the model itself is more than its family
        (False, "qwen", "llama", False),
        (False, None, None, False),
        (False, "qwen", None, False),
    ],
)
def test_a_judge_of_the_models_family_is_another_model_of_it(
    self_judged: bool, family: str | None, judge_family: str | None, same: bool
) -> None:
    assert cell(self_judged=self_judged, family=family, judge_family=judge_family).same_family is same


def test_verdicts_are_counted_for_each_answer_and_seat() -> None:
    twice = cell(verdicts=("v1", "v2", "v3", "v4"), further_answers=("answer2",))
    assert twice.answers == ("answer", "answer2")
    assert twice.judge_repeats == 2
    assert twice.seats == [("strict", 0), ("strict", 1)]
    assert (cell(verdicts=()).judge_repeats, cell(verdicts=()).seats) == (0, [])
    jury = cell(
        jurors=(Juror("one", SCORER, 2), Juror("rule", SCORER, 0), Juror("two", SCORER, 1)), verdicts=("v",) * 3
    )
    assert jury.seats == [("one", 0), ("one", 1), ("two", 0)]


def test_a_cell_says_its_names_and_what_blocks_it() -> None:
    assert cell().name == "eye/look/faces/strict"
    assert cell().blocked is None
    blockers = (Blocker("eye", "no key", "EYE_KEY", "export it"), Blocker("judge", "no weights", "me/j", "fetch them"))
    assert cell(blockers=blockers).blocked == "eye: no key: EYE_KEY; judge: no weights: me/j"


def test_a_dataset_names_the_rows_that_are_asked() -> None:
    first = DatasetSpec("faces", "faces", 3, 3, is_prepared=True)
    assert list(first.rows) == [0, 1, 2]
    assert (first.most_media, first.group_by, first.choice) == (1, (), "")
    assert list(replace(first, chosen=pack([2, 5, 9])).rows) == [2, 5, 9]


@pytest.mark.parametrize("day", ["2026-13-01", "2026-1-1", "20261023", "soon", ""])
def test_an_end_that_is_no_day_is_refused(day: str) -> None:
    with pytest.raises(ValueError, match="a day is written as 2026-10-23"):
        Availability("endpoint", ends=day)


def test_an_end_may_be_a_day_or_not_be_known() -> None:
    assert Availability("endpoint", ends="2026-10-23").ends == "2026-10-23"
    assert (Availability("open").ends, Availability("open").note) == (None, None)


def test_what_the_plan_chose_is_said() -> None:
    assert describe_chosen({"tensor_parallel": 4, "dtype": "half"}) == "tensor_parallel=auto is 4, dtype=auto is half"
    assert describe_chosen({}) == ""
