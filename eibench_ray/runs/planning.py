"""From the configurations of all cells to a plan, and to what the store has of it already."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.schema import ModelConfig, RunConfig
from eibench_ray.driver.gpu_devices import list_devices, smallest_memory_gb, visible_devices
from eibench_ray.engines.blocker_checks import find_adapter_blocker, find_blocker
from eibench_ray.engines.engine_memory import GpuNodes
from eibench_ray.engines.python_environment import vllm_version
from eibench_ray.errors import PlanError
from eibench_ray.plan.blockers import block_cells, describe_blocked, without_blocked
from eibench_ray.plan.engine_traits import RateLimits, describe_chosen
from eibench_ray.plan.graph import Blocker, Plan
from eibench_ray.plan.slices import StepWork, cut
from eibench_ray.planner.dataset_facts import read_dataset_facts
from eibench_ray.planner.engine_specs import with_gpus
from eibench_ray.planner.plan_builder import build_plan
from eibench_ray.planner.slice_size import choose_slice_rows
from eibench_ray.planner.step_shares import keep_own, own_steps, without_gpus
from eibench_ray.ratelimit.budget import Budget
from eibench_ray.ratelimit.limit_pool import pools_of
from eibench_ray.rows.completion import Retry
from eibench_ray.runs.resume import find_work, open_indexes, read_costs
from eibench_ray.schedule.resources import Node, Resources
from eibench_ray.store.slice_store import Store
from eibench_ray.tracking.tracker_registry import find_trackers

# What is the same for every cell of a sweep.
SHARED_SECTIONS = ("sweep", "cluster", "tracking", "store", "score", "report", "budget_usd", "retry")


@dataclass(frozen=True, slots=True)
class PlannedSweep:
    """A sweep that is ready to run."""

    config: RunConfig  # the first cell's configuration, for the sections that all cells share
    plan: Plan  # of all cells, those that are blocked included
    store: Store
    work: Mapping[str, StepWork]  # how far each step is in the store; of what others do, nothing is to do
    own: frozenset[str] | None  # ids of the steps that are this run's share; None: all are
    slice_rows: Mapping[str, int]  # rows per slice of the steps that are new to the store
    budget: Budget  # what it may cost, and what the rows in the store have cost
    pools: Mapping[str, RateLimits]  # the limits that endpoints share

    @property
    def num_done(self) -> int:
        """Requests that the store has answered already, error rows included."""
        return sum(left.num_done for left in self.work.values())

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing to ask."""
        return not any(left.todo for left in self.work.values())

    def count_whole(self) -> dict[str, int]:
        """Rows per step, where the store has all of them already; else empty."""
        is_whole = all(left.num_done == left.num_rows for left in self.work.values())
        return {step: left.num_done for step, left in self.work.items()} if is_whole else {}

    @property
    def is_paid(self) -> bool:
        """Whether some engine has a price."""
        return any(spec.price is not None for spec in self.plan.engines.values())

    def runnable(self) -> PlannedSweep:
        """The part of it that can run: without the cells that are blocked, and what only they need."""
        plan = without_blocked(self.plan)
        return replace(self, plan=plan, work={step: self.work[step] for step in plan.steps})

    def check_runnable(self) -> None:
        """Makes sure that there is something to run.

        Raises:
            PlanError: every cell is blocked.
        """
        if all(cell.blockers for cell in self.plan.cells):
            raise PlanError(f"nothing of this sweep can run. {'. '.join(describe_blocked(self.plan.cells))}")

    def read_budget(self) -> Budget:
        """Budget of the sweep with its cost by now."""
        return Budget(self.config.budget_usd, read_spent(self.plan, self.store))

    @property
    def steps_to_ask(self) -> list[str]:
        """Ids of the steps with something to do."""
        return [step for step, left in self.work.items() if left.todo]

    @property
    def locks(self) -> list[str]:
        """Names that no other run may lock meanwhile: steps with something to do, and the batches of their engines."""
        specs = (self.plan.engines[key] for key in self.engines_to_load())
        batches = (spec.key for spec in specs if spec.traits.is_batch)
        return [*self.steps_to_ask, *(f"batches/{key}" for key in batches)]

    def fix_slices(self) -> PlannedSweep:
        """This sweep in the slices that the store fixes; another run may have begun a step since it was planned."""
        is_as_planned = True
        for step_id, left in self.work.items():
            if left.todo:
                step = self.plan.steps[step_id]
                what = {"name": step.name, "model": self.plan.model_of(step), "dataset": step.dataset}
                size = self.store.fix_slice_rows(step_id, self.slice_rows[step_id], what)
                is_as_planned &= set(left.todo) <= set(cut(step_id, self.plan.datasets[step.dataset].rows, size))
        return self if is_as_planned else replace(self, work=self.look_again())

    def with_nodes(self, nodes: Iterable[Node]) -> tuple[PlannedSweep, list[str]]:
        """The sweep as it fits on the nodes that are there, and a line per engine whose GPUs were chosen by them.

        Engines keep their keys and steps their ids: how many GPUs share a model is no part of what it is.
        """
        known = GpuNodes(tuple(node for node in nodes if node.total.gpus), "the cluster's nodes")
        engines = dict(self.plan.engines)
        said: list[str] = []
        if not known.nodes:
            return self, said
        for key, spec in self.plan.engines.items():
            if not spec.chosen:
                continue
            model = ModelConfig.model_validate(
                {"name": spec.name, "engine": spec.settings, "sees_image": True, "expect": spec.expect}
            )
            try:
                engines[key] = with_gpus(spec, model, self.config.cluster, known)
            except PlanError as error:
                said.append(str(error))
                continue
            sizes = sorted({node.gpu_memory_gb for node in known.nodes})
            said.append(
                f"{spec.name}: {describe_chosen(engines[key].chosen)}, by "
                f"{known.source} ({len(known.nodes)} with GPUs of {', '.join(f'{size:.3g}' for size in sizes)} GB)"
            )
        return replace(self, plan=replace(self.plan, engines=engines)), said

    def look_again(self) -> Mapping[str, StepWork]:
        """Progress of each step by now."""
        return _find_work(self.plan, self.store, self.slice_rows, self.own, self.config.retry)

    def count_left(self) -> int:
        """Requests that can be asked and that the store has not answered by now."""
        return sum(left.num_rows - left.num_done for left in self.runnable().look_again().values())

    def engines_to_load(self) -> list[str]:
        """Keys of the engines that still have something to do."""
        return self.plan.engines_of(step for step, left in self.work.items() if left.todo)


