"""Models that differ in their adapters alone: one engine, and steps of their own."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tiny_adapter import LAYER, write_adapter

from eibench_ray.config.schema import ModelConfig
from eibench_ray.engines.assets import collect_assets
from eibench_ray.engines.blocker_checks import find_adapter_blocker
from eibench_ray.errors import PlanError
from eibench_ray.estimate.engine_profiles import engine_profiles
from eibench_ray.plan.blockers import block_cells, without_blocked
from eibench_ray.plan.slices import Slice, StepWork
from eibench_ray.rows.sample import Media, Sample
from eibench_ray.worker.request_builder import RequestBuilder

if TYPE_CHECKING:
    from conftest import Planner

    from eibench_ray.plan.graph import Plan

SAMPLE = Sample("s0", {"question": "why?"}, (Media("0.png", "d"),), ("Sun.",))


def adapted(name: str, rank: int = 8, **lora: Any) -> dict[str, Any]:
    """Changes by which a cell's model has an adapter of the hub."""
    return {"model.name": name, "model.engine.lora": {"source": f"me/{name}", "rank": rank} | lora}


def plan_three(planner: Planner) -> Plan:
    """Two adapters, and between them the base as it is loaded."""
    cells = (adapted("fine"), {}, adapted("coarse", rank=20))
    return planner.plan(*(planner.config(changes) for changes in cells))


def answers(plan: Plan) -> list[Any]:
    return [plan.steps[cell.answer] for cell in plan.cells]


def test_adapters_and_their_base_are_one_engine(planner: Planner) -> None:
    plan = plan_three(planner)
    [spec] = [spec for spec in plan.engines.values() if spec.name == "eye"]
    assert {step.engine for step in answers(plan)} == {spec.key}
    assert [(one.name, one.rank) for one in spec.adapters] == [("fine", 8), ("coarse", 20)]
    assert spec.settings["lora"] is None


def test_each_adapter_has_steps_of_its_own(planner: Planner) -> None:
    plan = plan_three(planner)
    assert len({step.id for step in answers(plan)}) == 3
    assert [plan.model_of(step) for step in answers(plan)] == ["fine", "eye", "coarse"]
    built = [RequestBuilder(step).build(SAMPLE, {}) for step in answers(plan)]
    assert len({one.digest for one in built if one}) == 3


def test_the_base_is_what_it_is_without_adapters(planner: Planner) -> None:
    alone = planner.plan(planner.config())
    assert alone.cells[0].answer in plan_three(planner).steps


def test_an_adapter_alone_names_its_engine(planner: Planner) -> None:
    plan = planner.plan(planner.config(adapted("fine")), planner.config(adapted("coarse")))
    assert [spec.name for spec in plan.engines.values()] == ["fine", "judge_model"]


def test_how_the_one_engine_runs_is_said_in_one_way(planner: Planner) -> None:
    with pytest.raises(PlanError, match=r"is loaded once for all cells, but model\.engine\.max_num_seqs is"):
        planner.plan(planner.config(), planner.config(adapted("fine") | {"model.engine.max_num_seqs": 8}))


def test_only_its_own_words_make_a_model_its_own_judge(planner: Planner) -> None:
    judged = {"judge.model.engine": {"kind": "vllm", "source": "me/eye", "max_model_len": 512}}
    base, fine = planner.plan(planner.config(judged)), planner.plan(planner.config(judged | adapted("fine")))
    assert [plan.cells[0].self_judged for plan in (base, fine)] == [True, False]


def test_an_adapter_that_is_not_there_blocks_its_own_cells(planner: Planner, tmp_path: Path) -> None:
    gone = adapted("fine", source=str(tmp_path / "gone"))
    plan = planner.plan(planner.config(gone), planner.config())
    spec = plan.engines[answers(plan)[0].engine]
    blocker = find_adapter_blocker(spec, spec.adapters[0], {}, date(2026, 11, 30), is_local=True)
    assert str(blocker) == f"fine: no adapter: {tmp_path / 'gone'}"
    assert blocker is not None
    assert blocker.remedy == "put the adapter there, or correct its engine.lora.source"
    work = {step: StepWork(3, 0, 0, (Slice(step, 0, 0, 3),)) for step in plan.steps}
    blocked = block_cells(plan, work, {spec.adapters[0].key: blocker})
    assert [bool(cell.blockers) for cell in blocked.cells] == [True, False]
    assert without_blocked(blocked).engines[spec.key].adapters == ()


def test_an_adapter_of_the_hub_is_fetched_with_its_base(planner: Planner) -> None:
    assets = collect_assets(plan_three(planner).engines.values())
    found = {str(asset.model): (asset.model.part.by if asset.model else "", asset.users) for asset in assets}
    assert found["me/eye@main"] == ("vllm", ("eye",))
    assert found["me/fine@main"] == ("adapter", ("fine",))


def test_the_same_adapter_in_two_folders_is_one(planner: Planner, tmp_path: Path) -> None:
    for name in ("here", "there"):
        write_adapter(tmp_path / name, {LAYER: (4, 4)})
    cells = [adapted(name, source=str(tmp_path / name)) for name in ("here", "there")]
    plan = planner.plan(*(planner.config(changes) for changes in cells))
    assert len({step.id for step in answers(plan)}) == 1


def test_rows_with_an_adapter_are_expected_to_take_longer(planner: Planner) -> None:
    plans = [planner.plan(planner.config(changes)) for changes in ({}, adapted("fine"))]
    speeds = []
    for plan in plans:
        profiles = engine_profiles(plan, planner.config().cluster, [])
        speeds.append(profiles[answers(plan)[0].engine].tokens_per_s)
    assert speeds[1] == pytest.approx(0.85 * speeds[0])


@pytest.mark.parametrize(
    ("engine", "remedy"),
    [
        ({"kind": "transformers", "source": "me/eye"}, "merge the adapter into its base"),
        (
            {"kind": "openai", "endpoint": "local", "base_url": "http://127.0.0.1:9/v1", "model": "m"},
            "set engine.model",
        ),
    ],
)
def test_other_kinds_say_what_to_do_with_an_adapter(engine: dict[str, Any], remedy: str) -> None:
    lora = {"lora": {"source": "me/fine", "rank": 8}}
    with pytest.raises(ValueError, match=rf"no engine of kind '{engine['kind']}' has the key lora: .*{remedy}"):
        ModelConfig.model_validate({"name": "eye", "sees_image": True, "engine": engine | lora})
