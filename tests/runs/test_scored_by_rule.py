"""A rule scores answers at once: nobody is asked, and what it cannot read is wrong or missing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from read_back import export_run
from rich.console import Console

from eibench_ray.config.load import is_known_key, to_config
from eibench_ray.errors import ConfigError, PlanError
from eibench_ray.report.leaderboard import render_markdown, render_table
from eibench_ray.report.leaderboard_files import to_json_rows
from eibench_ray.runs.planning import plan_sweep
from eibench_ray.runs.results import Results, score_run
from eibench_ray.runs.run_record import RunManifest, new_manifest, new_status, write_manifest
from eibench_ray.scoring import scorer_registry
from eibench_ray.scoring.rules import answer_pattern

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.report.leaderboard_row import LeaderboardRow
    from eibench_ray.rows.request import Request
    from eibench_ray.runs.planning import PlannedSweep

RULE = """
from dataclasses import dataclass
from typing import Literal
from eibench_ray.scoring.scorer import Metric, Score, Scorer, ScoreStatus

@dataclass(frozen=True, slots=True)
class NamesCause(Scorer):
    number: int = 0
    mode: Literal["one", "any"] = "one"
    words: tuple[str, ...] = ("cause",)
    fails: tuple[str, ...] = ()
    metrics = (Metric("named"), Metric("mistakes", unit="words", direction="lower", format=".0f", high=9.0))

    def read(self, sample, answer, reply):
        if not any(word in answer for word in self.words):
            return Score(sample.sample_id, status=ScoreStatus.UNPARSED)
        if answer in self.fails:
            raise KeyError(answer)
        right = sample.targets[self.number] in answer
        return Score(sample.sample_id, {"named": float(right), "mistakes": 1.0}, details={"read": answer[:9]})
"""


@pytest.fixture(autouse=True)
def names_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's scorer, known as it is to a command with --config-dir."""
    path = tmp_path / "names_cause.py"
    path.write_text(RULE)
    monkeypatch.setattr(scorer_registry, "_files", {"names_cause": str(path)})
    return path


def judge(**options: Any) -> dict[str, Any]:
    return {"name": "rule", "kind": "names_cause", **options}


def say(request: Request) -> str:
    """The right cause in samples 0 to 3, another in 4 to 6, and none in the others."""
    number = int(request.sample_id[1:])
    return f"cause {number}.0" if number < 4 else "cause x" if number < 7 else "no idea"


def ask(sweeps: Sweeps, scripted: type[Scripted], **options: Any) -> tuple[PlannedSweep, Scripted]:
    sweeps.write_dataset(emotions={4: "sad", 8: "sad"})
    sweep, engine = sweeps.plan(sweeps.config(judge=judge(**options))), scripted(say)
    sweeps.ask(sweep, engine)
    return sweep, engine


def line(sweep: PlannedSweep, **how: Any) -> LeaderboardRow:
    return Results(sweep.plan, sweep.store).score(sweep.plan.cells[0], sweep.config.score, **how)


def manifest_of(sweep: PlannedSweep, folder: Path) -> RunManifest:
    folder.mkdir()
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(folder)
    return manifest


