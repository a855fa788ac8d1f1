"""From the configurations of all cells to a plan, and to what the store has of it already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eibench_ray.config.endpoints import EndpointLimits, OpenaiEngine
from eibench_ray.config.schema import ClusterConfig, RunConfig
from eibench_ray.data.dataset import DatasetIndex, open_dataset
from eibench_ray.endpoints.funds import Funds
from eibench_ray.endpoints.pools import pools_of
from eibench_ray.errors import PlanError
from eibench_ray.plan.build import build_plan
from eibench_ray.plan.facts import engine_identity, read_dataset_facts, vllm_version
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.shares import take_share
from eibench_ray.plan.slicing import choose_slice_rows
from eibench_ray.store.resume import StepWork, find_work
from eibench_ray.store.slices import Store

# What is the same for every cell of a sweep.
SHARED_SECTIONS = ("sweep", "cluster", "tracking", "store", "score", "budget_usd")


@dataclass(frozen=True, slots=True)
class PlannedSweep:
    """A sweep that is ready to run.

    Attributes:
        config: the first cell's configuration, for the sections that all cells share.
        work: how far each step is in the store; of another run's share nothing is to do.
        slice_rows: rows per slice of the steps that are new to the store.
        funds: what it may cost, and what the rows in the store have cost.
        pools: the limits that endpoints share.
    """

    config: RunConfig
    plan: Plan
    store: Store
    work: Mapping[str, StepWork]
    slice_rows: Mapping[str, int]
    funds: Funds
    pools: Mapping[str, EndpointLimits]

    @property
    def num_done(self) -> int:
        """Requests that the store has answered already, error rows included."""
        return sum(left.num_done for left in self.work.values())

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing to ask."""
        return not any(left.todo for left in self.work.values())

    @property
    def is_paid(self) -> bool:
        """Whether some engine has a price."""
        return any(spec.price is not None for spec in self.plan.engines.values())

    def read_funds(self) -> Funds:
        """What it may cost, and what it has cost by now."""
        return Funds(self.config.budget_usd, read_spent(self.plan, self.store))

    def count_left(self) -> int:
        """Requests that the store has not answered by now."""
        work = find_work(self.plan, open_indexes(self.plan), self.store, self.slice_rows)
        return sum(left.num_rows - left.num_done for left in work.values())

    def engines_to_load(self) -> list[str]:
        """Keys of the engines that still have something to do."""
        return self.plan.engines_of(step for step, left in self.work.items() if left.todo)


def plan_sweep(
    configs: Sequence[RunConfig], *, must_exist: bool, device: Literal["cpu", "cuda"] | None = None
) -> PlannedSweep:
    """The plan of all cells and how far it is.

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
            raise PlanError(f"{section} differs between the cells of one sweep: set it once, outside of what is swept")
    chosen = {other.dataset.name: other.dataset for other in configs}
    facts = {name: read_dataset_facts(dataset, must_exist=must_exist) for name, dataset in chosen.items()}
    plan = build_plan(configs, facts, engine_identity, device or engine_device(config.cluster))
    store = Store(Path(config.store.root).absolute())
    share = config.cluster.share
    slice_rows = choose_slice_rows(plan, config.store.slice_rows, config.cluster)
    work = find_work(plan, open_indexes(plan), store, slice_rows)
    return PlannedSweep(
        config=config,
        plan=plan,
        store=store,
        work=work if share is None else take_share(plan, work, share),
        slice_rows=slice_rows,
        funds=Funds(config.budget_usd, read_spent(plan, store)),
        pools=pools_of(spec.config for spec in plan.engines.values() if isinstance(spec.config, OpenaiEngine)),
    )


def read_spent(plan: Plan, store: Store) -> float:
    """What the committed rows of all steps have cost, in US dollars."""
    return sum(read_costs(plan, store).values())


def read_costs(plan: Plan, store: Store) -> dict[str, float]:
    """What the committed rows of each step have cost, by its id; only of steps whose engine has a price."""
    steps = (step for step in plan.steps.values() if plan.engines[step.engine].price is not None)
    return {step.id: store.read_cost(step.id) for step in steps}


def engine_device(cluster: ClusterConfig) -> Literal["cpu", "cuda"]:
    """Where vLLM engines run: as configured, else what the installed vLLM is made for."""
    if cluster.device != "auto":
        return cluster.device
    installed = vllm_version()
    return installed[1] if installed else "cuda"


def open_indexes(plan: Plan) -> dict[str, DatasetIndex]:
    """The ids and digests of the plan's datasets, as far as they are prepared."""
    return {name: open_dataset(spec.path).index(spec.limit) for name, spec in plan.datasets.items() if spec.is_prepared}
