"""Names of steps for people: setting and judge, and a digest only where nothing else tells two steps apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eibench_ray.plan.step_names import name_steps, titles

if TYPE_CHECKING:
    from conftest import Planner


def test_a_step_is_named_by_what_it_asks_whom_and_for_which_cells(planner: Planner, echo: dict[str, Any]) -> None:
    judges: dict[str, Any] = {"judge.name": "strict", "judge.repeats": 2, "judge.sampling.temperature": 1.0}
    captioned = planner.config({"captioner": echo, **judges}, setting="told")
    plan = planner.plan(planner.config(judges), captioned)
    assert list(titles(plan).values()) == [
        "answer by eye (look)",
        "verdict by strict on eye (look)",
        "verdict 2 by strict on eye (look)",
        "caption by echo (told)",
        "answer by eye (told)",
        "verdict by strict on eye (told)",
        "verdict 2 by strict on eye (told)",
    ]
    verdict = next(name for name in name_steps(plan).values() if name.what == "verdict 2")
    assert (verdict.asked, verdict.model, verdict.judge, verdict.subject) == ("strict", "judge_model", "strict", "eye")
    assert not any(step[:6] in title for step, title in titles(plan).items())
    assert str(verdict) == verdict.title == "verdict 2 by strict on eye (look)"


def test_the_dataset_is_named_where_there_are_several(planner: Planner) -> None:
    planner.write_dataset("others")
    plan = planner.plan(planner.config(), planner.config(dataset="others"))
    assert [title for title in titles(plan).values() if title.startswith("answer")] == [
        "answer by eye (look, faces)",
        "answer by eye (look, others)",
    ]


def test_many_settings_that_share_a_step_are_counted(planner: Planner, echo: dict[str, Any]) -> None:
    cells = [
        planner.config({"captioner": echo, "setting.name": f"told{number}"}, setting="told") for number in range(3)
    ]
    two, three = planner.plan(*cells[:2]), planner.plan(*cells)
    assert next(iter(titles(two).values())) == "caption by echo (told0, told1)"
    assert next(iter(titles(three).values())) == "caption by echo (3 settings)"


def test_steps_that_would_have_one_name_end_in_their_digest(planner: Planner) -> None:
    engines = ({"kind": "vllm", "source": f"me/eye{number}", "max_model_len": 512} for number in range(2))
    captioners = [{"name": "eye", "engine": engine, "sees_image": True} for engine in engines]
    plan = planner.plan(
        *(
            planner.config({"captioner": captioner, "judge.name": judge}, setting="told")
            for captioner, judge in zip(captioners, ("one", "two"), strict=True)
        )
    )
    captions = [step.id for step in plan.steps.values() if step.name == "caption"]
    assert [titles(plan)[step] for step in captions] == [f"caption by eye (told) {step[:8]}" for step in captions]
    assert len(captions) == 2
    assert len(set(titles(plan).values())) == len(plan.steps)
