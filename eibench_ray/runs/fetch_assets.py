"""Looks for what a sweep's engines need, and fetches or builds what is not here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from eibench_ray.engines.assets import Asset
from eibench_ray.engines.registry import check_installed, kind_of, section_of
from eibench_ray.errors import ConfigError
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.terminal.run_log import phase
from eibench_ray.weights.build import build_checkpoint
from eibench_ray.weights.checkpoint_files import CheckpointPart
from eibench_ray.weights.hub_cache import HubModel, find_snapshot, hub_root
from eibench_ray.weights.hub_download import check_space, explain_failure, fetch, look_up
from eibench_ray.weights.recipes import checkpoint_folder, is_built
from eibench_ray.weights.weights_source import PREFIX

FindingState = Literal["there", "to fetch", "to build", "on the nodes", "missing"]

# Where a checkpoint names its own code, which may lie in another repository.
_NAMES_CODE = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True, slots=True)
class AssetState:
    """Findings about one asset of a sweep.

    Attributes:
        what, remedy: why it is missing, and what to do; or, of what is there, where.
    """

    asset: Asset
    state: FindingState  # `on the nodes`: nothing can be done here
    num_bytes: int | None = None  # of what is there, or is to be fetched; None: not known
    what: str = ""
    remedy: str = ""
    is_for_user: bool = True  # whether the same command again does not help


def find_asset(asset: Asset, environ: Mapping[str, str]) -> AssetState:
    """Looks for an asset here and, where the hub is asked, there."""
    environ = {**environ, **dict(asset.env)}
    match asset.kind:
        case "hub":
            assert asset.model is not None
            return _find_on_hub(asset, asset.model, environ)
        case "checkpoint":
            folder = checkpoint_folder(asset.name, environ)
            return _here(asset, folder) if is_built(asset.name, environ) else AssetState(asset, "to build")
        case "folder":
            if Path(asset.name).is_dir():
                return _here(asset, Path(asset.name))
            return AssetState(
                asset,
                "missing",
                None,
                "no such folder",
                "put it there, or correct its engine.source or engine.lora.source",
            )
        case "own cache":
            return AssetState(
                asset, "on the nodes", None, "its engine fetches into a folder of its own (engine.args.download_dir)"
            )
        case "environment" if asset.name.startswith("/"):
            if Path(asset.name).exists():
                return AssetState(asset, "there", None, asset.name)
            return AssetState(asset, "on the nodes", None, "no such Python here: it must be on every node")
        case "environment":
            return AssetState(
                asset, "on the nodes", None, "each node installs it, from the index that its uv or pip knows"
            )
        case "packages":
            assert asset.spec is not None
            try:
                check_installed(asset.spec)
            except ConfigError as error:
                what, _, remedy = str(error).partition(": ")
                return AssetState(asset, "missing", None, what, remedy)
            return AssetState(asset, "there", None, "installed")


def bring_asset(finding: AssetState, environ: Mapping[str, str]) -> AssetState:
    """The finding again, once what can be fetched or built here has been."""
    asset = finding.asset
    environ = {**environ, **dict(asset.env)}
    if finding.state == "to build":
        return _here(asset, build_checkpoint(asset.name))
    if finding.state != "to fetch":
        return finding
    assert asset.model is not None
    try:
        return _here(asset, fetch(asset.model, environ))
    except Exception as error:
        return _missing(asset, asset.model, error, environ)


def check_room(findings: Sequence[AssetState], environ: Mapping[str, str]) -> None:
    """Returns where the cache's disk has room for all that is to be fetched.

    Raises:
        ConfigError: it has not.
    """
    try:
        check_space(sum(found.num_bytes or 0 for found in findings if found.state == "to fetch"), environ)
    except OSError as error:
        raise ConfigError(f"{error}: free some space, or set HF_HOME to a folder on a larger disk") from error


def code_of(finding: AssetState) -> list[Asset]:
    """The repositories that hold the code of a checkpoint that is there, where it is not its own."""
    if finding.state != "there" or finding.asset.kind not in ("hub", "folder"):
        return []
    found = dict.fromkeys(_named_code(Path(finding.what)))
    return [
        Asset("hub", name, finding.asset.users, HubModel(name, None, CheckpointPart("tokenizer"))) for name in found
    ]


def variables_for_nodes(findings: Sequence[AssetState], environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for nodes without a network, so that they find what was fetched and ask nobody for more."""
    kinds = {found.asset.kind for found in findings}
    variables = {}
    if "hub" in kinds:
        root = hub_root(environ).absolute()
        variables = {"HF_HUB_CACHE": str(root)} if environ.get("HF_HUB_CACHE") else {"HF_HOME": str(root.parent)}
        variables["HF_HUB_OFFLINE"] = "1"
    for name in sorted({found.asset.name for found in findings if found.asset.kind == "checkpoint"})[:1]:
        variables["EIBENCH_CHECKPOINTS"] = str(checkpoint_folder(name, environ).parent)
    return variables


def _find_on_hub(asset: Asset, model: HubModel, environ: Mapping[str, str]) -> AssetState:
    if folder := find_snapshot(model, environ):
        return _here(asset, folder)
    try:
        return AssetState(asset, "to fetch", look_up(model, environ).num_bytes_left)
    except Exception as error:
        return _missing(asset, model, error, environ)


def _missing(asset: Asset, model: HubModel, error: Exception, environ: Mapping[str, str]) -> AssetState:
    trouble = explain_failure(error, model, environ)
    return AssetState(asset, "missing", None, trouble.what, trouble.remedy, trouble.is_for_user)


def _here(asset: Asset, folder: Path) -> AssetState:
    size = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            size += path.stat().st_size if path.is_file() else 0
    return AssetState(asset, "there", size, str(folder))


def _named_code(folder: Path) -> Iterator[str]:
    """The repositories in `owner/name--module.Class`, as `auto_map` refers to code elsewhere."""
    for name in _NAMES_CODE:
        try:
            auto_map = json.loads((folder / name).read_bytes()).get("auto_map") or {}
        except (OSError, ValueError, AttributeError):
            continue
        for value in auto_map.values() if isinstance(auto_map, dict) else ():
            for reference in value if isinstance(value, list) else (value,):
                if isinstance(reference, str) and "--" in reference:
                    yield reference.partition("--")[0]


def build_checkpoints(engines: Iterable[EngineSpec], console: Console) -> None:
    """Builds what is not there yet; a checkpoint that is there costs nothing."""
    names = {
        request.source.removeprefix(PREFIX)
        for spec in engines
        if (request := kind_of(spec).weights(section_of(spec))) and request.source.startswith(PREFIX)
    }
    for name in sorted(names):
        if not is_built(name):
            with phase(f"building the checkpoint {name} (once; half a minute at most)", console):
                build_checkpoint(name)
