"""Chat templates of checkpoints that carry none, or another than their authors ask them with: Jinja files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PREFIX = "package:"
PLAIN = f"{PREFIX}plain"
_SUFFIX = ".jinja"
_ADDS_BOS = "adds_bos"


def template_file(name: str) -> Path:
    """The file that an engine's `chat_template` names, there or not: a path, or `package:NAME` for one of these."""
    if not name.startswith(PREFIX):
        return Path(name)
    return Path(__file__).parent / f"{name.removeprefix(PREFIX).removesuffix(_SUFFIX)}{_SUFFIX}"


def is_plain(template: str | None) -> bool:
    """Whether a template's text is that of `package:plain`, or one like it that reads no roles."""
    return template is not None and _ADDS_BOS in template and "role" not in template


def template_variables(template: str | None, tokenizer: Any) -> dict[str, Any]:
    """Whether the tokenizer begins each text with its first token, for a template that asks for it.

    Args:
        template: its text; None: the checkpoint's own, which asks for nothing of ours.
        tokenizer: of transformers.
    """
    if template is None or _ADDS_BOS not in template:
        return {}
    bos = getattr(tokenizer, "bos_token_id", None)
    return {_ADDS_BOS: bos is not None and list(tokenizer("a")["input_ids"])[:1] == [bos]}


def no_template(source: str) -> str:
    """Error text for a model without a chat template, with the remedy."""
    return (
        f"{source} has no chat template, and without one none of its rows can be asked: set engine.chat_template of "
        f"the model to {PLAIN} where it is a base model, else to a Jinja file with its format; or choose the "
        f"model's instruct version"
    )
