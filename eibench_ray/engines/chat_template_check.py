"""Whether a checkpoint has a chat template, from its small files; nothing heavy is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eibench_ray.errors import EngineError

# Where transformers looks for one beside files of its own.
_KEEPS_ONE = ("tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
# Formats whose tokenizer or renderer has its own way: Mistral's, GGUF's, code that comes with the checkpoint.
_OWN_WAY = ("tekken.json", "params.json", "tokenizer.model.v*", "*.gguf", "*.py", "*.tiktoken")


def lacks_chat_template(folder: Path, own_types: tuple[str, ...] = ()) -> bool:
    """Whether a checkpoint surely has no chat template; False also where that cannot be told.

    Args:
        folder: of the checkpoint, there or not.
        own_types: beginnings of the model types for which what loads it has templates of its own.
    """
    config = _read(folder / "config.json")
    if config is None or not any((folder / name).is_file() for name in _TOKENIZERS):
        return False
    if any(any(folder.glob(pattern)) for pattern in ("*chat_template*", *_OWN_WAY)):
        return False
    if str(config.get("model_type", "")).startswith(own_types):
        return False
    return not any((_read(folder / name) or {}).get("chat_template") for name in _KEEPS_ONE)


def read_model_type(folder: Path) -> str | None:
    """The model's type as the checkpoint's configuration has it; None: it cannot be read."""
    kind = (_read(folder / "config.json") or {}).get("model_type")
    return kind if isinstance(kind, str) else None


def read_chat_template(folder: Path) -> str | None:
    """The chat template in a checkpoint's folder; None: there is none, or it cannot be read."""
    try:
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    except (OSError, ValueError):
        found = ((_read(folder / name) or {}).get("chat_template") for name in (*_KEEPS_ONE, "chat_template.json"))
        return next((text for text in found if isinstance(text, str)), None)


def lacks_token(folder: Path, text: str) -> bool:
    """Whether a text is surely no token of a checkpoint's tokenizer; False also where that cannot be told."""
    tokenizer = _read(folder / "tokenizer.json")
    if tokenizer is None:
        return False
    added = {token.get("content") for token in tokenizer.get("added_tokens") or () if isinstance(token, dict)}
    vocabulary = (tokenizer.get("model") or {}).get("vocab") or {}
    return text not in added and text not in vocabulary


def check_variables(variables: Mapping[str, Any], template: str | None, source: str) -> None:
    """Returns if a chat template reads the variables that the configuration sets.

    Args:
        variables: by name.
        template: its text; None: it is not known, and so is not looked at.
        source: the checkpoint.

    Raises:
        EngineError: it does not read one, which would change nothing and say nothing.
    """
    if template and (unread := sorted(name for name in variables if name not in template)):
        raise EngineError(
            f"the chat template of {source} reads no {', '.join(unread)}: correct engine.chat_template_kwargs of the "
            f"model, or leave it out"
        )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
