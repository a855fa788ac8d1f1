"""Whether a checkpoint has a chat template, from its small files; nothing heavy is imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
