"""vLLM's parsers of thinking by name, and the one that a checkpoint needs, by its small files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eibench_ray.engines.chat_template_check import lacks_token, read_chat_template, read_model_type

# Of vLLM 0.32 (vllm/reasoning/__init__.py).
_NAMES = (
    "deepseek_r1 deepseek_v3 deepseek_v4 deepseek_v41 poolside_v1 cohere_command3 cohere_command4 ernie45 gemma4 glm45 "
    "glm47 ling3 openai_gptoss granite granite_thinking_parser hf holo2 hunyuan_a13b hy_v3 hy_v4 kimi_k2 kimi_k3 "
    "k2_horizon mimo minicpmv minimax_m2 minimax_m2_append_think minimax_m3 mistral nemotron_v3 olmo3 plamo3 "
    "muse_glimmer qwen3 seed_oss step3 step3p5 inkling"
)
REASONING_PARSERS = frozenset(_NAMES.split())
# By a mark in what a template writes before a reply; any model's with <think> tags is understood by DeepSeek R1's.
_BY_MARK: Mapping[str, str] = {
    "<think>": "deepseek_r1",
    "<seed:think>": "seed_oss",
    "<|START_THINKING|>": "cohere_command3",
}
# By the beginning of a model's type, where the tags are not all: a parser that knows more of the format.
_BY_TYPE: Mapping[str, str] = {
    "qwen3": "qwen3",
    "glm4_moe": "glm45",
    "ernie4_5": "ernie45",
    "hunyuan": "hunyuan_a13b",
    "minimax_m2": "minimax_m2",
    "gpt_oss": "openai_gptoss",
}
_ALWAYS = ("gpt_oss",)  # its template opens no thinking, and its replies have some


def find_parser(folder: Path, template: str | None = None) -> str | None:
    """The parser of a checkpoint that thinks; None: it does not, as far as its files say.

    vLLM's parsers want the mark to be one token.

    Args:
        folder: of the checkpoint, there or not.
        template: the text that is configured in the place of its own chat template.
    """
    kind = read_model_type(folder) or ""
    of_type = next((parser for start, parser in _BY_TYPE.items() if kind.startswith(start)), None)
    if kind.startswith(_ALWAYS):
        return of_type
    text = template or read_chat_template(folder) or ""
    mark = next((mark for mark in _BY_MARK if opens_thinking(text, mark)), None)
    return None if mark is None or lacks_token(folder, mark) else of_type or _BY_MARK[mark]


def opens_thinking(template: str, mark: str) -> bool:
    """Whether a chat template begins replies with thinking, or says how they go without.

    One that only strips thinking from earlier turns shows nothing: what counts is written before the reply.

    >>> opens_thinking("{{ text.split('<think>') }}{% if add_generation_prompt %}<|assistant|>{% endif %}", "<think>")
    False
    """
    _, asked, before_reply = template.rpartition("add_generation_prompt")
    return bool(asked) and mark in before_reply
