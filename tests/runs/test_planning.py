"""From configurations to a plan with what the store has of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.config.schema import RunConfig
from eibench_ray.engines.echo import EchoEngine, EchoSection
from eibench_ray.errors import DataError, PlanError
from eibench_ray.runs.planning import plan_sweep
from eibench_ray.runs.resume import open_indexes

if TYPE_CHECKING:
    from conftest import Sweeps


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("cluster", {"name": "local", "num_cpus": 1}),
        ("tracking", {"wandb": {}}),
        ("store", {"root": "elsewhere"}),
        ("score", {"confidence": 0.9}),
        ("sweep", "another"),
        ("budget_usd", 5.0),
    ],
)
def test_what_a_sweep_shares_cannot_differ_between_its_cells(sweeps: Sweeps, section: str, change: Any) -> None:
    sweeps.write_dataset()
    with pytest.raises(PlanError, match=f"^{section} differs between the cells of one sweep: set it once"):
        sweeps.plan(sweeps.config("plain"), sweeps.config("brief", **{section: change}))


def test_only_engines_with_something_to_do_are_loaded(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    judged_by_another = {"judge_engine": {"fails_on": "nothing"}}
    sweeps.ask(sweeps.plan(sweeps.config(**judged_by_another)))
    more = sweeps.plan(sweeps.config(**judged_by_another), sweeps.config("brief", judge_engine={"fails_on": "nothing"}))
    assert len(more.engines_to_load()) == 2
    rejudged = sweeps.plan(sweeps.config(judge="again", **judged_by_another))
    [key] = rejudged.engines_to_load()
    assert rejudged.plan.engines[key].name == "again_model"


def test_a_sweep_whose_store_has_every_answer_is_complete(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    assert not sweep.is_complete
    assert sweep.num_done == 0
    sweeps.ask(sweep)
    assert sweeps.plan().is_complete
    assert sweeps.plan().num_done == sweep.plan.num_requests == 20


def test_a_dry_run_plans_what_is_not_prepared(sweeps: Sweeps) -> None:
    config = sweeps.config().model_dump() | {
        "dataset": {"name": "faces", "path": str(sweeps.folder / "faces"), "expect_rows": 6}
    }
    configs = [type(sweeps.config()).model_validate(config)]
    sweep = plan_sweep(configs, must_exist=False)
    assert (sweep.plan.num_requests, sweep.num_done, sweep.is_complete) == (12, 0, False)
    assert open_indexes(sweep.plan) == {}
    with pytest.raises(DataError, match="there is no prepared dataset there"):
        plan_sweep(configs, must_exist=True)


def test_planning_writes_nothing(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweeps.plan()
    assert [path.name for path in sweeps.folder.iterdir()] == ["faces"]


@pytest.mark.parametrize(("device", "planned"), [("cpu", "cpu"), ("cuda", "cuda")])
def test_the_device_is_the_clusters(sweeps: Sweeps, device: str, planned: str) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(cluster={"name": "local", "device": device}))
    assert {spec.device for spec in sweep.plan.engines.values()} == {planned}


def test_the_stores_root_is_absolute(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps.write_dataset()
    monkeypatch.chdir(sweeps.folder)
    sweep = sweeps.plan(sweeps.config(store={"root": "here"}))
    assert sweep.store.paths.root == Path(sweeps.folder) / "here"


PAID: dict[str, Any] = {"price": {"input": 1e6, "output": 0.0}, "fails_on": "never"}  # six dollars for each answer


def test_what_was_spent_is_what_the_plans_rows_cost_whoever_asked_for_them(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    engine = EchoSection.model_validate({"kind": "echo"} | PAID)
    sweeps.ask(sweeps.plan(sweeps.config(engine=PAID, limit=3)), EchoEngine(engine), costs_money=True)
    sweeps.ask(sweeps.plan(sweeps.config("brief", engine=PAID, limit=3)), EchoEngine(engine), costs_money=True)
    sweep = sweeps.plan(sweeps.config(engine=PAID, budget_usd=20.0))
    assert sweep.is_paid
    assert (sweep.budget.budget_usd, sweep.budget.spent_usd, sweep.count_left()) == (20.0, 18.0, 14)
    free = sweeps.plan(sweeps.config())
    assert not free.is_paid
    assert free.budget.spent_usd == 0.0


ENDPOINT: dict[str, Any] = {"kind": "openai", "endpoint": "here", "base_url": "http://127.0.0.1:1/v1", "model": "eye"}


def test_endpoints_of_one_pool_must_agree_on_its_limits(sweeps: Sweeps) -> None:
    def config(requests_per_min: float) -> RunConfig:
        judge = ENDPOINT | {"model": "judge", "limits": {"pool": "account", "requests_per_min": requests_per_min}}
        subject = ENDPOINT | {"limits": {"pool": "account", "requests_per_min": 60.0}}
        return sweeps.config(model={"engine": subject}, judge_engine=judge)

    sweeps.write_dataset()
    assert list(sweeps.plan(config(60.0)).pools) == ["account"]
    with pytest.raises(PlanError, match=r"the pool 'account' has two values of engine\.limits\.requests_per_min"):
        sweeps.plan(config(30.0))
