"""Shares of a sweep: every step is somebody's, none is two's, and no share waits for another of its stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.config.slurm import ShareConfig
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.plan.graph import Plan
from eibench_ray.planner.step_shares import count_parts, find_stages, keep_own, own_steps, share_out

if TYPE_CHECKING:
    from conftest import Sweeps


def plan(sweeps: Sweeps, num_models: int = 3) -> Plan:
    """Some models in two settings, judged by two, one of which is the first model itself."""
    sweeps.write_dataset()
    configs = [
        sweeps.config(setting, judge, engine={"fails_on": f"never {number}"}, model={"name": f"model {number}"},
                      judge_engine={"fails_on": "never 0"} if judge == "self" else {})
        for number in range(num_models)
        for setting in ("plain", "noted")
        for judge in ("strict", "self")
    ]  # fmt: skip
    return sweeps.plan(*configs).plan


def test_what_reads_another_engine_comes_a_stage_later(sweeps: Sweeps) -> None:
    found = plan(sweeps)
    stages = find_stages(found)
    for step in found.steps.values():
        for source in (found.steps[source] for source in step.inputs.values()):
            assert stages[step.id] >= stages[source.id] + (step.engine != source.engine)
    names = {(step.name, found.engines[step.engine].name): stages[step.id] for step in found.steps.values()}
    assert names["note", "model 1"] == names["answer", "model 1"] == 0
    assert names["verdict", "strict_model"] == 1


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_every_engine_of_a_stage_is_in_one_part(sweeps: Sweeps, parts: int) -> None:
    found = plan(sweeps)
    for stage in (0, 1):
        shares = share_out(found, stage, parts)
        asked = {step.engine for step in found.steps.values() if find_stages(found)[step.id] == stage}
        assert set().union(*shares) == asked
        assert sum(map(len, shares)) == len(asked)
        assert count_parts(found, stage, parts) == min(parts, len(asked))


@pytest.mark.parametrize(("seconds", "longest"), [((9.0, 5.0, 4.0), 9), ((5.0, 5.0, 5.0), 10), ((1.0, 2.0, 9.0), 9)])
def test_parts_take_about_as_long(sweeps: Sweeps, seconds: tuple[float, ...], longest: float) -> None:
    found = plan(sweeps)
    engines = dict(found.engines)
    models = sorted(key for share in share_out(found, 0, 1) for key in share)
    for key, load_s in zip(models, seconds, strict=True):
        engines[key] = replace(engines[key], expect=Expectation(load_s=load_s, tokens_per_s=1e9))
    shares = share_out(replace(found, engines=engines), 0, 2)
    assert max(sum(engines[key].expect.load_s for key in share) for share in shares) == longest


def test_endpoints_stay_together_as_they_share_limits_and_a_budget(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    price = {"input": 1.0, "output": 1.0}
    engines = [{"fails_on": str(number), "price": price if number < 3 else None} for number in range(5)]
    configs = [sweeps.config(engine=engine, model={"name": f"model {engine['fails_on']}"}) for engine in engines]
    found = sweeps.plan(*configs).plan
    paid = {key for key, spec in found.engines.items() if spec.price is not None}
    assert len(paid) == 3
    assert [paid <= share for share in share_out(found, 0, 3)].count(True) == 1
    assert count_parts(found, 0, 9) == 3


def test_a_share_asks_what_is_its_own_and_there(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("noted", judge_engine={"fails_on": "never"}))
    steps = {step.name: step.id for step in sweep.plan.steps.values()}
    first = keep_own(sweep.plan, sweep.work, own_steps(sweep.plan, ShareConfig(stage=0)))
    assert {step for step, left in first.items() if left.todo} == {steps["note"], steps["answer"]}
    second = keep_own(sweep.plan, sweep.work, own_steps(sweep.plan, ShareConfig(stage=1)))
    assert not any(left.todo for left in second.values())  # the answers are not there
    sweeps.ask(sweep)
    (failed,) = [
        path
        for path in Path(sweep.store.paths.step(steps["answer"])).glob("slice-*.parquet")
        if path.name.endswith("1.parquet")
    ]
    failed.unlink()
    again = sweeps.plan(sweeps.config("noted", judge_engine={"fails_on": "never"}))
    for path in Path(again.store.paths.step(steps["verdict"])).glob("slice-*.parquet"):
        path.unlink()
    again = sweeps.plan(sweeps.config("noted", judge_engine={"fails_on": "never"}))
    third = keep_own(again.plan, again.work, own_steps(again.plan, ShareConfig(stage=1)))
    assert [slice_.index for slice_ in third[steps["verdict"]].todo] == [0, 2]


def test_the_shares_together_are_the_sweep(sweeps: Sweeps) -> None:
    """Run one after the other over one store, they leave nothing, and no row is asked twice."""
    sweeps.write_dataset()
    cells = [("plain", "strict"), ("noted", "strict")]

    def planned(share: ShareConfig | None) -> list[Any]:
        cluster = {"name": "local", "num_cpus": 2, "share": share}
        return [
            sweeps.config(
                setting,
                judge,
                engine={"fails_on": f"never {number}"},
                model={"name": f"model {number}"},
                cluster=cluster,
            )
            for setting, judge in cells
            for number in range(3)
        ]

    rows = 0
    for stage in (0, 1):
        for part in range(2):
            share = ShareConfig(stage=stage, part=part, parts=2)
            sweep = sweeps.plan(*planned(share))
            rows += sum(report.num_new for report in sweeps.ask(sweep))
    whole = sweeps.plan(*planned(None))
    assert whole.is_complete
    assert rows == whole.plan.num_requests
