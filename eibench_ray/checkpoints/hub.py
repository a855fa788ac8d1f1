"""What this machine has of the Hugging Face hub: cached checkpoints and a token. Looked up, never asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


def hub_folder(hub_id: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the Hugging Face cache keeps a hub id, there or not."""
    hub = Path(environ.get("HF_HUB_CACHE") or _home(environ) / "hub").expanduser()
    return hub / f"models--{hub_id.replace('/', '--')}"


def cached_commit(hub_id: str, revision: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The commit that the cache holds for a branch or tag; None where it was never downloaded."""
    reference = hub_folder(hub_id, environ) / "refs" / revision
    return reference.read_text().strip() if reference.is_file() else None


def is_cached(hub_id: str, revision: str | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the cache has a checkpoint, as far as its configuration tells."""
    commit = cached_commit(hub_id, revision or "main", environ) or revision
    return commit is not None and (hub_folder(hub_id, environ) / "snapshots" / commit / "config.json").exists()


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether nothing may be fetched."""
    return any(environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def has_token(environ: Mapping[str, str]) -> bool:
    """Whether there is a token, in a variable or where `hf auth login` leaves it; what it is stays unread."""
    file = Path(environ.get("HF_TOKEN_PATH") or _home(environ) / "token").expanduser()
    return bool(environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")) or file.is_file()


def _home(environ: Mapping[str, str]) -> Path:
    home = environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser()
