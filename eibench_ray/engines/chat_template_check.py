"""Whether a checkpoint has a chat template, from its small files; nothing heavy is imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eibench_ray.config.engines import LoadedSection, VllmSection

# Where transformers looks for one beside files of its own.
_KEEPS_ONE = ("tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
# Formats whose tokenizer or renderer has its own way: Mistral's, GGUF's, code that comes with the checkpoint.
_OWN_WAY = ("tekken.json", "params.json", "tokenizer.model.v*", "*.gguf", "*.py", "*.tiktoken")
# vLLM's arguments that may bring one from elsewhere.
_ELSEWHERE = ("tokenizer", "tokenizer_mode", "hf_config_path", "hf_overrides", "load_format", "model_impl")
# For these vLLM has templates or renderers of its own. Source: vLLM 0.32, transformers_utils/chat_templates/registry.py
# and ModelConfig.
_OF_VLLM = (
    *("blip-2", "clip", "colpali", "deepseek", "unlimited", "minicpm", "paligemma", "siglip", "kimi", "inkling"),
    *("mistral", "mixtral", "pixtral", "voxtral", "cohere", "terratorch"),
)


def lacks_chat_template(folder: Path, engine: LoadedSection) -> bool:
    """Whether an engine surely finds no chat template for a checkpoint; False also where that cannot be told.

    Args:
        folder: of the checkpoint, there or not.
        engine: what loads it.
    """
    if engine.chat_template or engine.trust_remote_code:
        return False
    if isinstance(engine, VllmSection) and any(name in engine.args for name in _ELSEWHERE):
        return False
    config = _read(folder / "config.json")
    if config is None or not any((folder / name).is_file() for name in _TOKENIZERS):
        return False
    if any(any(folder.glob(pattern)) for pattern in ("*chat_template*", *_OWN_WAY)):
        return False
    if isinstance(engine, VllmSection) and str(config.get("model_type", "")).startswith(_OF_VLLM):
        return False
    return not any((_read(folder / name) or {}).get("chat_template") for name in _KEEPS_ONE)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
