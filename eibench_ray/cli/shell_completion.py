"""Completion in a shell of what commands pass on to Hydra: groups, and the names of their options."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from typer.core import CompletionItem, TyperCommand  # type: ignore[attr-defined]  # it is what the base class gives

from eibench_ray.config.options_folder import config_folder

# Groups under another name: who plays a part, out of the options of `model`.
_PARTS = {
    "model@captioner": "model",
    "model@asker": "model",
    "model@judge.model": "model",
    "model@judge.baseline": "model",
}


class SweepCommand(TyperCommand):
    """A command whose further arguments are Hydra's."""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        """The command's own options, or what an override may be."""
        own: list[CompletionItem] = super().shell_complete(ctx, incomplete)
        found = [] if incomplete.startswith("-") else complete_override(ctx.args, incomplete)
        return [*own, *map(CompletionItem, found)]


def complete_override(before: Sequence[str], incomplete: str) -> list[str]:
    """Ends of an override that is begun: `mod` has `model=echo`, ..; `model=a,ec` has `model=a,echo`.

    Args:
        before: the words before it. Bash makes three of `model=ec`, and wants the end of the last one only.
        incomplete: what is written of it.
    """
    groups = _groups([config_folder(), *_own_folders(before)])
    if incomplete == "=" or before[-1:] == ["="]:
        key = before[-1] if incomplete == "=" else before[-2]
        return _complete_value(groups.get(key, ()), "" if incomplete == "=" else incomplete)
    key, sign, value = incomplete.partition("=")
    if sign:
        return [f"{key}={name}" for name in _complete_value(groups.get(key, ()), value)]
    found = [group for group in groups if group.startswith(incomplete)]
    # Of one group its options, too: a shell would put a blank behind a single end.
    return [f"{found[0]}={name}" for name in groups[found[0]]] if len(found) == 1 else [f"{group}=" for group in found]


def complete_run(incomplete: str) -> list[str]:
    """Ids of the runs of the stores that are known here."""
    from eibench_ray.runs.find_run import run_ids
    from eibench_ray.runs.known_stores import known_stores
    from eibench_ray.store.slice_store import Store

    near, _ = known_stores(Path())
    found = (run_id for root in near if "://" not in root for run_id in run_ids(Store(root)))
    return sorted((run_id for run_id in found if run_id.startswith(incomplete)), reverse=True)


def _complete_value(names: Iterable[str], value: str) -> list[str]:
    """Names that continue the last of several values."""
    done, comma, begun = value.rpartition(",")
    return [f"{done}{comma}{name}" for name in names if name.startswith(begun) and name not in done.split(",")]


def _groups(folders: Iterable[Path]) -> dict[str, list[str]]:
    """The names of the options of each group, of all folders."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in folder.glob("*/*.yaml"):
            found.setdefault(path.parent.name, set()).add(path.stem)
    groups = {group: sorted(names) for group, names in sorted(found.items())}
    return groups | {part: groups.get(group, []) for part, group in _PARTS.items()}


def _own_folders(before: Sequence[str]) -> list[Path]:
    """The folders that --config-dir names, in one word, in two, or in the three that Bash makes of one."""
    words = [word for argument in before for word in argument.split("=", 1) if word]
    return [Path(value).expanduser() for option, value in pairwise(words) if option == "--config-dir"]
