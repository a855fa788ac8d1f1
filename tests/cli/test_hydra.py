"""Hydra's own command line: sweeps, experiments, a user's options, and what is printed or left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from eibench_ray.benchmarks.eibench.claims_file import read_claims

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

CELL = ["model=echo", "judge=echo", "dataset=demo", "tracking=none"]


def cells(plan: Any) -> list[tuple[str, str, str, str]]:
    return [(cell["model"], cell["setting"], cell["dataset"], cell["judge"]) for cell in plan["cells"]]


def test_a_plain_call_is_a_sweep_of_one_cell(command: Command) -> None:
    assert cells(command("plan", *CELL, "--json").json) == [("echo", "user_question", "demo", "echo")]


def test_a_sweep_is_one_plan_of_all_combinations(command: Command) -> None:
    plan = command(
        "plan", "-m", *CELL, "model=echo,tiny_llama", "setting=user_question,user_question_cot", "--json"
    ).json
    settings = ("user_question", "user_question_cot")
    assert cells(plan) == [(model, setting, "demo", "echo") for model in ("echo", "tiny_llama") for setting in settings]
    assert [engine["name"] for engine in plan["engines"]] == ["echo", "tiny_llama"]
    assert plan["requests"] == 4 * 48


def test_a_value_below_a_swept_group_reaches_every_job(command: Command) -> None:
    limited = command(
        "plan",
        "-m",
        "model=echo",
        "judge=echo",
        "dataset=demo",
        "setting=user_question,user_question_cot",
        "setting.sampling.max_tokens=5",
        "dataset.limit=5",
        "tracking=none",
        "--json",
    ).json
    assert limited["requests"] == 4 * 5
    assert {step["est_tokens"] for step in limited["steps"] if step["name"] == "answer"} == {25}


@pytest.mark.parametrize("switch", [[], ["-m"]])
def test_a_list_of_judges_is_a_cell_for_each(command: Command, switch: list[str]) -> None:
    listed = ["judge=[echo,tiny_llama]", "judge.repeats=2"]
    plan = command("plan", *switch, "model=echo", "dataset=demo", "tracking=none", *listed, "--json").json
    assert [cell["judge"] for cell in plan["cells"]] == ["echo", "tiny_llama"]
    assert [step["name"] for step in plan["steps"]] == ["answer", *["verdict"] * 4]
    assert plan["greedy_repeats"] == ["echo", "tiny_llama"]


def test_a_filter_of_a_datasets_samples_is_a_mapping(command: Command) -> None:
    part = command("plan", *CELL, "dataset.filter={emotion:[angry,sadness]}", "dataset.limit=3", "--json").json
    assert part["requests"] == 6
    called = command("plan", *CELL, "dataset.filter={emotion:angri}")
    assert called.code == 2
    assert "has 'angri' as 'emotion', which dataset.filter asks for" in " ".join(called.err.split())


def test_another_model_behind_swept_judges_is_that_of_each(command: Command) -> None:
    judges = ["judge=[llama3_8b,llama3_8b_strict]", "model@judge.model=echo"]
    plan = command("plan", "model=echo", "dataset=demo", "tracking=none", *judges, "--json").json
    assert [cell["judge"] for cell in plan["cells"]] == ["llama3_8b", "llama3_8b_strict"]
    assert [engine["name"] for engine in plan["engines"]] == ["echo"]


def test_a_list_of_judges_multiplies_an_experiments_sweep(command: Command) -> None:
    plan = command("plan", "experiment=demo", "judge=[smollm2_135m,tiny_llama]", "--json").json
    assert len(plan["cells"]) == 4
    assert {cell["judge"] for cell in plan["cells"]} == {"smollm2_135m", "tiny_llama"}


def test_several_judges_of_an_option_file_are_not_made_into_one(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    chosen = ["override /model: echo", "override /dataset: demo", "override /judge: [echo, tiny_llama]"]
    lines = ["# @package _global_", "defaults:", *(f"  - {line}" for line in chosen)]
    (tmp_path / "mine" / "experiment" / "two.yaml").write_text("\n".join(lines))
    called = command("plan", "--config-dir", "mine", "experiment=two")
    assert called.code == 2
    assert "judge: a list of defaults names several options" in called.err


def test_the_option_may_stand_between_the_overrides(command: Command) -> None:
    assert len(command("plan", *CELL, "-m", "model=echo,tiny_llama", "--json").json["cells"]) == 2


def test_an_experiment_sweeps_without_being_told_to(command: Command) -> None:
    plan = command("plan", "experiment=demo", "--json").json
    assert cells(plan) == [
        ("smollm2_135m", setting, "quiz", judge)
        for setting in ("question", "question_short")
        for judge in ("includes_words", "smollm2_135m_correct")
    ]
    assert {cell["model"] for cell in plan["cells"]} == {"smollm2_135m"}
    assert plan["sweep"] == "demo"


@pytest.mark.parametrize("switch", [[], ["-m"]])
def test_the_command_line_beats_an_experiments_sweep(command: Command, switch: list[str]) -> None:
    plan = command("plan", *switch, "experiment=demo", "setting=question", "model=echo", "judge=number", "--json").json
    assert cells(plan) == [("echo", "question", "quiz", "number")]


def test_the_papers_sweep_is_planned_with_a_cell_for_every_published_figure(command: Command) -> None:
    plan = command("plan", "experiment=paper_table", "--json").json
    # 13 models are asked plainly on both sets; 8 of them with a caption and step by step, on the basic set alone, like
    # the text model that gets the caption, and the one that asks itself.
    answered = 13 * (1615 + 50) + (8 + 8 + 1 + 1) * 1615
    # One caption per picture, for the 8 models and the text model. The one that asks itself needs, before its answer, a
    # parsed question, a scene, four general answers, further questions, and up to three answers to these.
    captions, asked_itself, most_lines = 1615, (1 + 1 + 4 + 1) * 1615, 3 * 1615
    num_judges = 3
    exact = answered * (1 + num_judges) + captions + asked_itself
    assert (plan["requests_at_least"], plan["requests"]) == (exact, exact + most_lines) == (215_780, 220_625)
    assert len(plan["cells"]) == len(set(cells(plan))) == (13 * 2 + 8 + 8 + 1 + 1) * num_judges
    assert sum(step["name"] == "caption" for step in plan["steps"]) == 1
    assert plan["unprepared_datasets"] == ["eibench_basic", "eibench_complex"]
    planned = set(cells(plan))
    claimed = {(claim.model, claim.setting, claim.dataset, claim.judge) for claim in read_claims()}
    assert claimed <= planned
    # What was not published is the strict judge, once for each answer that was.
    rest = {cell[:3] for cell in planned - claimed}
    assert {judge for *_, judge in planned - claimed} == {"llama3_8b_strict"}
    assert rest == {cell[:3] for cell in claimed}


@pytest.mark.parametrize(
    ("overrides", "num_cells"),
    [
        (["model=llava_next_7b"], 4 * 3),
        (["model=llama3_8b", "judge=chatgpt_3_5"], 1),
        (["setting=cfsa"], 3),
        (["dataset=eibench_complex", "judge=echo"], 13),
        (["model=echo", "judge=echo", "dataset=demo"], 5),
        (["~hydra.sweeper.blocks.self_ask"], 43 * 3),
        (["hydra.sweeper.blocks.self_ask.model='llava_next_7b,llava_next_34b'"], 45 * 3),
    ],
)
def test_a_union_is_narrowed_and_changed_on_the_command_line(
    command: Command, overrides: list[str], num_cells: int
) -> None:
    plan = command("plan", "experiment=paper_table", *overrides, "--json").json
    assert len(plan["cells"]) == num_cells


def test_what_no_block_of_a_union_has_is_told(command: Command) -> None:
    called = command("plan", "experiment=paper_table", "setting=cfsa", "model=llava_next_7b")
    assert called.code == 2
    assert "has setting=cfsa model=llava_next_7b together" in " ".join(called.err.split())


def test_a_user_sweeps_a_union_of_their_own(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    text = (
        "# @package _global_\ndefaults:\n  - override /model: echo\n  - override /dataset: demo\n"
        "  - override /judge: echo\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    blocks:\n"
        "      one: {model: 'echo,tiny_llama', seed: '1,2'}\n"
        "      two: {setting: 'user_question_caption,user_question_cot', model@captioner: echo}\n"
    )
    (tmp_path / "mine" / "experiment" / "two_parts.yaml").write_text(text)
    plan = command("plan", "--config-dir", "mine", "experiment=two_parts", "seed=2", "--json").json
    assert cells(plan) == [
        (model, setting, "demo", "echo")
        for model, setting in [
            ("echo", "user_question"),
            ("tiny_llama", "user_question"),
            ("echo", "user_question_caption"),
            ("echo", "user_question_cot"),
        ]
    ]


def test_a_caption_is_one_for_all_that_read_it(command: Command) -> None:
    settings = "setting=user_question_caption,user_question_caption_text_only"
    plan = command("plan", "-m", *CELL, "model=echo,tiny_llama", settings, "model@captioner=echo", "--json").json
    [caption] = [step for step in plan["steps"] if step["name"] == "caption"]
    answers = [step for step in plan["steps"] if step["name"] == "answer"]
    assert [step["inputs"] for step in answers] == [{"caption": caption["id"]}] * 4
    assert sorted(step["image"] for step in answers) == [False, False, False, True]
    assert plan["requests"] == 24 * (1 + 4 + 4)


def test_a_setting_that_asks_itself_counts_to_the_unit(command: Command) -> None:
    plan = command("plan", *CELL, "setting=cfsa", "model@asker=tiny_llama", "--json").json
    assert (plan["requests_at_least"], plan["requests"]) == (
        24 * (1 + 1 + 4 + 1 + 1 + 1),
        24 * (1 + 1 + 4 + 1 + 3 + 1 + 1),
    )
    engines = {engine["name"]: engine["requests"] for engine in plan["engines"]}
    assert engines == {"tiny_llama": 24 * 2, "echo": 24 * (1 + 4 + 3 + 1 + 1)}
    assert {step["name"] for step in plan["steps"] if step["image"]} == {
        "scene",
        *(f"general[{number}]" for number in range(1, 5)),
        *(f"specific[{number}]" for number in range(1, 4)),
    }


def test_an_asker_that_nobody_chose_is_named(command: Command) -> None:
    called = command("plan", *CELL, "setting=cfsa")
    assert called.code == 2
    assert "needs the sweep's asker: choose one with model@asker=MODEL" in " ".join(called.err.split())


def test_a_users_folder_adds_options(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "parrot.yaml").write_text("defaults:\n  - echo\n  - _self_\n\nname: parrot\n")
    plan = command("plan", "--config-dir", "mine", "-m", *CELL, "model=parrot,echo", "--json").json
    assert [cell["model"] for cell in plan["cells"]] == ["parrot", "echo"]


def test_the_configuration_is_printed_and_nothing_else_happens(command: Command, tmp_path: Path) -> None:
    called = command("run", *CELL, "seed=3", "--cfg", "job")
    assert called.code == 0
    printed = yaml.safe_load(called.out)
    assert (printed["seed"], printed["model"]["name"], printed["judge"]["kind"]) == (3, "echo", "strict")
    assert "hydra" not in printed
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_the_configuration_is_printed(command: Command) -> None:
    called = command("plan", *CELL, "--cfg", "job", "--package", "store")
    assert yaml.safe_load(called.out) == {"root": "store", "slice_rows": "auto"}


@pytest.mark.parametrize("arguments", [CELL, ["-m", *CELL, "seed=1"], ["experiment=demo"]])
def test_a_plan_leaves_nothing_behind(command: Command, tmp_path: Path, arguments: list[str]) -> None:
    called = command("plan", *arguments)
    assert called.code == 0
    assert list(tmp_path.iterdir()) == []


def test_a_plan_in_words_names_engines_steps_and_cells(command: Command, tmp_path: Path) -> None:
    out = command(
        "plan", "-m", *CELL, "model.name='odd[name]'", "setting=user_question,user_question_cot", "--full"
    ).out
    for title in ("Engines", "Steps", "Cells"):
        assert f"\n{title}" in out
    assert "odd[name] (made up) user_question_cot demo" in " ".join(out.split()), "names are not read as markup"
    assert "sweep: 2 cells " in out
    assert "96, 0 of them in the store" in out
    assert "4 steps, 1 engine to load" in out
    assert str(tmp_path / "store") in "".join(out.split())


def test_a_plan_names_what_is_not_prepared(command: Command) -> None:
    assert "eibench_basic is not prepared yet" in command("plan", *CELL, "dataset=eibench_basic").out
