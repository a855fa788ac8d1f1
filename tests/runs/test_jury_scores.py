"""A jury: its members are steps as they are alone, its score is one, and what a member lacks is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from read_back import export_run
from rich.console import Console

from eibench_ray.config.load import to_config
from eibench_ray.engines.engine import RowError
from eibench_ray.errors import ConfigError
from eibench_ray.estimate.plan_json import _greedy_repeats
from eibench_ray.plan.step_names import titles
from eibench_ray.report.leaderboard import render_markdown, render_table
from eibench_ray.report.leaderboard_files import to_frame, to_json_rows
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.runs.compare_run import compare_runs
from eibench_ray.runs.page_blocks import describe_scores
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest
from eibench_ray.runs.tracked_tables import sample_table

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.report.leaderboard_row import LeaderboardRow
    from eibench_ray.rows.request import Request
    from eibench_ray.runs.planning import PlannedSweep

# What each judge says of samples s000 to s009.
SAID = {"first": "1111100000", "second": "1111000000", "third": "1010100001"}


def judge(name: str, **options: Any) -> dict[str, Any]:
    model = {"name": f"{name}_model", "engine": {"kind": "echo", "fails_on": name}, "sees_image": False}
    return {"name": name, "kind": "correct", "model": model, "prompt": f"{name}: {{{{ answer }}}}", **options}


def jury(*members: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"name": "jury", "kind": "jury", "members": {one["name"]: one for one in members}, **options}


def members() -> list[dict[str, Any]]:
    return [judge(name) for name in SAID]


def say(request: Request) -> str:
    """Verdicts of the judges; an answer of the model under test."""
    name = request.user.partition(":")[0]
    if name not in SAID:
        return "an answer"
    return json.dumps({"correct": SAID[name][int(request.sample_id[1:])] == "1", "explanation": f"says {name}"})


def ask(sweeps: Sweeps, scripted: type[Scripted], *judges: dict[str, Any], say: Any = say) -> PlannedSweep:
    sweeps.write_dataset()
    sweep = sweeps.plan(*(sweeps.config(judge=one) for one in judges))
    sweeps.ask(sweep, scripted(say))
    return sweep


def lines(sweep: PlannedSweep) -> dict[str, LeaderboardRow]:
    results = Results(sweep.plan, sweep.store)
    return {cell.judge: results.score(cell, sweep.config.score) for cell in sweep.plan.cells}


def test_members_are_the_steps_that_they_are_alone(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    alone = sweeps.plan(*(sweeps.config(judge=one) for one in members())).plan
    both = sweeps.plan(*(sweeps.config(judge=one) for one in (*members(), jury(*members())))).plan

    assert both.steps == alone.steps
    *cells, together = both.cells
    assert together.verdicts == tuple(cell.verdicts[0] for cell in cells)
    assert together.seats == [(name, 0) for name in SAID]
    assert [name for name in titles(both).values() if "verdict" in name] == [
        f"verdict by {name} (made up) on echo (plain)" for name in SAID
    ]


def test_how_a_jury_decides_is_part_of_its_cell_and_of_no_step(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    mean, majority = (
        sweeps.plan(sweeps.config(judge=jury(*members(), vote=vote))).plan for vote in ("mean", "majority")
    )

    assert mean.steps == majority.steps
    assert mean.cells[0].key != majority.cells[0].key


def test_a_jury_is_one_judge_in_the_leaderboard(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweep = ask(sweeps, scripted, jury(*members()), jury(*members(), vote="majority") | {"name": "most"})

    row, most = lines(sweep).values()

    assert row.score.overall.value == pytest.approx((5 + 4 + 4) / 30)
    assert most.score.overall.value == 0.5  # the first five
    assert (row.score.overall.n, row.score.overall.coverage, row.score.statuses) == (10, 1.0, {"ok": 10})
    assert row.score.metric.name == "accuracy"
    assert row.agreement is not None
    assert row.agreement.n == 10
    assert row.agreement.coverage == dict.fromkeys(SAID, 1.0)
    # By hand: 4 of 10 samples have a dissenter, so 4 of their 6 ordered pairs differ; 13 ones and 17 zeros in all.
    assert row.agreement.alpha == pytest.approx(1 - (4 * 4 / 2) / 30 / (2 * 13 * 17 / (30 * 29)))
    [values] = (one for one in to_json_rows([row]))
    assert values["agreement"] == {"n": 10, "alpha": row.agreement.alpha, "coverage": dict.fromkeys(SAID, 1.0)}
    assert to_frame([row])["agreement_alpha"].to_list() == [row.agreement.alpha]
    markdown = render_markdown([row])
    assert f"{row.agreement.alpha:+.2f}" in markdown
    assert "alpha: agreement of a jury's members" in markdown
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(render_table([row]))
    assert "alpha" in captured.get()


def test_a_member_that_fails_leaves_the_jury_without_a_score_there(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    def fail(request: Request) -> str:
        if request.user.startswith("second") and request.sample_id in ("s001", "s002"):
            if request.sample_id == "s001":
                raise RowError(RowErrorKind.PROMPT, "no")
            return "perhaps"
        return say(request)

    sweep = ask(sweeps, scripted, jury(*members()), jury(*members(), quorum=2) | {"name": "two"}, say=fail)
    row, two = lines(sweep).values()

    assert row.score.statuses == {"ok": 8, "unparsed": 1, "judge_error": 1}
    assert (row.score.overall.coverage, row.is_partial, row.failed) == (0.8, True, None)
    assert (row.score.overall.bound_low, row.score.overall.bound_high) == (
        pytest.approx(0.8 * 8 / 24),
        pytest.approx(0.8 * 8 / 24 + 0.2),
    )
    assert two.score.overall.coverage == 1.0
    assert two.agreement is not None
    assert (two.agreement.n, two.agreement.coverage["second"]) == (10, 0.8)
    assert two.errors == 1
    assert "echo/plain/faces/two: member second has a score for 80.0% of the answers" in render_markdown([two])


def test_a_member_that_always_fails_is_named_and_a_quorum_goes_on_without_it(
    sweeps: Sweeps, scripted: type[Scripted]
) -> None:
    def fail(request: Request) -> str:
        if request.user.startswith("third"):
            raise RowError(RowErrorKind.PROMPT, "key refused")
        return say(request)

    sweep = ask(sweeps, scripted, jury(*members()), jury(*members(), quorum=2) | {"name": "two"}, say=fail)
    row, two = lines(sweep).values()

    assert row.failed == "all 10 replies of judge third are errors: prompt: key refused"
    assert (two.failed, two.score.overall.coverage) == (None, 1.0)
    assert two.score.overall.value == 9 / 20


def test_a_jury_is_missing_until_all_of_its_members_are_asked(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    ask(sweeps, scripted, *members()[:2])
    sweep = sweeps.plan(sweeps.config(judge=jury(*members())))
    row = lines(sweep)["jury"]

    assert row.score.statuses == {"missing": 10}
    engine = scripted(say)
    sweeps.ask(sweep, engine)
    assert {request.user.partition(":")[0] for request in engine.requests} == {"third"}
    assert lines(sweep)["jury"].score.statuses == {"ok": 10}


def test_members_may_repeat_and_may_be_rules(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    rule = {"name": "rule", "kind": "includes"}
    drawn = judge("first", repeats=2, sampling={"temperature": 0.5})
    greedy = judge("second", repeats=2)
    sweep = ask(sweeps, scripted, jury(drawn, greedy, rule))
    [cell] = sweep.plan.cells

    assert cell.seats == [("first", 0), ("first", 1), ("second", 0), ("second", 1)]
    assert _greedy_repeats(sweep.plan) == ["second"]
    assert lines(sweep)["jury"].score.overall.value == pytest.approx((5 + 4 + 0) / 30)


def test_each_answer_of_a_setting_that_repeats_is_judged_by_all_members(
    sweeps: Sweeps, scripted: type[Scripted]
) -> None:
    sweeps.write_dataset()
    raw = sweeps.config(judge=jury(*members())).model_dump()
    raw["setting"] |= {"repeats": 2, "sampling": {"temperature": 1.0}}
    sweep = sweeps.plan(to_config(raw))
    sweeps.ask(sweep, scripted(say))
    [cell] = sweep.plan.cells

    assert (len(cell.answers), len(cell.verdicts), cell.judge_repeats) == (2, 6, 3)
    assert "verdict by third (made up) on answer 2 of echo (plain)" in titles(sweep.plan).values()
    row = lines(sweep)["jury"]
    assert row.score.statuses == {"ok": 20}
    assert row.score.overall.value == pytest.approx(13 / 30)
    assert row.agreement is not None
    assert (row.agreement.n, row.agreement.coverage["third"]) == (20, 1.0)


def test_every_member_counts_for_marks(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    own = judge("second") | {"model": {"name": "echo", "engine": {"kind": "echo"}, "sees_image": True}}
    kin = judge("third")
    kin["model"]["family"] = "birds"
    foreign = judge("first")
    foreign["model"]["family"] = "fish"

    def cell(*judges: dict[str, Any], family: str | None = None) -> Any:
        return sweeps.plan(sweeps.config(judge=jury(*judges), model={"family": family})).plan.cells[0]

    assert cell(judge("first"), own).self_judged
    assert not cell(foreign, kin).self_judged
    assert (cell(foreign, kin, family="birds").same_family, cell(foreign, kin, family="birds").judge_family) == (
        True,
        "birds",
    )
    assert (cell(foreign, kin, family="cats").same_family, cell(foreign, kin).judge_family) == (False, "fish, birds")


def test_exported_rows_have_one_line_per_sample(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    sweep = ask(sweeps, scripted, jury(*members()))
    folder = tmp_path / "run"
    folder.mkdir()
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(folder)

    counts = export_run(folder, tmp_path / "out")

    assert counts["rows"] == 10
    rows = pl.read_parquet(tmp_path / "out" / "rows", hive_partitioning=True)
    assert rows["score"].to_list()[:2] == [1.0, pytest.approx(2 / 3)]
    assert json.loads(rows["details"][1]) == {"members": {"first": 1.0, "second": 1.0, "third": 0.0}}
    assert rows["explanation"][1] == "first: says first\nsecond: says second\nthird: says third"
    assert rows["reply"].null_count() == 10
    assert [json.loads(reply)["correct"] for reply in json.loads(rows["replies"][1])] == [True, True, False]


def test_compare_holds_a_jury_against_a_member(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    sweep = ask(sweeps, scripted, *members()[:1], jury(*members()))
    manifest = new_manifest(sweep.plan, tmp_path, sweep.config.store, sweep.config.score)

    [pair] = compare_runs([(manifest, sweep.store)], ("model",)).judges

    assert (pair.first, pair.second, pair.bias.difference) == ("first", "jury", pytest.approx(0.5 - 13 / 30))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (jury(judge("first")), "jury needs at least two members"),
        (jury(judge("first"), jury(*members()) | {"name": "inner"}), "that are no juries"),
        (jury(*members(), quorum=4), "a quorum of 4 cannot be reached by 3 members"),
        (jury(*members(), prompt="Vote."), "jury asks its members: leave judge.model, prompt"),
        (jury(*members(), vote="median"), "judge.vote is 'median'"),
        (judge("first") | {"members": {"one": judge("second")}}, "correct scores alone: leave judge.members out"),
        (
            {"name": "jury", "kind": "jury", "members": {"one": judge("first"), "two": judge("first")}},
            "two members are called 'first': give one another name with judge.members.KEY.name=NAME",
        ),
        (
            jury(judge("first"), judge("second", kind="rubric", scale=[{"value": 1}, {"value": 2}])),
            r"different metrics make no jury \(first: accuracy from 0.0 to 1.0, second: rating from 1.0 to 2.0\)",
        ),
    ],
)
def test_a_jury_that_cannot_decide_is_refused(sweeps: Sweeps, section: dict[str, Any], message: str) -> None:
    raw = sweeps.config().model_dump() | {"judge": section}
    with pytest.raises(ConfigError, match=message):
        to_config(raw)


def test_a_judge_without_members_is_recorded_without_the_key(sweeps: Sweeps) -> None:
    assert "members" not in sweeps.config().model_dump()["judge"]


def test_the_page_shows_what_each_member_says(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    def fail(request: Request) -> str:
        if request.user.startswith("third") and request.sample_id == "s000":
            raise RowError(RowErrorKind.ENGINE, "no")
        return say(request)

    sweep = ask(sweeps, scripted, jury(*members()), say=fail)
    results = Results(sweep.plan, sweep.store)
    (cell,) = sweep.plan.cells
    shown = describe_scores(list(results.join(cell)), results.metrics(cell)[0])["scores"]
    assert [shown[place][0][0][1:3] for place in (0, 1)] == [
        [None, "judge error; first 100.0, second 100.0, third judge error"],
        ["66.7", "first 100.0, second 100.0, third 0.0"],
    ]


def test_a_trackers_table_has_the_replies_of_all_members(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweep = ask(sweeps, scripted, jury(*members()))
    table = sample_table(Results(sweep.plan, sweep.store), sweep.plan.cells[0], 1, has_pictures=False)
    assert table is not None
    (row,) = (dict(zip(table.columns, values, strict=True)) for values in table.rows)
    replies = {name: json.loads(str(row[f"judge_reply of {name}"])) for name in SAID}
    assert {name: said["explanation"] for name, said in replies.items()} == {name: f"says {name}" for name in SAID}
    assert "judge_reply" not in row
