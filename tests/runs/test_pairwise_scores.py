"""Answers held against a baseline's: what is asked and shared, what decides, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from read_back import export_run

from eibench_ray.config.load import to_config
from eibench_ray.engines.engine import RowError
from eibench_ray.errors import ConfigError, PlanError
from eibench_ray.plan.graph import COMPARED
from eibench_ray.plan.step_names import titles
from eibench_ray.report.leaderboard import render_markdown
from eibench_ray.report.leaderboard_files import to_json_rows
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest
from eibench_ray.runs.tracked_tables import sample_table

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.config.schema import RunConfig
    from eibench_ray.report.leaderboard_row import LeaderboardRow
    from eibench_ray.rows.request import Request
    from eibench_ray.runs.planning import PlannedSweep

CALLS = [{"name": "answer", "role": "subject", "image": True, "prompt": "{{ question }}"}]
PROMPT = "Compare {{ first_answer }} with {{ second_answer }} on {{ question }}"


def model(name: str) -> dict[str, Any]:
    """A model whose answers say whose they are, by its system prompt."""
    engine = {"kind": "echo", "fails_on": f"never asked of {name}"}
    return {"name": name, "engine": engine, "sees_image": True, "system": f"You are {name}."}


def pairwise(baseline: str = "base", name: str = "pairwise", **options: Any) -> dict[str, Any]:
    judge = {"name": "judge_model", "engine": {"kind": "echo", "fails_on": name}, "sees_image": False}
    own = {"name": name, "kind": "pairwise", "model": judge, "prompt": PROMPT, "baseline": model(baseline)}
    return own | options


def cell(sweeps: Sweeps, subject: str = "new", judge: dict[str, Any] | None = None, **sections: Any) -> RunConfig:
    return sweeps.config(judge=judge or pairwise(), model=model(subject), **sections)


def say(request: Request) -> str:
    """The name of who answers; of the judge, that `new` wins in samples 0 to 3, ties in 4, and else the first place."""
    if not request.json_schema:
        assert request.system is not None
        return f"[{request.system.removeprefix('You are ').removesuffix('.')}]"
    number = int(request.sample_id[1:])
    winner = "first" if request.user.startswith("Compare [new]") else "second"
    better = winner if number < 4 else "tie" if number == 4 else "first"
    return json.dumps({"better": better, "explanation": f"the {better}"})


def ask(sweeps: Sweeps, scripted: type[Scripted], *cells: RunConfig, say: Any = say) -> PlannedSweep:
    sweep = sweeps.plan(*cells)
    sweeps.ask(sweep, scripted(say))
    return sweep


def lines(sweep: PlannedSweep) -> dict[str, LeaderboardRow]:
    results = Results(sweep.plan, sweep.store)
    return {one.name: results.score(one, sweep.config.score) for one in sweep.plan.cells}


@pytest.fixture(autouse=True)
def _has_a_dataset(sweeps: Sweeps) -> None:
    sweeps.write_dataset()


def test_both_orders_are_asked_and_only_what_both_say_decides(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    [row] = lines(ask(sweeps, scripted, cell(sweeps))).values()

    win_rate, first_place, consistent = row.score.metrics
    # Four wins, a tie, and five times the first place whoever stands there, which is a tie, too.
    assert (row.judge, win_rate.metric.name) == ("pairwise_vs_base", "win_rate")
    assert win_rate.overall.value == pytest.approx((4 + 0.5 + 5 * 0.5) / 10)
    assert first_place.overall.value == pytest.approx((4 * 0.5 + 0.5 + 5) / 10)
    assert consistent.overall.value == 0.5
    assert first_place.overall.ci_low is not None
    assert row.score.statuses == {"ok": 10}
    [values] = to_json_rows([row])
    assert values["metrics"]["first_place"]["ci95"] == [first_place.overall.ci_low, first_place.overall.ci_high]
    assert "first_place %" in render_markdown([row])


def test_a_judge_that_is_the_baseline_is_told(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    of_itself = pairwise() | {"model": model("base") | {"name": "judge"}}
    [fair], [partial] = (lines(ask(sweeps, scripted, cell(sweeps, judge=one))).values() for one in (None, of_itself))
    assert (fair.kinship, partial.kinship) == ("", "(judge is the baseline)")
    assert "(judge is the baseline): it compares answers with its own" in " ".join(render_markdown([partial]).split())
    assert [row["baseline_judges"] for row in to_json_rows([fair, partial])] == [False, True]


def test_the_baselines_answers_are_made_for_the_judge(sweeps: Sweeps) -> None:
    with_it = sweeps.plan(cell(sweeps)).plan
    also_asked = sweeps.plan(cell(sweeps), cell(sweeps, "base", {"name": "rule", "kind": "includes"})).plan

    assert list(with_it.steps) == list(also_asked.steps)
    [compared] = with_it.cells
    assert compared.baseline is not None
    assert compared.baseline.answers == (also_asked.cells[1].answer,)
    pair = [compared.answer, *compared.baseline.answers]
    orders = [[with_it.steps[verdict].inputs[word] for word in COMPARED] for verdict in compared.verdicts]
    assert orders == [pair, pair[::-1]]
    assert list(titles(with_it).values()) == [
        "answer by new (made up) (plain)",
        "answer by base (made up) (plain)",
        "verdict by pairwise (made up) on new, then base (plain)",
        "verdict by pairwise (made up) on base, then new (plain)",
    ]


def test_two_models_that_are_each_others_baseline_share_their_verdicts(
    sweeps: Sweeps, scripted: type[Scripted]
) -> None:
    sweep = ask(sweeps, scripted, cell(sweeps), cell(sweeps, "base", pairwise("new")))

    assert len(sweep.plan.steps) == 4
    new, base = lines(sweep).values()
    assert new.score.overall.value == pytest.approx(1 - base.score.overall.value)  # type: ignore[operator]
    assert new.score.metrics[1].overall == base.score.metrics[1].overall


def test_a_cell_that_compares_answers_with_themselves_is_left_out_and_named(
    sweeps: Sweeps, scripted: type[Scripted]
) -> None:
    sweep = ask(sweeps, scripted, *(cell(sweeps, name) for name in ("new", "base", "third")))

    assert [one.model for one in sweep.plan.cells] == ["new", "third"]
    assert sweep.plan.left_out == ("base/plain/faces/pairwise_vs_base",)
    with pytest.raises(PlanError, match="'base' would be compared with itself"):
        sweeps.plan(cell(sweeps, "base"))
    other = {"name": "brief", "calls": sweeps.config("brief").model_dump()["setting"]["calls"]}
    [one] = sweeps.plan(cell(sweeps, "base", pairwise(baseline_setting=other))).plan.cells
    assert one.judge == "pairwise_vs_base_brief"


def test_no_answer_of_the_baseline_no_score(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    def fail(request: Request) -> str:
        lost = {"s001": "base", "s002": "new"}.get(request.sample_id)
        if not request.json_schema and lost and say(request) == f"[{lost}]":
            raise RowError(RowErrorKind.PROMPT, "no")
        if request.json_schema and request.sample_id in ("s003", "s004") and request.user.startswith("Compare [base]"):
            if request.sample_id == "s003":
                raise RowError(RowErrorKind.PROMPT, "no")
            return '{"better": "neither"}'
        return say(request)

    [row] = lines(ask(sweeps, scripted, cell(sweeps), say=fail)).values()

    assert row.score.statuses == {"ok": 6, "unparsed": 1, "no_answer": 1, "no_baseline": 1, "judge_error": 1}
    assert (row.score.overall.coverage, row.score.num_unparsed, row.failed) == (0.6, 1, None)


def test_a_baseline_that_never_answers_is_the_reason_why_there_is_no_figure(
    sweeps: Sweeps, scripted: type[Scripted]
) -> None:
    def fail(request: Request) -> str:
        if say(request) == "[base]":
            raise RowError(RowErrorKind.PROMPT, "no")
        return say(request)

    [row] = lines(ask(sweeps, scripted, cell(sweeps), say=fail)).values()

    assert row.score.statuses == {"no_baseline": 10}
    assert row.failed == "no answer has a score: 10 replies lack an answer of the baseline to compare with"


def test_a_verdict_is_asked_again_only_where_an_answer_changed(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    ask(sweeps, scripted, cell(sweeps), say=say)
    again = scripted(say)
    sweeps.ask(sweeps.plan(cell(sweeps)), again)
    assert again.requests == []

    raw = cell(sweeps).model_dump()
    raw["judge"]["baseline"]["system"] = "You are third."
    other = scripted(say)
    sweeps.ask(sweeps.plan(to_config(raw)), other)
    assert sorted({say(request) for request in other.requests if not request.json_schema}) == ["[third]"]
    assert len(other.requests) == 30


def test_repeats_of_setting_and_judge_are_compared_one_by_one(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    raw = cell(sweeps, judge=pairwise(repeats=2, sampling={"temperature": 0.5})).model_dump()
    raw["setting"] |= {"repeats": 2, "sampling": {"temperature": 1.0}}
    sweep = ask(sweeps, scripted, to_config(raw))
    [one] = sweep.plan.cells

    assert one.baseline is not None
    assert (len(one.answers), len(one.baseline.answers), len(one.verdicts)) == (2, 2, 8)
    assert one.seats == [("pairwise", 0)] * 2 + [("pairwise", 1)] * 2
    for answer, compared, places in zip(one.answers, one.baseline.answers, ((0, 4), (4, 8)), strict=True):
        read = [set(sweep.plan.steps[step].inputs.values()) for step in one.verdicts[slice(*places)]]
        assert read == [{answer, compared}] * 4
    [row] = lines(sweep).values()
    assert row.score.statuses == {"ok": 40}
    assert row.score.noise is not None
    assert (row.score.noise.repeats, row.score.noise.n) == (2, 20)


def test_a_jury_may_compare(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    jury = {"name": "jury", "kind": "jury", "members": {name: pairwise(name=name) for name in ("one", "two")}}
    sweep = ask(sweeps, scripted, cell(sweeps, judge=jury), cell(sweeps, judge=pairwise(name="one")))
    together, alone = sweep.plan.cells

    assert together.judge == "jury_vs_base"
    assert together.verdicts[:2] == alone.verdicts
    assert together.seats == [("one", 0)] * 2 + [("two", 0)] * 2
    rows = lines(sweep)
    assert rows[together.name].score.overall == rows[alone.name].score.overall
    jury["members"]["two"] = pairwise("third", name="two")  # type: ignore[index]
    with pytest.raises(ConfigError, match="different baselines make no jury"):
        to_config(cell(sweeps).model_dump() | {"judge": jury})


def test_marks_and_counts_are_those_of_the_model_not_of_its_baseline(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path
) -> None:
    judge = pairwise()
    judge["baseline"] = {"name": "old", "engine": {"kind": "replay", "predictions": str(tmp_path)}, "sees_image": True}
    [one] = sweeps.plan(cell(sweeps, judge=judge)).plan.cells
    plan = sweeps.plan(cell(sweeps, judge=judge)).plan
    assert one.baseline is not None
    assert plan.source_of(*one.baseline.answers) == "recorded"
    assert plan.answer_source(one) == "made_up"

    noted = sweeps.config("noted").model_dump()["setting"]
    judge = pairwise(baseline_setting=noted)
    [row] = lines(ask(sweeps, scripted, cell(sweeps, judge=judge))).values()
    assert row.calls_truncated == 0
    assert row.score.statuses == {"ok": 10}


def test_exported_rows_say_what_decided(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    sweep = ask(sweeps, scripted, cell(sweeps))
    folder = tmp_path / "run"
    folder.mkdir()
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(folder)

    assert export_run(folder, tmp_path / "out")["rows"] == 10
    rows = pl.read_parquet(tmp_path / "out" / "rows", hive_partitioning=True).sort("sample_id")
    assert json.loads(rows["details"][0]) == {"placed_first": "win", "placed_second": "win"}
    assert json.loads(rows["details"][9]) == {"placed_first": "win", "placed_second": "defeat"}
    assert rows["explanation"][0] == "first: the first\nsecond: the second"
    assert rows["baseline_answer"].unique().to_list() == ["[base]"]
    assert [json.loads(reply)["better"] for reply in json.loads(rows["replies"][0])] == ["first", "second"]
    assert rows["reply"].null_count() == len(rows) == 10


def test_a_trackers_table_has_the_baselines_answer_and_both_replies(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweep = ask(sweeps, scripted, cell(sweeps))
    table = sample_table(Results(sweep.plan, sweep.store), sweep.plan.cells[0], 1, has_pictures=False)
    assert table is not None
    (row,) = (dict(zip(table.columns, values, strict=True)) for values in table.rows)
    said = [json.loads(str(row[f"judge_reply ({order} first)"]))["better"] for order in ("answer", "baseline")]
    assert (row["answer"], row["baseline_answer"], said) == ("[new]", "[base]", ["first", "second"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": None}, "choose whose the other is with model@judge.baseline=NAME"),
        ({"kind": "correct"}, "correct compares no answers: leave judge.baseline and baseline_setting out"),
        ({"kind": "correct", "baseline": None, "baseline_setting": {"name": "x", "calls": CALLS}}, "no answers: leave"),
        ({"prompt": "Is {{ first_answer }} good?"}, "has to read both"),
        ({"prompt": "{{ answer }} {{ first_answer }} {{ second_answer }}"}, "reads answer, which neither"),
    ],
)
def test_a_judge_that_cannot_compare_is_refused(sweeps: Sweeps, changes: dict[str, Any], message: str) -> None:
    raw = cell(sweeps).model_dump()
    raw["judge"] |= changes
    with pytest.raises((ConfigError, PlanError), match=message):
        sweeps.plan(to_config(raw))


def test_a_judge_without_a_baseline_is_recorded_without_the_key(sweeps: Sweeps) -> None:
    assert not {"baseline", "baseline_setting"} & sweeps.config().model_dump()["judge"].keys()
