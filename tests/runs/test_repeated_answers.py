"""A setting that repeats, from the first request to the leaderboard, the export, `show` and the scripts' files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from read_back import export_run, read_status

from eibench_ray.benchmarks.eibench.script_files import write_script_files
from eibench_ray.config.setting import SettingConfig
from eibench_ray.engines.engine import RowError
from eibench_ray.report.comparison_sections import to_sections
from eibench_ray.report.comparison_values import to_json
from eibench_ray.report.leaderboard import render_markdown
from eibench_ray.report.leaderboard_files import to_frame, to_json_rows
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.digests import derive_seed
from eibench_ray.runs.compare_run import compare_runs
from eibench_ray.runs.results import Results, open_run, score_run
from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest
from eibench_ray.runs.sample_page import render_sample
from eibench_ray.runs.shown_sample import show_sample
from eibench_ray.runs.tracked_cells import flat_scores
from eibench_ray.scoring.joined_row import JoinedRow

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.config.schema import RunConfig
    from eibench_ray.rows.request import Request
    from eibench_ray.runs.planning import PlannedSweep
    from eibench_ray.runs.run_record import RunManifest

RULE = {"name": "rule", "kind": "number"}
REPEATS = 4


def config(sweeps: Sweeps, judge: Any = RULE, *, setting: str = "plain", repeats: int = REPEATS) -> RunConfig:
    made = sweeps.config(setting, judge)
    keys = made.setting.model_dump() | {"repeats": repeats, "sampling": {"temperature": 1.0}}
    return made.model_copy(update={"setting": SettingConfig.model_validate(keys)})


def plan(sweeps: Sweeps, judge: Any = RULE, **keys: Any) -> PlannedSweep:
    if not (sweeps.folder / "faces").exists():
        sweeps.write_dataset(triggers=("7",))
    return sweeps.plan(config(sweeps, judge, **keys))


def answer(request: Request) -> str:
    """A number that follows from the request's seed: 7 in a half of them, 5 or 6 in the others."""
    if request.json_schema:
        return f'{{"explanation": "so", "correct": {int("so 7" in request.user)}, "total": 1}}'
    return f"so {(7, 5, 7, 6)[request.seed % 4]}"


def manifest_of(sweep: PlannedSweep, folder: Path) -> RunManifest:
    folder.mkdir(exist_ok=True)
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(folder)
    return manifest


def joined(sweep: PlannedSweep) -> list[JoinedRow]:
    return list(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]))


def texts(sweep: PlannedSweep) -> list[list[str | None]]:
    return [[one.text if one else None for one in row.answers] for row in joined(sweep)]