def test_nobody_is_asked_about_the_answers(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweep, engine = ask(sweeps, scripted)
    [cell] = sweep.plan.cells
    assert (cell.verdicts, cell.steps) == ((), (cell.answer,))
    assert len(engine.requests) == 10
    assert [spec.name for spec in sweep.plan.engines.values()] == ["echo"]
    assert (sweep.plan.judge_source(cell), cell.self_judged, cell.same_family) == ("rule", False, False)
    assert line(sweep).failed is None


def test_what_a_rule_cannot_read_is_wrong_and_counted(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    row = line(ask(sweeps, scripted)[0])
    named, mistakes = row.score.metrics
    assert (named.overall.value, named.overall.coverage, named.overall.is_open) == (0.4, 1.0, False)
    assert mistakes.overall.value == (7 * 1 + 3 * 9) / 10  # where lower is better, the greatest is the worst
    assert row.score.statuses == {"ok": 7, "unparsed": 3}
    [values] = to_json_rows([row])
    assert (values["unparsed"], values["metric"], values["value"], values["judge_source"]) == (3, "named", 0.4, "rule")
    markdown = render_markdown([row])
    assert "| mistakes words |" in markdown
    for note in ("mistakes words: lower is better", "unparsed: answers in which the rule found nothing to score"):
        assert note in markdown
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        console.print(render_table([row]))
    assert "faces judged by rule" in captured.get()


def test_or_missing_and_lowers_the_coverage(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    row = line(ask(sweeps, scripted, unparsed="missing")[0])
    overall = row.score.overall
    assert (overall.value, overall.coverage) == (4 / 7, 0.7)
    assert (overall.bound_low, overall.bound_high) == (0.4, 0.7)
    assert row.score.statuses == {"ok": 7, "unparsed": 3}
    assert row.is_partial


def test_a_cell_in_which_a_rule_reads_nothing_says_so(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    row = line(ask(sweeps, scripted, unparsed="missing", words=["nothing"])[0])
    assert row.failed == (
        "no answer has a score: 10 answers hold nothing that could be scored; the first answer is 'cause 0.0'"
    )
    assert line(ask(sweeps, scripted, words=["nothing"])[0]).failed is None


def test_a_scorer_that_fails_on_one_answer_costs_that_row_alone(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path
) -> None:
    sweep, _ = ask(sweeps, scripted, fails=["cause 1.0"])
    [row] = score_run(manifest_of(sweep, tmp_path / "run"), sweep.store)
    overall = row.score.overall
    assert (overall.value, overall.num_scored, overall.coverage) == (3 / 9, 9, 0.9)
    assert (overall.bound_low, overall.bound_high) == (0.3, 0.4)
    assert row.score.statuses == {"ok": 6, "unparsed": 3, "scorer_error": 1}
    assert (row.is_partial, row.failed) == (True, None)
    note = "its scorer failed on 1 answer, of sample 's001' (scorer_error): the scorer NamesCause ended in KeyError: "
    assert (row.scorer_error or "").startswith(note)
    assert to_json_rows([row])[0]["scorer_error"] == row.scorer_error
    assert render_markdown([row]).count(note) == 1
    export_run(tmp_path / "run", tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / "rows", hive_partitioning=True)
    assert rows.select("score", "score_status").rows()[:3] == [(1.0, "ok"), (None, "scorer_error"), (1.0, "ok")]
    assert rows["explanation"][1].startswith("the scorer NamesCause ended in KeyError")


def test_a_pattern_that_takes_for_ever_on_one_answer_costs_that_row_alone(
    sweeps: Sweeps, scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_pattern, "LIMIT_S", 0.1)
    sweeps.write_dataset()
    regex = {"name": "pattern", "kind": "regex", "pattern": "cause|(a|a)*[bc]"}
    sweep = sweeps.plan(sweeps.config(judge=regex), sweeps.config(judge=judge()))
    sweeps.ask(sweep, scripted(lambda request: "a" * 60 if request.sample_id == "s003" else "cause"))
    by_pattern, other = (Results(sweep.plan, sweep.store).score(cell, sweep.config.score) for cell in sweep.plan.cells)
    assert (by_pattern.score.overall.num_scored, by_pattern.score.statuses["scorer_error"]) == (9, 1)
    note = "its scorer failed on 1 answer, of sample 's003' (scorer_error): the pattern 'cause|(a|a)*[bc]' takes more"
    assert (by_pattern.scorer_error or "").startswith(note)
    assert (other.scorer_error, other.score.overall.num_scored) == (None, 10)


def test_a_scorer_that_fails_on_every_answer_is_said_in_one_paragraph(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    row = line(ask(sweeps, scripted, number=9, words=[""])[0])
    assert row.score.statuses == {"scorer_error": 10}
    assert row.failed == (
        "no answer has a score: its scorer failed on 10 answers, the first of sample 's000' (scorer_error): the scorer "
        "NamesCause ended in IndexError: tuple index out of range; repair it, and report again: nothing has to be "
        "asked for that"
    )
    assert render_markdown([row]).count("its scorer failed") == 1


def test_options_reach_the_scorer_and_share_the_answers(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweep, _ = ask(sweeps, scripted, number=1)
    assert line(sweep).score.overall.value == 0.0
    assert sweep.plan.cells[0].scorer.options == {"number": 1, "mode": "one", "words": ["cause"], "fails": []}
    again = sweeps.plan(sweeps.config(judge=judge()), sweeps.config(judge=judge(number=1) | {"name": "second"}))
    assert again.is_complete
    assert len({cell.answer for cell in again.plan.cells}) == 1


def test_scores_are_given_by_any_column_of_the_samples(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path
) -> None:
    sweep, _ = ask(sweeps, scripted)
    assert line(sweep).score.groups == {}
    groups = line(sweep, group_by=["emotion"]).score.groups["emotion"]
    assert {name: (found.n, found.value) for name, found in groups.items()} == {"happy": (8, 0.5), "sad": (2, 0.0)}
    [row] = score_run(manifest_of(sweep, tmp_path / "run"), sweep.store, group_by=["source", "emotion"])
    assert {column: len(named) for column, named in row.score.groups.items()} == {"source": 10, "emotion": 2}
    assert "## By emotion: faces judged by rule" in render_markdown([row])
    with pytest.raises(ConfigError, match=r"dataset 'faces' has no column mood: it can be grouped by .*emotion"):
        score_run(manifest_of(sweep, tmp_path / "again"), sweep.store, group_by=["mood"])


def test_the_dataset_says_by_which_columns(sweeps: Sweeps) -> None:
    sweeps.write_dataset(emotions={4: "sad"})
    raw = sweeps.config(judge=judge()).model_dump()
    raw["dataset"]["group_by"] = ["emotion"]
    sweep = plan_sweep([to_config(raw)], must_exist=True)
    sweeps.ask(sweep)
    assert list(line(sweep).score.groups["emotion"]) == ["happy", "sad"]
    raw["dataset"]["group_by"] = ["mood"]
    with pytest.raises(PlanError, match=r"dataset 'faces' has no column mood to score apart by"):
        plan_sweep([to_config(raw)], must_exist=True)


def test_exported_rows_have_the_rules_reading_and_no_reply(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path
) -> None:
    sweep, _ = ask(sweeps, scripted)
    manifest_of(sweep, tmp_path / "run")
    counts = export_run(tmp_path / "run", tmp_path / "out")
    assert counts["rows"] == 10
    rows = pl.read_parquet(tmp_path / "out" / "rows", hive_partitioning=True)
    assert rows.select("metric", "score", "score_status", "reply", "judge_source").rows()[6:8] == [
        ("named", 0.0, "ok", None, "rule"),
        ("named", 0.0, "unparsed", None, "rule"),
    ]
    assert rows["details"].to_list()[:1] == ['{"read": "cause 0.0"}']


def test_a_run_is_read_again_by_the_file_that_scored_it_and_has_no_figure_without(
    sweeps: Sweeps, scripted: type[Scripted], names_cause: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, _ = ask(sweeps, scripted)
    monkeypatch.setattr(scorer_registry, "_files", {})  # as in a process without --config-dir
    assert line(sweep).score.overall.value == 0.4
    names_cause.write_text(RULE.replace("number: int", "place: int").replace("self.number", "self.place"))
    scorer_registry._load.cache_clear()
    assert re.match(
        r"scorer missing: the scorer 'names_cause' of this run had options .*number", line(sweep).failed or ""
    )
    names_cause.unlink()
    scorer_registry._load.cache_clear()
    assert re.search(r"names_cause\.py ended in FileNotFoundError", line(sweep).failed or "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numbr": 1}, r"judge\.numbr: there is no such key; did you mean 'judge\.number'\?"),
        ({"number": "1"}, r"judge\.number is '1': input should be a valid integer"),
        ({"mode": "all"}, r"judge\.mode is 'all': input should be 'one' or 'any'"),
        ({"unparsed": "wrongly"}, r"judge\.unparsed is 'wrongly'"),
        ({"repeats": 2}, r"judge: names_cause is a rule and asks nobody"),
        ({"prompt": "How right?"}, r"is a rule and asks nobody: leave judge\.model, prompt and repeats out"),
        ({"kind": "names_causes"}, r"judge\.kind is 'names_causes': there is no scorer 'names_causes'"),
    ],
)
def test_a_wrong_option_is_named_by_its_full_key(
    sweeps: Sweeps, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before_the_file_is_known:
        before_the_file_is_known.setattr(scorer_registry, "_files", {})
        assert not is_known_key("judge.numbr")
    raw = sweeps.config().model_dump() | {"judge": judge() | changes}
    with pytest.raises(ConfigError, match=message):
        to_config(raw)


def test_a_judge_that_asks_needs_somebody_to_ask_and_counts_no_reply_as_wrong(sweeps: Sweeps) -> None:
    strict = sweeps.config().model_dump()
    strict["judge"]["model"] = None
    with pytest.raises(ConfigError, match=r"strict asks a judge: choose who with model@judge\.model=NAME"):
        to_config(strict)
    wrong = sweeps.config().model_dump()
    wrong["judge"]["unparsed"] = "wrong"
    with pytest.raises(ConfigError, match=r"says nothing of the answer: leave judge\.unparsed out"):
        to_config(wrong)
