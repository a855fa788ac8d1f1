from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from needed import need
from PIL import Image

from eibench_ray.weights.build import build_checkpoint

torch = need("torch", "the tiny models need eibench-ray[cpu] or [gpu]")
transformers = need("transformers", "the tiny models need eibench-ray[cpu] or [gpu]")

QUESTION = "Why is this person angry?"
COLOURS = [(200, 30, 30), (30, 30, 200), (0, 0, 0)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(autouse=True)
def use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIBENCH_CHECKPOINTS", str(cache))


def complete(model: Any, tokenizer: Any, inputs: Any) -> str:
    """The greedy answer of at most 16 tokens."""
    tokens = model.generate(**inputs, max_new_tokens=16, do_sample=False)
    return str(tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def ask_llama(question: str) -> str:
    folder = build_checkpoint("tiny_llama")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    chat = [{"role": "user", "content": question}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    return complete(model, tokenizer, inputs)


def ask_idefics3(colour: tuple[int, int, int] | None) -> str:
    folder = build_checkpoint("tiny_idefics3")
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    content = [{"type": "image"}] if colour else []
    chat = [{"role": "user", "content": [*content, {"type": "text", "text": QUESTION}]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    images = [Image.new("RGB", (200, 150), colour)] if colour else None
    return complete(model, processor.tokenizer, processor(images=images, text=[text], return_tensors="pt"))


def test_answer_depends_on_the_question_and_is_readable() -> None:
    answers = [ask_llama(question) for question in (QUESTION, "What is the weather?", "Name three triggers.")]
    assert len(set(answers)) == len(answers)
    assert all(answer.isascii() and answer.isprintable() for answer in answers)


def test_answer_depends_on_the_picture() -> None:
    answers = [ask_idefics3(colour) for colour in (None, *COLOURS)]
    assert len(set(answers)) == len(answers)


def test_tokenizer_gives_every_text_back() -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(build_checkpoint("tiny_llama"))
    text = "caf\u00e9 \u65e5\u672c \U0001f600\n\ttab  two spaces"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("tiny_idefics3", "<image>"),
        ("tiny_llava", "<image>\n"),
        ("tiny_llava_next", "<image>\n"),
        ("tiny_qwen2_vl", "<|vision_start|><|image_pad|><|vision_end|>"),
        ("tiny_video_llava", "<image>\n"),
    ],
)
def test_chat_template_puts_the_picture_where_the_message_has_it(name: str, picture: str) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(build_checkpoint(name))
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Why?"}]},
    ]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    turns = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{}Why?<|im_end|>\n<|im_start|>assistant\n"
    assert text == turns.format(picture)
