"""Stores that the commands look in when nobody names one: those that runs of this user have used.

A run notes its store and the folder from which it was called, in a small file of the user's own state folder
(`$XDG_STATE_HOME/eibench_ray/stores`, by default below `~/.local/state`). A command that is told no store looks in
those that were used from its own folder, the last one first, then in `./store`, which is what `store.root` is by
default. A run that is named by its id is also sought in all others.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eibench_ray.errors import StoreError
from eibench_ray.storage.atomic_files import read_json, write_json
from eibench_ray.storage.local import open_storage

log = logging.getLogger(__name__)

DEFAULT_ROOT = "store"
# Older ones of more are forgotten.
_MOST = 200


@dataclass(frozen=True, slots=True)
class UsedStore:
    """A store that a run has used."""

    root: str  # as `store.root` names it, absolute
    working: str  # the folder from which the run was called
    used_at: float  # Unix time, seconds


def remember_store(root: str, working: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Notes that a store was used from a folder; where it cannot be noted, the store has to be named."""
    used = UsedStore(root, str(working.absolute()), time.time())
    name = hashlib.blake2b(f"{used.working}\n{root}".encode(errors="surrogatepass"), digest_size=10).hexdigest()
    try:
        folder = _folder(environ)
        write_json(folder / f"{name}.json", asdict(used))
        for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-_MOST]:
            path.unlink(missing_ok=True)
    except (StoreError, OSError, UnicodeError) as error:
        log.info("the store is not noted for later commands: %s", error)


def known_stores(working: Path, environ: Mapping[str, str] = os.environ) -> tuple[list[str], list[str]]:
    """The roots of the stores that a folder's runs have used, and of the others; each the last one used first.

    Folders that are gone are left out.
    """
    found = (one for one in _read_all(environ) if "://" in one.root or Path(one.root).is_dir())
    used = sorted(found, key=lambda one: -one.used_at)
    here = [one.root for one in used if one.working == str(working.absolute())]
    if (working / DEFAULT_ROOT / "runs").is_dir():
        here.append(str(open_storage(str(working.absolute() / DEFAULT_ROOT))[1]))
    near = list(dict.fromkeys(here))
    return near, [root for root in dict.fromkeys(one.root for one in used) if root not in near]


def _read_all(environ: Mapping[str, str]) -> list[UsedStore]:
    found = []
    try:
        for path in _folder(environ).glob("*.json"):
            value: Any = read_json(path)
            found.append(UsedStore(str(value["root"]), str(value["working"]), float(value["used_at"])))
    except (StoreError, OSError, KeyError, TypeError, ValueError) as error:
        log.info("a note of a used store cannot be read: %s", error)
    return found


def _folder(environ: Mapping[str, str]) -> Path:
    """The folder of the notes.

    Raises:
        OSError: this user has no home folder.
    """
    if base := environ.get("XDG_STATE_HOME"):
        return Path(base) / "eibench_ray" / "stores"
    try:
        return Path.home() / ".local" / "state" / "eibench_ray" / "stores"
    except RuntimeError as error:
        raise OSError(str(error)) from None
