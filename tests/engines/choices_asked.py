"""Requests that compare choices, for two engines and for a computation by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asking_models import PICTURES, request, show

from eibench_ray.rows.choices import AskedChoices
from eibench_ray.rows.request import Request

CAPITALS = ("Rome", "Paris", "Berlin", "Ouagadougou")
# What each engine is asked, by a name for it: the text, and the choices behind it.
TEXTS: Mapping[str, tuple[str, AskedChoices]] = {
    "capital": ("What is the capital of France?", AskedChoices(CAPITALS)),
    "per character": ("What is the capital of France?", AskedChoices(CAPITALS, by="character")),
    "prefix": ("What is the capital of France? Say it.", AskedChoices(CAPITALS, prefix="It is ")),
    "letters": ("Is snow warm?\nA. yes\nB. no\nAnswer with a letter.", AskedChoices(("A", "B"))),
    "long": (
        "Name a fruit and a colour.",
        AskedChoices(("An apple is red.", "The night has no colour at all, nor has it")),
    ),
}
FACT = "The capital of France is"
# Engine options: a chat model, a base model, and two that see.
MODELS: Mapping[str, dict[str, Any]] = {
    "chat": {"source": "checkpoint:smollm2_135m", "logprobs": True},
    "base": {"source": "checkpoint:tiny_llama", "chat_template": "package:raw"},
    "tiny_qwen2_vl": {"source": "checkpoint:tiny_qwen2_vl"},
    "tiny_llava": {"source": "checkpoint:tiny_llava"},
}
# The chat model's weights as a base model, which knows the fact: for transformers alone, and a computation by hand.
REAL_BASE = {"source": "checkpoint:smollm2_135m", "chat_template": "package:raw"}


def asked_of(model: str) -> list[tuple[Request, tuple[bytes, ...]]]:
    """The requests to one of the models, with their pictures."""
    if model == "chat":
        return [(replace(request(text), choices=choices), ()) for text, choices in TEXTS.values()]
    if model == "base":
        return [(replace(request(FACT), choices=AskedChoices(CAPITALS)), ())]
    choices = AskedChoices(("the rain", "a dog", "nothing"))
    return [show(replace(request(), choices=choices), pictures) for pictures in PICTURES[1:]]


def generated() -> list[Request]:
    """Replies that are generated, with the log probabilities of their tokens: plain, penalised, and cut."""
    said = ("Say hello.", "Name a colour.")
    return [
        request(said[0]),
        request(said[1], max_tokens=24),
        request(said[0], repetition_penalty=1.2),
        request(said[0], max_tokens=3),
    ]