def test_each_repeat_is_asked_and_scored_by_itself(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    sweep, engine = plan(sweeps), scripted(answer)
    sweeps.ask(sweep, engine)
    assert len(engine.requests) == REPEATS * 10
    assert len({request.digest for request in engine.requests}) == REPEATS * 10
    rights = [[text == "so 7" for text in row] for row in texts(sweep)]
    assert 0 < sum(map(sum, rights)) < REPEATS * 10
    [row] = score_run(manifest_of(sweep, tmp_path / "run"), sweep.store)
    found = {one.metric.name: one.overall.value for one in row.score.metrics}
    assert list(found) == ["accuracy", "pass@2", "pass@4", "majority@4"]
    assert found["accuracy"] == pytest.approx(sum(map(sum, rights)) / 40)
    assert found["pass@4"] == sum(map(any, rights)) / 10
    votes = [Counter(row) for row in texts(sweep)]
    winners = [[text for text, count in vote.items() if count == max(vote.values())] for vote in votes]
    assert found["majority@4"] == pytest.approx(sum(("so 7" in won) / len(won) for won in winners) / 10)
    assert row.score.statuses == {"ok": 40}
    noise = row.score.model_noise
    assert noise is not None
    assert (noise.repeats, noise.n) == (REPEATS, 10)
    assert row.score.noise is None


def test_figures_of_repeats_stand_in_tables_files_and_trackers(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path
) -> None:
    sweep = plan(sweeps)
    sweeps.ask(sweep, scripted(answer))
    [row] = score_run(manifest_of(sweep, tmp_path / "run"), sweep.store)
    page = render_markdown([row])
    for words in ("pass@2", "majority@4", "model sd", "model noise %", "each sample was asked 4 times", "pass@k:"):
        assert words in page
    [values] = to_json_rows([row])
    assert values["metrics"]["pass@4"]["ci95"] is not None
    assert values["model_noise"]["repeats"] == REPEATS
    frame = to_frame([row])
    assert frame["model_repeats"].to_list() == [REPEATS]
    assert frame["metric_majority@4"].to_list() == [values["metrics"]["majority@4"]["value"]]
    sent = flat_scores(row)
    assert sent["pass@2"] == values["metrics"]["pass@2"]["value"]
    assert sent["model_variance_share"] == values["model_noise"]["variance_share"]


def test_a_sweep_that_was_stopped_half_way_asks_only_what_is_left(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    class Killed(BaseException):
        """Ends the process, as far as anybody in it can tell."""

    def until(request: Request) -> str:
        if len(first.requests) > 33:
            raise Killed
        return answer(request)

    first = scripted(until)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever of it comes through the tasks
        sweeps.ask(plan(sweeps, "strict"), first)
    left = plan(sweeps, "strict")
    assert 0 < left.num_done < left.plan.num_requests
    second = scripted(answer)
    sweeps.ask(left, second)
    assert len(second.requests) == left.plan.num_requests - left.num_done
    again = plan(sweeps, "strict")
    assert again.is_complete
    elsewhere = again.config.store.model_copy(update={"root": str(sweeps.folder / "elsewhere")})
    whole = sweeps.plan(config(sweeps, "strict").model_copy(update={"store": elsewhere}))
    sweeps.ask(whole, scripted(answer))
    assert texts(again) == texts(whole)
    assert all(None not in (*row.answers, *row.replies, *row.scores) for row in joined(again))


def test_more_repeats_later_ask_only_for_the_new_ones(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.ask(plan(sweeps, repeats=2), scripted(answer))
    before, engine = texts(plan(sweeps, repeats=2)), scripted(answer)
    sweep = plan(sweeps, repeats=3)
    sweeps.ask(sweep, engine)
    assert len(engine.requests) == 10
    assert [row[:2] for row in texts(sweep)] == before


def test_an_error_of_one_repeat_costs_what_needs_all(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    sweep = plan(sweeps)
    lost = sweep.plan.steps[sweep.plan.cells[0].answers[2]]

    def fail(request: Request) -> str:
        if request.sample_id == "s005" and request.seed in seeds:
            raise RowError(RowErrorKind.PROMPT, "too long")
        return answer(request)

    seeds = {derive_seed(lost.seed, "s005")}
    sweeps.ask(sweep, scripted(fail))
    [row] = score_run(manifest_of(sweep, tmp_path / "run"), sweep.store)
    found = {one.metric.name: one.overall for one in row.score.metrics}
    assert row.errors == 1
    assert row.score.statuses == {"ok": 39, "no_answer": 1}
    assert {name: one.coverage for name, one in found.items()} == {
        "accuracy": 1.0,
        "pass@2": 1.0,
        "pass@4": 0.9,
        "majority@4": 0.9,
    }
    assert found["accuracy"].is_open


def test_export_has_a_row_per_repeat_of_both(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    judge = sweeps.config().judge.model_dump() | {"repeats": 2, "sampling": {"temperature": 1.0}}
    sweep = plan(sweeps, judge, repeats=3)
    sweeps.ask(sweep, scripted(answer))
    manifest_of(sweep, tmp_path / "run")
    counts = export_run(tmp_path / "run", tmp_path / "out")
    rows = pl.scan_parquet(tmp_path / "out" / "rows", hive_partitioning=True).collect()
    assert counts["rows"] == rows.height == 10 * 3 * 2
    first = rows.filter(pl.col("sample_id") == "s000")
    assert first.select("answer_repeat", "repeat").rows() == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
    assert first["answer"].to_list() == [text for text in texts(sweep)[0] for _ in range(2)]
    assert rows["score"].to_list() == [float("7" in text) for text in rows["answer"]]


def test_show_and_status_name_every_repeat(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    sweep = plan(sweeps, "strict", repeats=2)
    sweeps.ask(sweep, scripted(answer))
    manifest_of(sweep, tmp_path / "run")
    shown = show_sample(sweep.plan, sweep.store, "s003")
    assert {one.trace for one in shown.steps} == {"sent"}
    page = "\n".join(line.plain for line in render_sample(shown, draws=False))
    for words in ("answer by echo", "answer 2 by echo", "on answer 2 of echo", "answer 1: recall", "answer 2: recall"):
        assert words in page
    status = read_status(tmp_path / "run")
    assert (status["requests"], status["requests_done"]) == (40, 40)
    assert [cell["requests"] for cell in status["cells"]] == [40]


def test_compare_tells_a_models_own_noise(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    judge = sweeps.config().judge.model_dump() | {"repeats": 2, "sampling": {"temperature": 1.0}}
    sweep = plan(sweeps, judge)
    sweeps.ask(sweep, scripted(answer))
    manifest = manifest_of(sweep, tmp_path / "run")
    compared = compare_runs([(manifest, sweep.store)], ["model"])
    [row] = score_run(manifest, sweep.store)
    assert {one.of: one.noise for one in compared.noises} == {"judge": row.score.noise, "model": row.score.model_noise}
    assert {one["of"]: one["repeats"] for one in to_json(compared)["noises"]} == {"judge": 2, "model": REPEATS}
    titles = [section.title for section in to_sections(compared)]
    assert {title.split(":")[0] for title in titles} >= {"Repeats", "Repeated answers"}
    assert row.score.noise is not None
    assert (row.score.noise.n, row.score.noise.sd) == (40, 0.0)  # the judge says the same each time


def test_the_scripts_files_have_each_repeat_beside_its_judgements(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path
) -> None:
    sweep = plan(sweeps, "strict", repeats=2)
    sweeps.ask(sweep, scripted(answer))
    run = open_run(manifest_of(sweep, tmp_path / "run"), sweep.store)
    write_script_files(run, tmp_path / "out", {})
    names = {
        path.name.removeprefix("echo.plain.faces.strict."): path for path in (tmp_path / "out" / "eibench").iterdir()
    }
    assert set(names) == {
        "answers.jsonl",
        "judgements.jsonl",
        "repeat2.answers.jsonl",
        "repeat2.judgements.jsonl",
    }
    second = names["repeat2.answers.jsonl"].read_text().splitlines()
    assert [line.rsplit('"', 2)[1] for line in second] == [row[1] for row in texts(sweep)]