def plan_sweep(
    configs: Sequence[RunConfig], *, must_exist: bool, device: Literal["cpu", "cuda"] | None = None
) -> PlannedSweep:
    """The plan of all cells, how far it is, and which of them cannot run here.

    Args:
        configs: one per cell.
        must_exist: whether datasets must be prepared; a dry run plans from what the configuration expects.
        device: where vLLM engines would run; None: where the configuration says, or what is installed here.

    Raises:
        PlanError: the cells contradict each other, or engines of one pool do.
        DataError: a dataset is not there.
    """
    config = configs[0]
    for section in SHARED_SECTIONS:
        if any(getattr(other, section) != getattr(config, section) for other in configs):
            several = "; several trackers of one sweep are tracking=[a,b]" if section == "tracking" else ""
            raise PlanError(
                f"{section} differs between the cells of one sweep: set it once, outside of what is varied{several}"
            )
    find_trackers(config.tracking)  # refuses one whose package is missing
    chosen = {other.dataset.name: other for other in configs}
    facts = {
        name: read_dataset_facts(one.dataset, must_exist=must_exist, seed=one.seed) for name, one in chosen.items()
    }
    known = known_gpus(config.cluster, os.environ) if device is None else None
    plan = build_plan(configs, facts, device or engine_device(config.cluster), known=known)
    store = Store(config.store.root)
    slice_rows = choose_slice_rows(plan, config.store.slice_rows, config.cluster)
    share = config.cluster.share
    own = None if share is None else own_steps(plan, share)
    if config.cluster.without_gpus:
        own = without_gpus(plan) & (own if own is not None else plan.steps.keys())
    work = _find_work(plan, store, slice_rows, own, config.retry)
    plan = block_cells(plan, work, _find_blockers(plan, config.cluster))
    return PlannedSweep(
        config=config,
        plan=plan,
        store=store,
        work=work,
        own=own,
        slice_rows=slice_rows,
        budget=Budget(config.budget_usd, read_spent(plan, store)),
        pools=pools_of((spec.name, spec.traits.limits) for spec in plan.engines.values()),
    )


def _find_work(
    plan: Plan, store: Store, slice_rows: Mapping[str, int], own: frozenset[str] | None, retry: Retry
) -> Mapping[str, StepWork]:
    work = find_work(plan, open_indexes(plan), store, slice_rows, retry)
    return work if own is None else keep_own(plan, work, own)


def _find_blockers(plan: Plan, cluster: ClusterConfig) -> dict[str, Blocker]:
    """Reasons why engines and adapters cannot run here, by their keys."""
    today, is_local = date.today(), cluster.address == "local"
    found = {key: find_blocker(spec, os.environ, today, is_local=is_local) for key, spec in plan.engines.items()}
    for spec in plan.engines.values():
        for one in spec.adapters:
            found[one.key] = find_adapter_blocker(spec, one, os.environ, today, is_local=is_local)
    return {key: blocker for key, blocker in found.items() if blocker}


def read_spent(plan: Plan, store: Store) -> float:
    """Cost of all steps' committed rows, in US dollars."""
    return sum(read_costs(plan, store).values())


def engine_device(cluster: ClusterConfig) -> Literal["cpu", "cuda"]:
    """Device of vLLM engines: as configured, else what the installed vLLM is made for."""
    if cluster.device != "auto":
        return cluster.device
    installed = vllm_version()
    return installed[1] if installed else "cuda"


def known_gpus(cluster: ClusterConfig, environ: Mapping[str, str]) -> GpuNodes | None:
    """This machine's GPUs, where a run would use them; None where it has none, or the run lies elsewhere."""
    is_elsewhere = cluster.slurm is not None and "SLURM_JOB_ID" not in environ
    if cluster.address != "local" or cluster.gpu_resource != "GPU" or is_elsewhere:
        return None
    devices = list_devices()
    num_gpus = min(len(visible_devices(devices, environ)), cluster.num_gpus or sys.maxsize)
    if not num_gpus:
        return None
    memory_gb = cluster.gpu_memory_gb or smallest_memory_gb(devices, environ)
    return GpuNodes((Node("", "", Resources(0, num_gpus), memory_gb),), "this machine")
