"""Whether a checkpoint has a chat template: seen from its files, and only where that is sure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest

from eibench_ray.engines.chat_templates import PLAIN, is_plain, template_file, template_variables
from eibench_ray.engines.registry import kind_of
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.engines.vllm.vllm_section import VllmSection

BASE = {"config.json": {"model_type": "llama"}, "tokenizer.json": {}, "tokenizer_config.json": {"bos_token": "<s>"}}


def vllm(**keys: Any) -> VllmSection:
    return VllmSection.model_validate({"kind": "vllm", "source": "me/mine", "max_model_len": 64} | keys)


def transformers(**keys: Any) -> TransformersSection:
    return TransformersSection.model_validate({"kind": "transformers", "source": "me/mine"} | keys)


def lacks_chat_template(folder: Path, engine: VllmSection | TransformersSection) -> bool:
    return kind_of(engine).lacks_chat_template(engine, folder)


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_a_base_model_lacks_one(tmp_path: Path) -> None:
    folder = write(tmp_path, BASE)
    assert lacks_chat_template(folder, vllm())
    assert lacks_chat_template(folder, transformers())


@pytest.mark.parametrize(
    "files",
    [
        {"chat_template.jinja": "{{ messages }}"},
        {"chat_template.json": {"chat_template": "{{ messages }}"}},
        {"additional_chat_templates/tool_use.jinja": "{{ messages }}"},
        {"tokenizer_config.json": {"chat_template": "{{ messages }}"}},
        {"tokenizer_config.json": {"chat_template": [{"name": "default", "template": "{{ messages }}"}]}},
        {"processor_config.json": {"chat_template": "{{ messages }}"}},
        {"tekken.json": {}},
        {"params.json": {}},
        {"tokenization_mine.py": "import torch"},
        {"config.json": "no JSON"},
    ],
)
def test_one_that_is_there_or_may_be_is_not_missed(tmp_path: Path, files: dict[str, Any]) -> None:
    assert not lacks_chat_template(write(tmp_path, BASE | files), vllm())
    assert not lacks_chat_template(tmp_path, transformers())


@pytest.mark.parametrize(
    "engine",
    [
        vllm(chat_template=PLAIN),
        vllm(trust_remote_code=True, revision="0123456789" * 4),
        vllm(args={"tokenizer": "me/other"}),
        vllm(args={"tokenizer_mode": "mistral"}),
        transformers(chat_template="mine.jinja"),
    ],
)
def test_an_engine_that_brings_one_lacks_none(tmp_path: Path, engine: VllmSection | TransformersSection) -> None:
    assert not lacks_chat_template(write(tmp_path, BASE), engine)


def test_vllms_own_templates_are_vllms_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, BASE | {"config.json": {"model_type": "paligemma"}})
    assert not lacks_chat_template(folder, vllm())
    assert lacks_chat_template(folder, transformers())


def test_what_is_not_there_is_not_known(tmp_path: Path) -> None:
    assert not lacks_chat_template(tmp_path, vllm())
    assert not lacks_chat_template(tmp_path / "gone", vllm())


MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
PARTS = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Why?"}]}]


@pytest.mark.parametrize(
    ("messages", "variables", "text"),
    [
        (MESSAGES, {}, "Be brief.\n\nWhy?\n"),
        (MESSAGES, {"bos_token": "<s>", "adds_bos": True}, "<s>Be brief.\n\nWhy?\n"),
        (MESSAGES, {"bos_token": "<s>"}, "<s>Be brief.\n\nWhy?\n"),
        (MESSAGES, {"bos_token": "<s>", "adds_bos": False}, "Be brief.\n\nWhy?\n"),
        (PARTS, {}, "<image>\nWhy?\n"),
        (PARTS, {"image_token": "<img>"}, "<img>\nWhy?\n"),
    ],
)
def test_the_plain_template_writes_the_texts_alone(
    messages: list[dict[str, Any]], variables: dict[str, Any], text: str
) -> None:
    template = template_file(PLAIN).read_text()
    assert is_plain(template)
    assert jinja2.Environment().from_string(template).render(messages=messages, **variables) == text


def test_a_name_of_the_package_needs_no_suffix() -> None:
    assert template_file("package:plain") == template_file("package:plain.jinja")
    assert template_file("mine").name == "mine"


@pytest.mark.parametrize(("first", "adds"), [(1, True), (7, False)])
def test_a_plain_template_is_told_what_the_tokenizer_does(first: int, *, adds: bool) -> None:
    class Tokenizer:
        bos_token_id = 1

        def __call__(self, text: str) -> dict[str, list[int]]:  # noqa: ARG002 - any
            return {"input_ids": [first, 5]}

    assert template_variables(template_file(PLAIN).read_text(), Tokenizer()) == {"adds_bos": adds}
    assert template_variables("{{ messages }}", Tokenizer()) == {}
    assert template_variables(None, Tokenizer()) == {}
