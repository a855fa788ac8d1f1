"""A chaos run that was cut short, from which another one goes on."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.disks import Disk
from bench.chaos.errors import ChaosError

# In a chaos run's folder: each fault, a byte per request that was sent, and the store as it was at the end.
FAULTS = "faults.jsonl"
SENT = "sent"
KEPT_STORE = "disk-store"


@dataclass(frozen=True, slots=True)
class Earlier:
    """Record of what an earlier storm did.

    Attributes:
        faults: that hit, by kind.
        sent: requests that it sent, those of an undisturbed run in it aside.
    """

    faults: Counter[str] = field(default_factory=Counter)
    sent: int = 0


def take_over(folder: Path, disk: Disk) -> Earlier:
    """Copies the store of a run that took its undisturbed rows from elsewhere (`--peace`); what it had done.

    Raises:
        ChaosError: it left no store.
    """
    if not (folder / KEPT_STORE).is_dir() or (folder / "runs" / "peace").exists():
        raise ChaosError(f"{folder} has no {KEPT_STORE} to go on from, or counted an undisturbed run, too")
    shutil.copytree(folder / KEPT_STORE, disk.root)
    faults = [json.loads(line) for line in (folder / FAULTS).read_text().splitlines()]
    hits = Counter(fault["kind"] for fault in faults if fault["hit"])
    return Earlier(hits, (folder / SENT).stat().st_size)
