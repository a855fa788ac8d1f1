"""Tests of few-shot prompts: which examples a sample is shown, and that they are part of what is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.config.schema import RunConfig
from eibench_ray.config.setting import SettingConfig
from eibench_ray.errors import DataError, PlanError
from eibench_ray.plan.example_set import ExampleSet
from eibench_ray.rows.sample import Sample
from eibench_ray.runs.run_record import _MANIFEST, new_manifest

if TYPE_CHECKING:
    from conftest import Sweeps

PROMPT = (
    "{% for example in examples %}Q: {{ example.question }} A: {{ example.targets[0] }}\n{% endfor %}Q: {{ question }}"
)


def config(sweeps: Sweeps, prompt: str = PROMPT, path: str = "shots", **keys: Any) -> RunConfig:
    """A cell whose prompt shows examples."""
    setting = {"name": "shown", "calls": [{"name": "answer", "role": "subject", "image": False, "prompt": prompt}]}
    section = {"path": str(sweeps.folder / path), "number": 2} | keys
    dataset = {"examples": section} if section["number"] else {}
    return sweeps.config(dataset=dataset).model_copy(update={"setting": SettingConfig.model_validate(setting)})


@pytest.fixture
def shots(sweeps: Sweeps) -> Sweeps:
    """Sweeps over a dataset, with another one of examples."""
    sweeps.write_dataset(range(6))
    sweeps.write_dataset(range(100, 120), name="shots")
    return sweeps


def prompts(sweeps: Sweeps, one: RunConfig) -> dict[str, str]:
    """Prompt of each sample by the step that answers."""
    engine = sweeps.scripted()
    sweep = sweeps.plan(one)
    sweeps.ask(sweep, engine)
    return {request.sample_id: request.user for request in engine.requests if request.user.rpartition("Q: ")[1]}


def test_all_samples_see_the_same_examples_of_another_dataset(shots: Sweeps) -> None:
    sent = prompts(shots, config(shots))
    assert len(sent) == 6
    heads = {text.rpartition("Q: ")[0] for text in sent.values()}
    (head,) = heads
    assert head.count("Q: why is person 1") == head.count("A: cause 1") == 2


def test_a_seed_draws_the_examples(shots: Sweeps) -> None:
    heads = [prompts(shots, config(shots, seed=seed))["s000"] for seed in range(4)]
    assert len(set(heads)) > 1
    assert not prompts(shots, config(shots, seed=0))


def test_no_sample_is_shown_to_itself(shots: Sweeps) -> None:
    sent = prompts(shots, config(shots, path="faces", number=5))
    assert all(f"why is person {number} so?" in sent["s005"] for number in range(5))
    assert all(text.count(f"person {int(name[1:])} so?") == 1 for name, text in sent.items())


def test_one_that_asks_the_same_under_another_id_is_not_shown() -> None:
    samples = tuple(Sample(name, {"question": name}) for name in "abcd")
    shown = ExampleSet(2, samples).shown_to(Sample("x", {"question": "a"}))
    assert [one["id"] for one in shown] == ["b", "c"]
    with pytest.raises(ValueError, match="it shows 4 examples, and 3 are not this very sample"):
        ExampleSet(4, samples).shown_to(Sample("a", {"question": "e"}))


def test_examples_are_part_of_what_a_step_is(shots: Sweeps) -> None:
    def answer(one: RunConfig) -> str:
        (cell,) = shots.plan(one).plan.cells
        return cell.answer

    ids = [answer(config(shots)), answer(config(shots, number=3)), answer(config(shots, path="faces"))]
    assert len(set(ids)) == 3
    before = ids[0]
    shots.write_dataset(range(100, 120), name="shots", questions=dict.fromkeys(range(100, 120), "and now?"))
    assert answer(config(shots)) != before
    assert answer(config(shots, "{{ question }}")) == answer(config(shots, "{{ question }}", number=3))


def test_a_plan_with_examples_is_read_back_as_it_was(shots: Sweeps) -> None:
    one = config(shots)
    plan = shots.plan(one).plan
    manifest = new_manifest(plan, shots.folder / "run", one.store, one.score)
    assert _MANIFEST.validate_json(_MANIFEST.dump_json(manifest)).plan.steps == plan.steps


def test_examples_that_are_not_there_are_refused(shots: Sweeps) -> None:
    with pytest.raises(DataError, match=r"dataset\.examples asks for 21 samples of .*shots, which has 20"):
        shots.plan(config(shots, number=21))
    with pytest.raises(PlanError, match="reads examples, which neither dataset"):
        shots.plan(config(shots, number=0))


def test_a_word_that_an_example_lacks_is_an_error_of_the_row(shots: Sweeps) -> None:
    sweep = shots.plan(config(shots, "{% for example in examples %}{{ example.mood }}{% endfor %}"))
    reports = shots.ask(sweep)
    assert reports[0].num_errors == reports[0].slice.num_rows
