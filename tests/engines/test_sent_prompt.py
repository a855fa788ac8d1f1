"""Requests as engines send them: prompts with their special tokens, bodies without a picture's length."""

from __future__ import annotations

import json

import pytest
from asking_models import PICTURES, request, show

from eibench_ray.engines.openai.openai_kind import KIND
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.sent_prompt import sent_tokens


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ([1, 2, 2, 2, 3], "<1><2><2><2><3>"),
        ([2] * 4, "<2>{4 times}"),
        ([1, *[2] * 64, 3], "<1><2>{64 times}<3>"),
        ([], ""),
    ],
)
def test_only_long_runs_of_a_token_are_folded(tokens: list[int], text: str) -> None:
    prompt = sent_tokens(tokens, lambda part: "".join(f"<{token}>" for token in part))
    assert (prompt.text, prompt.num_tokens) == (text, len(tokens))


def test_a_body_has_all_but_the_pictures_bytes() -> None:
    section = OpenaiSection.model_validate(
        {"kind": "openai", "endpoint": "nobody", "base_url": "http://127.0.0.1:1/v1", "model": "m", "api_key_env": None}
    )
    asked, images = show(request("Why?", system="Be brief."), PICTURES[1])
    (sent,) = KIND.show_sent(section, None, [(asked, images)])
    body = json.loads(sent.text)
    assert sent.form == "body"
    assert body["model"] == "m"
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    (url,) = [part["image_url"]["url"] for part in body["messages"][1]["content"] if part["type"] == "image_url"]
    assert url.startswith("data:image/")
    assert url.endswith("characters)")
    assert len(url) < 100
