"""The hub, asked and fetched from. The one module that imports huggingface_hub."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from eibench_ray.storage.disk_space import free_bytes
from eibench_ray.weights.checkpoint_files import choose_files
from eibench_ray.weights.file_locks import locked_here
from eibench_ray.weights.hub_cache import HubModel, find_snapshot, has_token, hub_folder, hub_root, is_offline

ASK_TIMEOUT_S = 20.0
GB = 1e9
# What is left free on the disk beside the weights.
SPARE_BYTES = 1 << 30
# huggingface_hub 2 writes a file under a name of its own for each try, so what a killed one left is never used again.
LITTER_AGE_S = 3600.0
_PUBLIC_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class HubFiles:
    """Files that the hub has of a checkpoint."""

    commit: str  # that the revision stands for today
    sizes: Mapping[str, int]  # bytes of each file that is loaded, by its name
    num_bytes_left: int  # bytes of those that the cache does not have


@dataclass(frozen=True, slots=True)
class HubFailure:
    """Failure to fetch a checkpoint, with the reason."""

    what: str
    remedy: str
    is_for_user: bool  # whether asking again does not help


class NoSpaceError(OSError):
    """The cache's disk is too small for what is to be fetched."""


def look_up(model: HubModel, environ: Mapping[str, str] = os.environ) -> HubFiles:
    """Asks the hub for a checkpoint's files; one request, and one more where access needs a licence.

    Raises:
        Exception: what `explain_failure` turns into words.
    """
    from huggingface_hub import HfApi, errors

    if is_offline(environ):
        raise errors.OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
    api = HfApi(endpoint=environ.get("HF_ENDPOINT"))
    info = api.model_info(model.hub_id, revision=model.revision, files_metadata=True, timeout=ASK_TIMEOUT_S)
    if info.gated:
        api.auth_check(model.hub_id)
    known = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    sizes = {name: known[name] for name in choose_files(known, model.part)}
    assert info.sha is not None
    snapshot = hub_folder(model.hub_id, environ) / "snapshots" / info.sha
    return HubFiles(info.sha, sizes, sum(size for name, size in sizes.items() if not (snapshot / name).exists()))


def fetch(model: HubModel, environ: Mapping[str, str] = os.environ) -> Path:
    """The snapshot's folder in the cache, with all that is loaded; what is there already is not fetched again.

    Of several processes on a node that ask at once, one fetches and the others wait for it.

    Raises:
        Exception: what `explain_failure` turns into words.
    """
    if folder := find_snapshot(model, environ):
        return folder
    with locked_here(hub_folder(model.hub_id, environ).name, hub_root(environ)):
        return find_snapshot(model, environ) or _fetch(model, environ)


def _fetch(model: HubModel, environ: Mapping[str, str]) -> Path:
    from huggingface_hub import snapshot_download

    _clear_litter(hub_folder(model.hub_id, environ) / "blobs")
    offer = look_up(model, environ)
    check_space(offer.num_bytes_left, environ)
    folder = snapshot_download(
        model.hub_id,
        revision=model.revision,
        cache_dir=hub_root(environ),
        endpoint=environ.get("HF_ENDPOINT"),
        allow_patterns=[glob.escape(name) for name in offer.sizes],
    )
    if found := find_snapshot(model, environ):
        return found
    missing = [name for name in offer.sizes if not (Path(folder) / name).exists()]
    raise FileNotFoundError(f"{folder} has no weights, or lacks {', '.join(missing) or 'some'}")


def check_space(num_bytes: int, environ: Mapping[str, str] = os.environ) -> None:
    """Returns where the cache's disk has room for so much more.

    Raises:
        NoSpaceError: it has not.
    """
    root = hub_root(environ).absolute()
    free = free_bytes(root)
    if num_bytes and num_bytes + SPARE_BYTES > free:
        raise NoSpaceError(f"{num_bytes / GB:.1f} GB are to be fetched, and {root} has {free / GB:.1f} GB free")


def num_bytes_here(model: HubModel, environ: Mapping[str, str] = os.environ) -> int:
    """Bytes that the cache has of a repository, files that are being fetched included."""
    total = 0
    for path in (hub_folder(model.hub_id, environ) / "blobs").glob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def explain_failure(error: Exception, model: HubModel, environ: Mapping[str, str] = os.environ) -> HubFailure:
    """Explains an error of the hub, in words."""
    from huggingface_hub import errors

    endpoint = environ.get("HF_ENDPOINT") or _PUBLIC_HUB
    match error:
        case NoSpaceError():
            return HubFailure(f"no space: {error}", "free some, or set HF_HOME to a larger disk", is_for_user=True)
        case errors.GatedRepoError():
            return _locked_out(model, endpoint, environ)
        case errors.RevisionNotFoundError():
            what = f"the hub has no revision {model.revision}"
            return HubFailure(what, "correct its engine.revision", is_for_user=True)
        case errors.RepositoryNotFoundError():
            what = "the hub has no such repository, or hides it"
            remedy = "correct its engine.source; of a private one, export HF_TOKEN of an account that may read it"
            return HubFailure(what, remedy, is_for_user=True)
        case errors.OfflineModeIsEnabled():
            what = "offline, and not in the cache"
            return HubFailure(what, "unset HF_HUB_OFFLINE, or fetch where there is a network", is_for_user=True)
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    remedy = "see that the network reaches it, or fetch where it does and copy HF_HOME; the same command goes on"
    return HubFailure(f"{endpoint} does not give it ({reason})", remedy, is_for_user=False)


def _locked_out(model: HubModel, endpoint: str, environ: Mapping[str, str]) -> HubFailure:
    page = f"{endpoint}/{model.hub_id}"
    if has_token(environ):
        remedy = f"accept the licence at {page} with the account of your token, and wait until it is granted"
    else:
        remedy = f"accept the licence at {page}, make a token at {endpoint}/settings/tokens and export HF_TOKEN"
    return HubFailure("gated: no access", remedy, is_for_user=True)


def _clear_litter(blobs: Path) -> None:
    """Removes what killed downloads left; one that goes on writes to its file all the time."""
    oldest = time.time() - LITTER_AGE_S
    for path in blobs.glob("*.incomplete"):
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
