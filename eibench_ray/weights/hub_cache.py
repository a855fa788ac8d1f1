"""Finds cached checkpoints and a token of the Hugging Face hub on this machine. Nothing is asked of the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eibench_ray.weights.checkpoint_files import CheckpointPart, is_whole

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


@dataclass(frozen=True, slots=True)
class HubModel:
    """Model that is wanted from the hub."""

    hub_id: str
    revision: str | None  # branch, tag or commit; None: the main branch
    part: CheckpointPart

    def __str__(self) -> str:
        """The id and the revision in one word."""
        return f"{self.hub_id}@{self.revision or 'main'}"


def hub_root(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the Hugging Face cache, there or not."""
    return Path(environ.get("HF_HUB_CACHE") or _home(environ) / "hub").expanduser()


def hub_folder(hub_id: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Folder of a hub id in the Hugging Face cache, there or not."""
    return hub_root(environ) / f"models--{hub_id.replace('/', '--')}"


def cached_commit(hub_id: str, revision: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The commit that the cache holds for a branch or tag; None where it was never downloaded."""
    reference = hub_folder(hub_id, environ) / "refs" / revision
    return reference.read_text().strip() if reference.is_file() else None


def find_snapshot(model: HubModel, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder in the cache that has all that is loaded of a checkpoint; None where something is missing."""
    commit = cached_commit(model.hub_id, model.revision or "main", environ) or model.revision
    if commit is None:
        return None
    folder = hub_folder(model.hub_id, environ)
    snapshot = folder / "snapshots" / commit
    return snapshot if is_whole(snapshot, _listed(folder / "trees" / f"{commit}.json"), model.part) else None


def _listed(tree: Path) -> list[str] | None:
    """The files of a commit, as huggingface_hub 2 notes them beside what it has fetched; None where it has not."""
    try:
        return list(json.loads(tree.read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
