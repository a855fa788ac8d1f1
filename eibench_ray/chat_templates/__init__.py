"""Chat templates of checkpoints that carry none: Jinja files, as vLLM and transformers read them."""

from __future__ import annotations

from pathlib import Path

PREFIX = "package:"


def template_file(name: str) -> Path:
    """The file that an engine's `chat_template` names, there or not: a path, or `package:NAME` for one of these."""
    return Path(__file__).parent / name.removeprefix(PREFIX) if name.startswith(PREFIX) else Path(name)
