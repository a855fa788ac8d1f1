"""The graph of steps: what is equal is one step, and a change changes only what reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import TypeAdapter

from eibench_ray import __version__
from eibench_ray.errors import ConfigError, PlanError
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.rows.digests import digest

if TYPE_CHECKING:
    from conftest import Planner

    from eibench_ray.plan.graph import Plan


def ids(plan: Plan, name: str) -> set[str]:
    return {step.id for step in plan.steps.values() if step.name == name}


def test_a_cell_is_its_answer_and_its_verdict(planner: Planner) -> None:
    plan = planner.plan(planner.config())
    [cell] = plan.cells
    answer, verdict = plan.steps[cell.answer], plan.steps[cell.verdicts[0]]
    assert cell.steps == (answer.id, verdict.id) == tuple(plan.steps)
    assert (answer.inputs, verdict.inputs) == ({}, {"answer": answer.id})
    assert [plan.engines[step.engine].name for step in (answer, verdict)] == ["eye", "judge_model"]
    assert plan.num_requests == 2 * 3


def test_the_same_cells_have_the_same_ids(planner: Planner) -> None:
    first, second = (planner.plan(planner.config(setting="told")) for _ in range(2))
    assert list(first.steps) == list(second.steps)
    assert first.cells == second.cells


def test_the_order_of_cells_does_not_change_them(planner: Planner) -> None:
    configs = [planner.config(), planner.config(setting="told")]
    forth, back = planner.plan(*configs), planner.plan(*reversed(configs))
    assert set(forth.steps) == set(back.steps)
    assert {cell.name: cell.key for cell in forth.cells} == {cell.name: cell.key for cell in back.cells}


def test_steps_come_after_what_they_read(planner: Planner, echo: dict[str, Any]) -> None:
    plan = planner.plan(planner.config({"captioner": echo}, setting="told"), planner.config({"captioner": echo}))
    seen: set[str] = set()
    for step in plan.steps.values():
        assert set(step.inputs.values()) <= seen
        seen.add(step.id)


def test_two_judges_share_the_answers(planner: Planner) -> None:
    plan = planner.plan(planner.config(), planner.config({"judge.name": "other", "judge.prompt": "{{ answer }}?"}))
    assert [len(ids(plan, name)) for name in ("answer", "verdict")] == [1, 2]
    assert len(plan.cells) == 2


def test_another_judges_prompt_changes_only_verdicts(planner: Planner) -> None:
    before = planner.plan(planner.config(setting="told"))
    for changes in (
        {"judge.prompt": "{{ answer }}?"},
        {"judge.system": "Weigh."},
        {"judge.sampling.max_tokens": 9},
        {"judge.explanation_chars": 0},
        {"judge.model.engine.dtype": "float16"},
    ):
        after = planner.plan(planner.config(changes, setting="told"))
        assert ids(after, "answer") == ids(before, "answer")
        assert ids(after, "verdict").isdisjoint(ids(before, "verdict"))


def test_captions_are_made_once_for_all_models(planner: Planner, echo: dict[str, Any]) -> None:
    captioner = {"captioner": echo}
    plan = planner.plan(
        planner.config(captioner, setting="told"),
        planner.config(captioner | {"model.name": "other", "model.engine.source": "me/other"}, setting="told"),
    )
    assert [len(ids(plan, name)) for name in ("caption", "answer", "verdict")] == [1, 2, 2]
    caption = planner.step(plan, "caption")
    assert plan.engines[caption.engine].name == "echo"
    assert caption.prompt.image
    for cell in plan.cells:
        assert plan.steps[cell.answer].inputs == {"caption": caption.id}
        assert caption.id in cell.steps


def test_a_recorded_answer_needs_nobody_who_describes(planner: Planner, echo: dict[str, Any]) -> None:
    replay = {"name": "old", "engine": {"kind": "replay", "predictions": "predictions"}, "sees_image": True}
    plan = planner.plan(planner.config({"model": replay, "captioner": echo}, setting="told"))
    assert [step.name for step in plan.steps.values()] == ["answer", "verdict"]
    assert planner.step(plan, "answer").inputs == {}


def test_a_name_with_a_slash_leads_a_recording_into_no_other_folder(planner: Planner) -> None:
    replay = {"name": "old", "engine": {"kind": "replay", "predictions": "predictions"}, "sees_image": True}
    config = planner.config({"model": replay})
    config = config.model_copy(update={"setting": config.setting.model_copy(update={"name": "../../b"})})
    plan = planner.plan(config)
    [recording] = filter(None, (spec.recording for spec in plan.engines.values()))
    assert recording == f"predictions/{config.dataset.name}...%2F..%2Fb.jsonl"


def test_without_a_captioner_the_datasets_own_captions_serve(planner: Planner) -> None:
    plan = planner.plan(planner.config(setting="told"))
    assert ids(plan, "caption") == set()
    assert planner.step(plan, "answer").inputs == {}


def test_another_captioner_changes_the_answers_that_read_it_and_no_other(
    planner: Planner, echo: dict[str, Any]
) -> None:
    settings = ("look", "told")
    before = planner.plan(*(planner.config({"captioner": echo}, setting=setting) for setting in settings))
    other = echo | {"engine": {"kind": "echo", "fails_on": "x"}}
    after = planner.plan(*(planner.config({"captioner": other}, setting=setting) for setting in settings))
    shared = set(before.steps) & set(after.steps)
    assert shared == {step for cell in after.cells if cell.setting == "look" for step in cell.steps}


def test_another_model_leaves_the_others_as_they_are(planner: Planner) -> None:
    more = planner.config({"model.name": "more", "model.engine.source": "me/more"})
    alone, together = planner.plan(planner.config()), planner.plan(more, planner.config())
    assert set(alone.steps) < set(together.steps)
    assert alone.cells[0] == together.cells[1]


def test_an_answer_that_no_prompt_reads_is_no_part_of_the_verdict(planner: Planner) -> None:
    changes = {"judge.prompt": "{{ targets }}"}
    plan = planner.plan(planner.config(changes), planner.config(changes, setting="told"))
    assert len(ids(plan, "verdict")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"setting.sampling.temperature": 0.5},
        {"setting.sampling.top_p": 0.5},
        {"setting.sampling.max_tokens": 5},
        {"setting.sampling.stop": ["."]},
        {"setting.sampling.top_k": 20},
        {"setting.sampling.min_p": 0.1},
        {"setting.sampling.presence_penalty": 0.5},
        {"setting.sampling.frequency_penalty": 0.5},
        {"setting.sampling.repetition_penalty": 1.1},
        {"setting.sampling.extra": {"min_tokens": 4}},
        {"seed": 1},
        {"model.system": "Be kind."},
        {"model.engine.dtype": "float16"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_sent_is_part_of_a_steps_id(planner: Planner, changes: Mapping[str, Any]) -> None:
    before, after = planner.plan(planner.config()), planner.plan(planner.config(changes))
    assert ids(before, "answer").isdisjoint(ids(after, "answer"))
    assert ids(before, "verdict").isdisjoint(ids(after, "verdict"))


@pytest.mark.parametrize(
    "changes",
    [
        {"sweep": "another"},
        {"setting.name": "another"},
        {"model.name": "another"},
        {"judge.name": "another"},
        {"dataset.limit": 2},
        {"cluster.num_cpus": 1},
        {"model.engine.max_num_seqs": 8},
        {"model.expect.load_s": 5.0},
        {"store.slice_rows": 8},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_not_sent_is_no_part_of_a_steps_id(planner: Planner, changes: Mapping[str, Any]) -> None:
    before, after = planner.plan(planner.config()), planner.plan(planner.config(changes))
    assert list(before.steps) == list(after.steps)


def test_another_dataset_of_the_same_rows_has_its_own_steps(planner: Planner) -> None:
    planner.write_dataset("others")
    plan = planner.plan(planner.config(), planner.config(dataset="others"))
    assert len(plan.steps) == 4
    assert set(plan.datasets) == {"faces", "others"}


def test_a_text_only_model_gets_no_picture(planner: Planner) -> None:
    blind = planner.plan(planner.config({"model.sees_image": False}))
    assert not planner.step(blind, "answer").prompt.image
    assert not blind.cells[0].sees_image
    seeing = planner.plan(planner.config())
    assert planner.step(seeing, "answer").prompt.image
    assert not planner.step(seeing, "verdict").prompt.image


def test_a_model_that_judges_itself_is_one_engine(planner: Planner) -> None:
    same = {"judge.model": {"name": "again", "engine": planner.config().model.engine.model_dump(), "sees_image": True}}
    plan = planner.plan(planner.config(same))
    assert len(plan.engines) == 1
    assert plan.cells[0].self_judged
    assert not plan.cells[0].same_family
    assert not planner.plan(planner.config()).cells[0].self_judged


def test_a_further_repeat_leaves_the_earlier_ones_as_they_are(planner: Planner) -> None:
    [once], [twice], [thrice] = (planner.plan(planner.config({"judge.repeats": number})).cells for number in (1, 2, 3))
    assert len(once.verdicts) == 1
    assert twice.verdicts[:1] == once.verdicts
    assert thrice.verdicts[:2] == twice.verdicts
    assert len(set(thrice.verdicts)) == 3
    assert thrice.steps == (thrice.answer, *thrice.verdicts)


def test_repeats_differ_in_nothing_but_the_seed(planner: Planner) -> None:
    plan = planner.plan(planner.config({"judge.repeats": 4, "seed": 9}))
    verdicts = [plan.steps[step] for step in plan.cells[0].verdicts]
    assert verdicts[0].seed == 9
    assert len({step.seed for step in verdicts}) == 4
    assert all(replace(step, id="", seed=0) == replace(verdicts[0], id="", seed=0) for step in verdicts)


def test_asking_by_trigger_is_another_verdict_on_the_same_answers(planner: Planner) -> None:
    plan = planner.plan(planner.config(), planner.config({"judge.name": "other", "judge.verdict": "triggers"}))
    count, triggers = (plan.steps[cell.verdicts[0]] for cell in plan.cells)
    assert [step.scorer for step in (count, triggers)] == [
        ScorerSpec("strict", {"verdict": verdict, "explanation_chars": 200}) for verdict in ("count", "triggers")
    ]
    assert count.id != triggers.id
    assert len(ids(plan, "answer")) == 1


def test_ids_of_steps_stay_what_they_were(planner: Planner, echo: dict[str, Any]) -> None:
    """A store that was filled before must go on being used: these ids may change with the version of echo only."""
    changes = {"model": echo, "judge.model": echo, "model.family": "parrots", "judge.model.family": "parrots"}
    [cell] = planner.plan(planner.config(changes)).cells
    identity = digest({"kind": "echo", "version": __version__, "fails_on": None, "runtime_env": None}, size=10)
    shared = {"engine": identity, "seed": 0, "dataset": "faces", "accept": None}
    sampling = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 512, "stop": ()}
    answer = {"system": None, "user": "See. {{ question }}", "image": True, "inputs": {}, "reply": None}
    assert cell.answer == digest(shared | answer | {"sampling": sampling}, size=10)
    verdict = {"system": "Count.", "user": "{{ answer }} of {{ targets }}", "image": False}
    verdict |= {"reply": {"kind": "strict", "verdict": "count", "explanation_chars": 200}}
    verdict |= {"inputs": {"answer": cell.answer}, "sampling": sampling}
    assert cell.verdicts == (digest(shared | verdict, size=10),)


@pytest.mark.parametrize(
    ("families", "is_same"),
    [(("llama", "llama"), True), (("llama", "gpt"), False), ((None, None), False), (("llama", None), False)],
)
def test_a_judge_of_the_same_family_is_known(
    planner: Planner, families: tuple[str | None, str | None], is_same: bool
) -> None:
    [cell] = planner.plan(planner.config({"model.family": families[0], "judge.model.family": families[1]})).cells
    assert (cell.family, cell.judge_family) == families
    assert cell.same_family == is_same


def test_gpus_are_counted_where_there_are_some(planner: Planner) -> None:
    config = planner.config({"model.engine.tensor_parallel": 2, "model.engine.pipeline_parallel": 3})
    for device, num_gpus in (("cuda", 6), ("cpu", 0)):
        plan = planner.plan(config, device=device)
        assert plan.engines[planner.step(plan, "answer").engine].num_gpus == num_gpus


def test_other_resources_can_stand_in_for_gpus(planner: Planner) -> None:
    changes = {"cluster.gpu_resource": "slot", "model.engine.tensor_parallel": 2}
    plan = planner.plan(planner.config(changes), device="cpu")
    assert [spec.num_gpus for spec in plan.engines.values()] == [2, 1]


def test_an_echo_owns_the_gpus_that_it_is_given(planner: Planner, echo: dict[str, Any]) -> None:
    plan = planner.plan(planner.config({"model": echo | {"engine": {"kind": "echo", "num_gpus": 2}}}), device="cpu")
    assert [(spec.num_gpus, spec.memory) for spec in plan.engines.values()] == [(2, None), (0, None)]


def auto(**changes: Any) -> dict[str, Any]:
    return {"model.engine.tensor_parallel": "auto", "model.expect.memory_gb": 60.0} | changes


def test_auto_is_the_fewest_gpus_that_suffice(planner: Planner) -> None:
    for gpu_memory_gb, gpus in ((80.0, 1), (40.0, 2)):
        plan = planner.plan(planner.config(auto() | {"cluster.gpu_memory_gb": gpu_memory_gb}), device="cuda")
        spec = plan.engines[planner.step(plan, "answer").engine]
        assert (spec.chosen, spec.num_gpus) == ({"tensor_parallel": gpus}, gpus)
        assert spec.memory is not None
        assert (spec.memory.fits, spec.memory.source, spec.memory.available_gb) == (True, "expect", gpu_memory_gb)
        assert plan.cells[0].config["model"]["engine"]["tensor_parallel"] == "auto"


@pytest.mark.parametrize(
    ("changes", "device"),
    [(auto(), "cpu"), (auto() | {"model.expect.memory_gb": None}, "cuda")],
    ids=["no GPU", "not known"],
)
def test_auto_is_one_where_there_is_nothing_to_reckon_with(
    planner: Planner, changes: dict[str, Any], device: Literal["cpu", "cuda"]
) -> None:
    plan = planner.plan(planner.config(changes), device=device)
    spec = plan.engines[planner.step(plan, "answer").engine]
    assert (spec.chosen, spec.memory) == ({"tensor_parallel": 1}, None)


def test_auto_that_fits_nowhere_is_refused_and_a_number_is_not(planner: Planner) -> None:
    small = {"cluster.gpu_memory_gb": 4.0}
    with pytest.raises(PlanError, match=r"model 'eye' with tensor_parallel=auto fits on no number of GPUs"):
        planner.plan(planner.config(auto() | small), device="cuda")
    plan = planner.plan(planner.config(auto() | small | {"model.engine.tensor_parallel": 2}), device="cuda")
    memory = plan.engines[planner.step(plan, "answer").engine].memory
    assert memory is not None
    assert not memory.fits


def test_an_engine_survives_being_written_and_read(planner: Planner) -> None:
    plan = planner.plan(planner.config(auto()), device="cuda")
    engines = TypeAdapter(dict[str, EngineSpec])
    assert engines.validate_json(engines.dump_json(plan.engines)) == plan.engines


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("engine.tensor_parallel", "auto", r"1 .* 'auto'"),
        ("engine.pipeline_parallel", 2, "1 .* 2"),
        ("engine.max_num_seqs", 8, "256 .* 8"),
        ("engine.gpu_memory_utilization", 0.5, r"0\.9 .* 0\.5"),
        ("engine.kv_cache_gib", 1.5, r"None .* 1\.5"),
        ("engine.enforce_eager", True, "False .* True"),
        ("engine.env", {"OMP_NUM_THREADS": "1"}, r"\{\} .* \{'OMP_NUM_THREADS': '1'\}"),
        ("expect.load_s", 5.0, r"120\.0 .* 5\.0"),
    ],
)
def test_one_engine_cannot_run_in_two_ways(planner: Planner, key: str, value: Any, shown: str) -> None:
    pinned = {"model.engine.revision": "0123456789" * 4}
    first, again = planner.config(pinned), planner.config(pinned | {f"model.{key}": value, "setting.name": "again"})
    before, now = shown.split(" .* ")
    with pytest.raises(
        PlanError,
        match=rf"^model 'eye' is loaded once for all cells, but model\.{key} is {before} in cell eye/look/faces/judge "
        rf"and model\.{key} is {now} in cell eye/again/faces/judge: give both the same value$",
    ):
        planner.plan(first, again)


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("price", {"input": 1.0, "output": 2.0}, r"None .* \{'input': 1\.0, .*\}"),
        ("base_url", "https://there/v1", "'https://here/v1' .* 'https://there/v1'"),
        ("attempts", 1, "8 .* 1"),
    ],
)
def test_one_endpoint_cannot_be_asked_in_two_ways(planner: Planner, key: str, value: Any, shown: str) -> None:
    endpoint = {"kind": "openai", "endpoint": "openai", "base_url": "https://here/v1", "model": "gpt"}
    first = planner.config({"model.engine": endpoint})
    again = planner.config({"model.engine": endpoint | {key: value}, "setting.name": "again"})
    before, now = shown.split(" .* ")
    with pytest.raises(
        PlanError,
        match=rf"^model 'eye' is asked in one way for all cells, but model\.engine\.{key} is {before} in cell .* and "
        rf"model\.engine\.{key} is {now} in cell eye/again/faces/judge: give both the same value$",
    ):
        planner.plan(first, again)


def test_a_model_that_judges_itself_runs_as_its_judge_does(planner: Planner) -> None:
    engine = planner.config().model.engine.model_dump() | {"max_num_seqs": 8}
    same = {"judge.model": {"name": "again", "engine": engine, "sees_image": True}}
    with pytest.raises(
        PlanError, match=r"but model\.engine\.max_num_seqs is 256 .* judge\.model\.engine\.max_num_seqs is 8"
    ):
        planner.plan(planner.config(same))


def test_what_costs_nothing_to_load_may_be_configured_twice(planner: Planner, echo: dict[str, Any]) -> None:
    slow = echo | {"engine": {"kind": "echo", "latency_s": 1.0}}
    plan = planner.plan(planner.config({"model": slow, "judge.model": echo}))
    assert len(plan.engines) == 1


def test_two_words_for_the_same_weights_are_one_engine(planner: Planner, tmp_path: Path) -> None:
    (tmp_path / "eye").mkdir()
    (tmp_path / "eye" / "config.json").write_text("{}")
    sources = [str(tmp_path / "eye"), f"{tmp_path}/faces/../eye"]
    configs = [planner.config({"model.engine.source": source, "setting.name": source}) for source in sources]
    assert len(planner.plan(*configs).engines) == 2


def test_a_limit_counts_only_the_rows_that_are_asked(planner: Planner) -> None:
    assert planner.plan(planner.config({"dataset.limit": 2})).num_requests == 4
    assert planner.plan(planner.config({"dataset.limit": 99})).num_requests == 6


def test_the_same_cell_twice_is_one(planner: Planner) -> None:
    assert len(planner.plan(planner.config(), planner.config()).cells) == 1


def test_two_cells_of_one_name_that_differ_are_refused(planner: Planner) -> None:
    with pytest.raises(PlanError, match=r"two cells are both called eye/look/faces/judge but ask for different things"):
        planner.plan(planner.config(), planner.config({"setting.sampling.max_tokens": 5}))


def test_two_rules_of_one_name_are_refused_though_they_ask_for_the_same(planner: Planner) -> None:
    rule = {"judge.kind": "number", "judge.model": None, "judge.prompt": None, "judge.system": None}
    last, first = (planner.config(rule | {"judge.take": take}) for take in ("last", "first"))

    assert len(planner.plan(last, last).cells) == 1
    with pytest.raises(PlanError, match=r"two cells are both called eye/look/faces/judge"):
        planner.plan(last, first)


@pytest.mark.parametrize("changes", [{"dataset.limit": 2}, {"dataset.path": "package:demo"}])
def test_one_name_for_two_datasets_is_refused(planner: Planner, changes: Mapping[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"dataset 'faces' appears with two values of (limit|path) "):
        planner.plan(planner.config(), planner.config(changes))


def test_a_caption_that_nobody_makes_is_missed(planner: Planner) -> None:
    planner.write_dataset("bare", captions=False)
    with pytest.raises(PlanError, match=r"needs the sweep's captioner, .* choose one with model@captioner=MODEL"):
        planner.plan(planner.config(setting="told", dataset="bare"))


def test_a_caption_is_made_where_the_dataset_has_none(planner: Planner, echo: dict[str, Any]) -> None:
    planner.write_dataset("bare", captions=False)
    plan = planner.plan(planner.config({"captioner": echo}, setting="told", dataset="bare"))
    assert len(ids(plan, "caption")) == 1


def test_a_prompt_cannot_read_a_caption_that_the_dataset_lacks(planner: Planner) -> None:
    planner.write_dataset("bare", captions=False)
    with pytest.raises(PlanError, match=r"reads caption, which neither dataset 'bare' \(.*\) nor an earlier call has"):
        planner.plan(planner.config({"judge.prompt": "{{ caption }} {{ answer }}"}, dataset="bare"))


def test_a_captioner_must_see(planner: Planner, echo: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"captioner 'echo' sees no picture: choose another with model@captioner=MODEL"):
        planner.plan(planner.config({"captioner": echo | {"sees_image": False}}, setting="told"))


@pytest.mark.parametrize(
    ("prompt", "word"),
    [("{{ questoin }}", "questoin"), ("{{ verdict }}", "verdict"), ("{% for x in xs %}{{ x }}{% endfor %}", "xs")],
)
def test_a_word_that_nobody_knows_is_named(planner: Planner, prompt: str, word: str) -> None:
    with pytest.raises(PlanError, match=rf"reads {word}, which neither dataset 'faces' \(.*\) nor an earlier call has"):
        planner.plan(planner.config({"judge.prompt": prompt}))


def test_a_prompt_that_is_no_template_is_named(planner: Planner) -> None:
    with pytest.raises(PlanError, match=r"the prompt '\{\{ answer' is not a Jinja2 template"):
        planner.plan(planner.config({"judge.prompt": "{{ answer"}))


CALL = {"name": "answer", "role": "subject", "image": True, "prompt": "{{ question }}"}


def test_a_call_places_pictures_only_if_it_sends_them(planner: Planner) -> None:
    placed = CALL | {"prompt": "{{ image(1) }} {{ question }}"}
    plan = planner.plan(planner.config({"setting.calls": [placed]}))
    assert [spec.most_images for spec in plan.engines.values()] == [1, 0]
    with pytest.raises(PlanError, match=r"places pictures with image\(\) and sends none: set its image to true"):
        planner.plan(planner.config({"setting.calls": [placed | {"image": False}]}))
    with pytest.raises(PlanError, match="the prompt of judge 'judge' places pictures, and judges are sent none"):
        planner.plan(planner.config({"judge.prompt": "{{ images }} {{ answer }}"}))


@pytest.mark.parametrize("name", ["item", "image", "images", "target", "targets"])
def test_no_call_takes_a_word_that_prompts_read_something_else_under(planner: Planner, name: str) -> None:
    with pytest.raises(ConfigError, match=f"no call can be named '{name}'"):
        planner.config({"setting.calls": [CALL | {"name": name}]})
