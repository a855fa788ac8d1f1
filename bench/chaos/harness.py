"""One chaos run: a cluster, the sweep in peace, the same under faults on a disk and in a bucket, and the verdict."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.chaos.bucket import Bucket, ObjectStore
from bench.chaos.cluster import RayCluster, plain_environment
from bench.chaos.deck import Deck, apportion, with_share
from bench.chaos.disks import Disk, DiskFull, ReadOnly
from bench.chaos.earlier import FAULTS, KEPT_STORE, SENT, Earlier, take_over
from bench.chaos.kinds import Kind, Moment, Place, Scene
from bench.chaos.peace import Peace, ask_in_peace, take_peace
from bench.chaos.remains import CHAOS_ID, Family, find_groups, find_orphans
from bench.chaos.rows import compare_rows, compare_scores, read_rows
from bench.chaos.samples import write_samples
from bench.chaos.storm import Storm
from bench.chaos.sweep import Engine, Run, Sweep, make_sweep, num_steps
from bench.chaos.verdict import Verdict
from bench.chaos.weights import IN_BUCKET, ON_DISK

REPOSITORY = Path(__file__).parents[2]
DISK_MB = 4096
# In peace an engine takes so many times as many requests at once.
IN_PEACE = 8
# The part of the samples that is asked in the bucket, too.
BUCKET_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """Options of a chaos run, as the command has them."""

    engine: Engine
    rows: int
    faults: int
    bucket_faults: int
    seed: int
    seconds: float
    slice_rows: int
    batch: int
    endings: float
    latency_s: float
    nodes: int
    slots: int
    peace: Path | None = None
    after: Path | None = None

    @property
    def num_samples(self) -> int:
        """Samples of the dataset."""
        return math.ceil(self.rows / num_steps(self.engine))

    @property
    def num_bucket_samples(self) -> int:
        """Those of them that are asked in the bucket, too."""
        return max(self.slice_rows, round(self.num_samples * BUCKET_SHARE))

    def options(self, *, in_peace: bool) -> list[str]:
        """Settings of the sweep's engines: in peace as fast as they can, as neither changes what they say."""
        roles = ("model", "captioner") if self.engine == "echo" else ("model", "captioner", "judge.model")
        batch = self.batch * IN_PEACE if in_peace else self.batch
        keys: dict[str, float] = {"engine.max_num_seqs": batch}
        if self.engine == "echo" and not in_peace:
            # Told how slow it is, the scheduler starts as many replicas as there is room for.
            keys |= {"engine.latency_s": self.latency_s, "expect.tokens_per_s": batch * 8 / self.latency_s}
        chosen = [f"{role}.{name}={value}" for role in roles for name, value in keys.items()]
        return [*chosen, f"store.slice_rows={self.slice_rows}"]


