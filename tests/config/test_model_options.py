"""Promises of the model options: whose they are, where they are to be had, and an engine that can run each."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest
from jinja2 import Environment
from pydantic import ValidationError

from eibench_ray.cli.models import describe, render_markdown
from eibench_ray.config.model_options import read_models
from eibench_ray.config.options_folder import config_folder
from eibench_ray.config.schema import ModelConfig
from eibench_ray.engines.chat_templates import template_file
from eibench_ray.engines.echo import EchoSection
from eibench_ray.engines.loaded_section import LoadedSection, is_pinned
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.replay import ReplaySection
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.engines.vllm.vllm_section import VllmSection

REPOSITORY = Path(__file__).parents[2]

# The architecture that each checkpoint's config.json names.
ARCHITECTURES = {
    "gemma3_12b": "Gemma3ForConditionalGeneration",
    "internvl3_8b": "InternVLForConditionalGeneration",
    "llama3_8b": "LlamaForCausalLM",
    "llava_1_5_13b": "LlavaForConditionalGeneration",
    "llava_next_7b": "LlavaNextForConditionalGeneration",
    "llava_next_13b": "LlavaNextForConditionalGeneration",
    "llava_next_34b": "LlavaNextForConditionalGeneration",
    "llava_onevision_7b": "LlavaOnevisionForConditionalGeneration",
    "qwen2_5_vl_7b": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_8b": "Qwen3ForCausalLM",
    "qwen3_vl_8b": "Qwen3VLForConditionalGeneration",
    "smollm2_135m": "LlamaForCausalLM",
    "smolvlm2_2b": "SmolVLMForConditionalGeneration",
    "smolvlm_256m": "Idefics3ForConditionalGeneration",
    "smolvlm_2b": "Idefics3ForConditionalGeneration",
    "tiny_idefics3": "Idefics3ForConditionalGeneration",
    "tiny_llama": "LlamaForCausalLM",
    "tiny_llava": "LlavaForConditionalGeneration",
    "tiny_llava_next": "LlavaNextForConditionalGeneration",
    "tiny_qwen2_vl": "Qwen2VLForConditionalGeneration",
}
# Those that the sweep's own vLLM does not have, with the last vLLM that had it.
OLDER = dict.fromkeys(("qwen_vl_chat", "tiny_qwen_vl"), "vllm==0.22.1")

# Which tests run each kind of engine: against real tiny checkpoints, recorded answers, or an endpoint that fails.
PROVED_BY = {
    VllmSection: (
        "engines/test_architectures.py",
        "engines/test_real_sweep.py",
        "engines/test_vllm_endings.py",
        "engines/test_qwen_vl.py",
    ),
    TransformersSection: ("engines/test_transformers.py",),
    ReplaySection: ("engines/test_replay.py", "driver/test_driver.py"),
    OpenaiSection: ("engines/openai/test_openai_engine.py", "driver/test_endpoint_sweep.py"),
    EchoSection: ("engines/test_echo.py", "cli/test_run.py"),
}
# The models of the paper's table, and the judge of its figures that was asked as a subject.
PAPER = {
    "qwen_vl_chat",
    "video_llava",
    "minigpt_v2",
    "otter",
    "llava_1_5_13b",
    "llava_next_7b",
    "llava_next_13b",
    "llava_next_34b",
    "llama3_8b",
    "qwen_vl_plus",
    "chatgpt_4v",
    "chatgpt_4o",
    "claude_3_haiku",
    "claude_3_sonnet",
}


@pytest.fixture(scope="module")
def models() -> dict[str, ModelConfig]:
    return {model.name: model for model in read_models(config_folder())}


def test_every_option_that_needs_no_choice_is_listed(models: dict[str, ModelConfig]) -> None:
    files = {path.stem for path in (config_folder() / "model").glob("[!_]*.yaml")}
    assert models.keys() == files - {"replay", "endpoint"}
    assert models.keys() > PAPER


def test_every_model_says_whose_it_is_and_where_it_is_to_be_had(models: dict[str, ModelConfig]) -> None:
    for name, model in models.items():
        if name == "echo":
            continue
        assert model.availability is not None, name
        assert model.family, name
        assert model.licence, name
        kinds = {"endpoint": OpenaiSection, "recorded": ReplaySection, "open": LoadedSection, "gated": LoadedSection}
        if model.availability.status == "retired":
            assert model.availability.ends, name
        else:
            assert isinstance(model.engine, kinds[model.availability.status]), name


def test_what_is_loaded_from_the_hub_names_its_revision_and_dtype(models: dict[str, ModelConfig]) -> None:
    for name, model in models.items():
        if isinstance(model.engine, LoadedSection) and not model.engine.source.startswith("checkpoint:"):
            assert (bool(model.engine.revision), model.engine.dtype != "auto") == (True, True), name


def test_every_kind_of_engine_is_run_by_tests(models: dict[str, ModelConfig]) -> None:
    for model in models.values():
        for file in PROVED_BY[type(model.engine)]:
            assert (REPOSITORY / "tests" / file).is_file(), file


def test_vllm_has_each_models_architecture(models: dict[str, ModelConfig]) -> None:
    current, older = _registries()
    for name, model in models.items():
        if isinstance(model.engine, VllmSection) and name not in OLDER:
            assert ARCHITECTURES[name] in current, name
    assert ARCHITECTURES.keys() | OLDER.keys() == {
        name for name, model in models.items() if isinstance(model.engine, VllmSection)
    }
    assert older["QwenVLForConditionalGeneration"] == "0.23.0"


def test_a_model_that_vllm_dropped_brings_the_last_vllm_that_had_it(models: dict[str, ModelConfig]) -> None:
    for name, requirement in OLDER.items():
        engine = models[name].engine
        assert isinstance(engine, VllmSection)
        assert engine.runtime_env is not None
        assert requirement in engine.runtime_env.packages


def test_the_page_of_models_is_what_the_options_say(models: dict[str, ModelConfig]) -> None:
    page = (REPOSITORY / "docs" / "models.md").read_text(encoding="utf-8")
    assert page == render_markdown(list(models.values())), "run: eibench-ray models --markdown > docs/models.md"


PARTS = [{"type": "image"}, {"type": "text", "text": "Why?"}]
CHATML = "<|im_start|>system\n{}<|im_end|>"


@pytest.mark.parametrize(
    ("template", "first", "own", "told"),
    [
        (
            "package:qwen_vl_chat",
            [{"role": "user", "content": "Picture 1: <img></img>\nWhy?"}],
            f"{CHATML}\n<|im_start|>user\nPicture 1: <img></img>\nWhy?<|im_end|>\n<|im_start|>assistant\n",
            "You are a helpful assistant.",
        ),
        (
            "package:llava_v1",
            [{"role": "user", "content": PARTS}],
            "<s>{} USER: <image>\nWhy? ASSISTANT:",
            "A chat between a curious human and an artificial intelligence assistant. "
            "The assistant gives helpful, detailed, and polite answers to the human's questions.",
        ),
        (
            "package:chatml_direct",
            [{"role": "user", "content": PARTS}],
            f"{CHATML}<|im_start|>user\n<image>\nWhy?<|im_end|><|im_start|>assistant\n",
            "Answer the questions.",
        ),
        (
            "package:qwen_1_5",
            [{"role": "user", "content": PARTS}],
            f"{CHATML}\n<|im_start|>user\n<image>\nWhy?<|im_end|>\n<|im_start|>assistant\n",
            "You are a helpful assistant.",
        ),
        ("package:mistral_instruct", [{"role": "user", "content": PARTS}], "<s>[INST] <image>\nWhy? [/INST]", ""),
    ],
)
def test_the_packages_chat_templates_write_their_models_format(
    template: str, first: list[dict[str, object]], own: str, told: str
) -> None:
    made = Environment(trim_blocks=True, lstrip_blocks=True).from_string(template_file(template).read_text())
    assert made.render(messages=first, add_generation_prompt=True, bos_token="<s>") == own.format(told)
    for system in ("Be brief.", [{"type": "text", "text": "Be brief."}]):
        if template == "package:qwen_vl_chat" and not isinstance(system, str):
            continue  # vLLM gives this one texts only
        messages = [{"role": "system", "content": system}, *first]
        text = made.render(messages=messages, add_generation_prompt=True, bos_token="<s>")
        if template == "package:mistral_instruct":
            assert text == "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n<image>\nWhy? [/INST]"
        else:
            assert text == own.format("Be brief.")


def test_llavas_models_are_asked_in_their_authors_conversations(models: dict[str, ModelConfig]) -> None:
    """As LLaVA's run_llava.py takes them by a model's name: llava_v1, for 34b chatml_direct."""
    asked = {
        name: model.engine.chat_template
        for name, model in models.items()
        if isinstance(model.engine, LoadedSection) and "llava" in name and not name.startswith("tiny")
    }
    assert asked == {
        "llava_1_5_13b": "package:llava_v1",
        "llava_next_7b": "package:llava_v1",
        "llava_next_13b": "package:llava_v1",
        "llava_next_34b": "package:chatml_direct",
        "llava_onevision_7b": "package:qwen_1_5",
        "video_llava": "package:llava_v1",
    }


def _registries() -> tuple[set[str], dict[str, str]]:
    """The architectures that the installed vLLM has, and those that it had; read, not imported: that takes torch."""
    spec = find_spec("vllm")
    if spec is None or spec.origin is None:
        pytest.skip("needs vLLM: its registry is what the options are compared with")
    source = Path(spec.origin).parent / "model_executor" / "models" / "registry.py"
    tables: dict[str, dict[str, str]] = {}
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and isinstance(node.targets[0], ast.Name):
            pairs = zip(node.value.keys, node.value.values, strict=True)
            tables[node.targets[0].id] = {
                key.value: ast.unparse(value).strip("'") for key, value in pairs if isinstance(key, ast.Constant)
            }
    return {*tables["_TEXT_GENERATION_MODELS"], *tables["_MULTIMODAL_MODELS"]}, tables["_PREVIOUSLY_SUPPORTED_MODELS"]


CODE = {"kind": "vllm", "source": "me/eye", "max_model_len": 64, "trust_remote_code": True}
COMMIT = "f57cfbd358cb56b710d963669ad1bcfb44cdcdd8"


@pytest.mark.parametrize("revision", [None, "main", "v1.0", COMMIT[:12], COMMIT.upper(), f"{COMMIT}0"])
def test_code_of_the_hub_is_run_of_a_commit_only(revision: str | None) -> None:
    with pytest.raises(ValidationError, match="set it to a commit, in all its 40 digits"):
        VllmSection.model_validate(CODE | {"revision": revision})


def test_code_of_a_commit_or_of_a_folder_is_run(tmp_path: Path) -> None:
    assert VllmSection.model_validate(CODE | {"revision": COMMIT}).trust_remote_code
    assert VllmSection.model_validate(CODE | {"source": str(tmp_path)}).trust_remote_code
    assert TransformersSection(kind="transformers", source=str(tmp_path), trust_remote_code=True).trust_remote_code


def test_code_is_not_trusted_by_a_further_argument() -> None:
    engine = {"kind": "vllm", "source": "me/eye", "max_model_len": 64, "args": {"trust_remote_code": True}}
    with pytest.raises(ValidationError, match=r"set engine\.trust_remote_code"):
        VllmSection.model_validate(engine)


def test_a_model_without_a_commit_is_marked(models: dict[str, ModelConfig]) -> None:
    for name, model in models.items():
        engine = model.engine
        if isinstance(engine, LoadedSection):
            pinned = engine.source.startswith("checkpoint:") or len(engine.revision or "") == 40
            assert is_pinned(engine.source, engine.revision) is pinned
            assert describe(model)["revision"].endswith("(not pinned)") is not pinned, name
