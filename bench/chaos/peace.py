"""The undisturbed run: what the other ones are compared with."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.chaos.cluster import RayCluster
from bench.chaos.errors import ChaosError
from bench.chaos.sweep import Sweep

_TIMEOUT_S = 3600.0
_FILE = "peace.json"
_STORE = "peace"


@dataclass(frozen=True, slots=True)
class Peace:
    """Results of the undisturbed run.

    Attributes:
        engine, samples: of its sweep.
        needed: requests that it had to send.
        scores: its leaderboard.
    """

    engine: str
    samples: int
    needed: int
    scores: list[dict[str, Any]]


def ask_in_peace(sweep: Sweep, cluster: RayCluster, folder: Path, engine: str, samples: int, sent: Path) -> Peace:
    """Asks everything, with nothing in the way; its store lies in `folder / "peace"`.

    Args:
        sweep: the command.
        cluster: which it runs on.
        folder: of the chaos run.
        engine: of the sweep.
        samples: of its dataset.
        sent: the file that counts requests.

    Raises:
        ChaosError: it failed, or requests are not counted.
    """
    before = sent.stat().st_size
    run = sweep.start(str(folder / _STORE), _STORE)
    try:
        deadline = time.monotonic() + _TIMEOUT_S
        while (code := run.wait(5.0)) is None and time.monotonic() < deadline:
            cluster.revive()
    finally:
        run.end()
    if code != 0:
        raise ChaosError(f"the undisturbed run ended with {code}: {run.last_words}")
    counted, needed = sent.stat().st_size - before, run.summary["requests"]
    if counted < needed:
        raise ChaosError(f"{counted} requests were counted where {needed} were sent: the count does not work")
    found = Peace(engine, samples, needed, run.summary["rows"])
    (folder / _FILE).write_text(json.dumps(asdict(found)))
    return found


def take_peace(earlier: Path, folder: Path, engine: str, samples: int) -> Peace:
    """Results that an earlier chaos run over the same sweep had in peace; its store is copied.

    Raises:
        ChaosError: it was another sweep.
    """
    try:
        found = Peace(**json.loads((earlier / _FILE).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ChaosError(f"{earlier} has no undisturbed run ({error})") from None
    if (found.engine, found.samples) != (engine, samples):
        raise ChaosError(f"{earlier} has {found.samples} samples of {found.engine}, and not {samples} of {engine}")
    shutil.copytree(earlier / _STORE, folder / _STORE)
    return found