class Harness:
    """Owns what a chaos run starts; `close` ends it, whatever has happened."""

    def __init__(self, plan: Plan, folder: Path, chaos_id: str, console: Console) -> None:
        self._plan = plan
        self._folder = folder
        self._work = folder / "work"
        self._work.mkdir()
        self.family = Family(chaos_id, self._work)
        self._console = console
        self._random = Random(plan.seed)
        self._sent = folder / SENT
        self._end = contextlib.ExitStack()
        self._verdict = Verdict(wanted=plan.faults + plan.bucket_faults)

    def run(self) -> Verdict:
        """The verdict of the run.

        Raises:
            ChaosError: the harness does not work here.
        """
        plan, folder = self._plan, self._folder
        self._sent.touch()
        write_samples(folder / "dataset", plan.num_samples, has_pictures=plan.engine != "echo")
        server = ObjectStore(plan.seed) if plan.bucket_faults else None
        if server:
            self._end.callback(server.close)
        cluster = self._start_cluster(server)
        peace = self._make_peace(cluster)
        expected = read_rows(folder / "peace")
        disk = Disk(folder / "disk", DISK_MB)
        self._end.callback(lambda: disk.close(folder / KEPT_STORE if self._is_broken() else None))
        before = self._count_sent()
        earlier = take_over(plan.after, disk) if plan.after else Earlier()
        faults = max(1, plan.faults - earlier.faults.total())
        self._verdict.faults += earlier.faults
        last = self._storm(self._sweep(cluster), cluster, disk, ON_DISK[plan.engine], faults, expected)
        self._verdict.sent, self._verdict.needed = earlier.sent + self._count_sent() - before, peace.needed
        self._verdict.scores += compare_scores(peace.scores, last.summary["rows"])
        if server:
            self._ask_in_bucket(cluster, Bucket(server), expected, peace.needed)
        self._verdict.groups = find_groups(cluster.address, cluster.environment)
        cluster.stop()
        self._verdict.orphans += find_orphans(self.family, is_cluster_up=False)
        return self._verdict

    def close(self) -> None:
        """Ends everything."""
        self._end.close()

    def _is_broken(self) -> bool:
        return not self._verdict.needed or bool(self._verdict.broken())

    def _start_cluster(self, server: ObjectStore | None) -> RayCluster:
        hook = str(Path(__file__).parent / "hook")
        path = os.pathsep.join([hook, str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = plain_environment() | {
            CHAOS_ID: self.family.chaos_id,
            "CHAOS_SENT": str(self._sent),
            "PYTHONPATH": path,
            **(server.environment if server else {}),
        }
        # Ray's sockets lie below this folder, and a socket's path has at most 107 characters.
        scratch = self._end.enter_context(
            tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True)
        )
        plan = self._plan
        cluster = RayCluster(self._folder, Path(scratch), plan.nodes, plan.slots, plan.slots, environment)
        self._end.callback(self.family.end)
        self._end.callback(cluster.stop)
        self._say("starting a cluster of a head and %d nodes", plan.nodes)
        cluster.start()
        return cluster

    def _sweep(self, cluster: RayCluster, *options: str, in_peace: bool = False) -> Sweep:
        plan = self._plan
        return make_sweep(
            plan.engine,
            self._folder / "runs",
            self._work,
            self._folder / "dataset",
            cluster.address,
            plan.nodes + 1,
            cluster.environment,
            [*plan.options(in_peace=in_peace), *options],
        )

    def _make_peace(self, cluster: RayCluster) -> Peace:
        """The undisturbed run, asked now or earlier."""
        plan, folder = self._plan, self._folder
        if plan.peace is not None:
            return take_peace(plan.peace, folder, plan.engine, plan.num_samples)
        self._say("asking %d rows in peace", plan.num_samples * num_steps(plan.engine))
        sweep = self._sweep(cluster, in_peace=True)
        return ask_in_peace(sweep, cluster, folder, plan.engine, plan.num_samples, self._sent)

    def _ask_in_bucket(self, cluster: RayCluster, bucket: Bucket, expected: pl.DataFrame, needed: int) -> None:
        samples = self._plan.num_bucket_samples
        part = expected.filter(pl.col("sample_id").str.extract(r"(\d+)$").cast(pl.Int64) < samples)
        before = self._count_sent()
        sweep = self._sweep(cluster, f"dataset.limit={samples}")
        self._storm(sweep, cluster, bucket, IN_BUCKET, self._plan.bucket_faults, part)
        self._verdict.sent += self._count_sent() - before
        self._verdict.needed += round(needed * part.height / expected.height)

    def _storm(
        self,
        sweep: Sweep,
        cluster: RayCluster,
        place: Place,
        weights: Mapping[type[Kind], float],
        faults: int,
        expected: pl.DataFrame,
    ) -> Run:
        """The last command of a sweep under faults; what came out is in the verdict."""
        kinds = {kind.name: kind for kind in weights if not self._skips(kind, place)}
        ending = [name for name, kind in kinds.items() if kind.moment is Moment.ENDING]
        by_name = with_share({name: weights[kind] for name, kind in kinds.items()}, ending, self._plan.endings)
        counts = apportion(faults, by_name)
        decks = {
            moment: Deck({name: n for name, n in counts.items() if kinds[name].moment is moment}, self._random)
            for moment in Moment
        }
        scene = Scene(self.family, cluster, sweep, place, self._random)
        num_slices = sum(
            math.ceil(step["len"] / self._plan.slice_rows) for step in expected.group_by("step").len().to_dicts()
        )
        with self._progress(type(place).__name__.lower(), faults) as tell:
            storm = Storm(
                scene,
                kinds,
                decks,
                num_slices,
                time.monotonic() + self._plan.seconds,
                self._folder / FAULTS,
                tell,
            )
            try:
                last = storm.run()
            finally:
                if scene.run is not None:
                    scene.run.end()
        verdict = self._verdict
        for deck in decks.values():
            verdict.skipped |= dict.fromkeys(deck.given_up, "it hit nothing")
        verdict.faults += storm.hits
        verdict.codes += storm.codes
        verdict.hangs += scene.hangs
        verdict.orphans += storm.orphans
        verdict.unexplained += storm.unexplained
        found = sweep.fsck(place.root, repair=True)
        # What killed writes have left is no problem of the store's; anything else is.
        spoilt = [
            f"{one['where']}: {one['what']}"
            for one in found["findings"]
            if one["is_problem"] and one["repair"] != "remove"
        ]
        verdict.problems += spoilt
        store = place.fetch(self._folder / "fetched")
        verdict.comparisons.append(compare_rows(expected, read_rows(store)))
        return last

    def _skips(self, kind: type[Kind], place: Place) -> bool:
        """Whether a kind of fault cannot come here; the verdict says why."""
        if kind in (DiskFull, ReadOnly) and isinstance(place, Disk) and place.lacks is not None:
            self._verdict.skipped[kind.name] = place.lacks
            return True
        return False

    def _count_sent(self) -> int:
        return self._sent.stat().st_size

    def _say(self, text: str, *values: Any) -> None:
        self._console.print(f"chaos: {text % values}", highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def _progress(self, name: str, faults: int) -> Iterator[Callable[[int, float], object]]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}%"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            bar = progress.add_task(f"{name}: 0 of {faults} faults", total=100)
            shown = [0]

            def tell(hits: int, share: float) -> None:
                progress.update(bar, description=f"{name}: {hits} of {faults} faults", completed=100 * share)
                if not self._console.is_terminal and hits >= shown[0] + 10:
                    shown[0] = hits
                    self._say("%s: %d of %d faults, %.0f%% of the rows", name, hits, faults, 100 * share)

            yield tell
