"""`eibench-ray models`, and a plan of every model in each setting: what cannot run is planned with its reason."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING

from eibench_ray.config.options_folder import config_folder

if TYPE_CHECKING:
    import pytest
    from conftest import Called

    Command = Callable[..., Called]


SETTINGS = ("user_question", "user_question_caption", "user_question_cot")


def test_the_models_are_listed_for_people_and_for_programs(command: Command) -> None:
    called = command("models")
    assert called.code == 0
    for text in ("qwen_vl_chat", "vLLM 0.22.1", "retired", "2024-12-06", "gated", "OPENAI_API_KEY", "model=replay"):
        assert text in called.out
    by_name = {model["name"]: model for model in command("models", "--json").json}
    assert by_name["llama3_8b"]["sees_image"] is False
    assert by_name["chatgpt_4v"]["availability"]["status"] == "retired"
    assert by_name["llava_next_7b"]["engine"]["source"] == "llava-hf/llava-v1.6-vicuna-7b-hf"


def test_every_model_is_planned_in_every_setting(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "DASHSCOPE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", "nowhere")
    models = {path.stem for path in (config_folder() / "model").glob("[!_]*.yaml")} - {"replay", "endpoint"}
    sweep = [f"model={','.join(sorted(models))}", f"setting={','.join(SETTINGS)}", "model@captioner=echo"]
    cells = command("plan", "-m", *sweep, "judge=echo", "dataset=demo", "tracking=none", "--json").json["cells"]
    assert {(cell["model"], cell["setting"]) for cell in cells} == set(product(models, SETTINGS))
    problems = {cell["model"]: (cell["blocked"] or ": none").split(": ")[1] for cell in cells}
    assert problems["echo"] == problems["smollm2_135m"] == "none"
    assert problems["otter"] == problems["chatgpt_4v"] == "no recorded predictions"
    assert problems["gpt_4o"] == problems["claude_sonnet_5_5"] == problems["qwen3_vl_plus"] == "no key"
    assert problems["gpt_3_5_turbo"] == "retired"
    assert problems["llava_next_34b"] == problems["video_llava"] == "weights not cached, and offline"
