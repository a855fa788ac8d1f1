"""A run compared: what stands in the store becomes differences, biases and correlations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.config.schema import RunConfig
from eibench_ray.engines.engine import RowError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Request
from eibench_ray.runs.compare_run import compare_runs
from eibench_ray.runs.results import score_run
from eibench_ray.runs.run_record import RunManifest, new_manifest
from eibench_ray.scoring.cell_comparison import Comparison, Side, compare_cells
from eibench_ray.scoring.paired_tests import adjust_holm
from eibench_ray.scoring.scored_cell import ScoredCell

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.runs.planning import PlannedSweep

NUM_SAMPLES = 10
MODELS, SETTINGS, JUDGES = ("able", "dull"), ("plain", "brief"), ("mild", "stern")


def reply(request: Request) -> str:
    """Able names all causes in many words, dull none; the stern judge grants one cause less. s003 has no answer, s004
    no verdict by the stern one.
    """
    if request.json_schema is None:
        if request.sample_id == "s003":
            raise RowError(RowErrorKind.PROMPT, "too long")
        return "all the causes" if "able" in (request.system or "") else "none"
    if request.sample_id == "s004" and request.user.startswith("stern"):
        return "I cannot say."
    total = request.json_schema["properties"]["correct"]["maximum"]
    correct = total if "all the causes" in request.user else 1
    return json.dumps({"explanation": "", "correct": correct - request.user.startswith("stern"), "total": total})


def plan_all(sweeps: Sweeps) -> PlannedSweep:
    return sweeps.plan(
        *(
            sweeps.config(setting, judge, model={"name": model, "system": f"You are {model}."})
            for model in MODELS
            for setting in SETTINGS
            for judge in JUDGES
        )
    )


def manifest_of(sweep: PlannedSweep) -> RunManifest:
    return new_manifest(sweep.plan, Path("run"), sweep.config.store, sweep.config.score)


@pytest.fixture
def compared(sweeps: Sweeps, scripted: type[Scripted]) -> Comparison:
    sweeps.write_dataset(range(NUM_SAMPLES))
    sweep = plan_all(sweeps)
    sweeps.ask(sweep, scripted(reply))
    return compare_runs([(manifest_of(sweep), sweep.store)], ["model", "setting"])


def test_models_are_compared_within_a_setting_and_settings_within_a_model(compared: Comparison) -> None:
    assert [(p.side, p.judge, p.within, p.first, p.second) for p in compared.pairs] == [
        ("model", "mild", "plain", "able", "dull"),
        ("model", "mild", "brief", "able", "dull"),
        ("model", "stern", "plain", "able", "dull"),
        ("model", "stern", "brief", "able", "dull"),
        ("setting", "mild", "able", "plain", "brief"),
        ("setting", "mild", "dull", "plain", "brief"),
        ("setting", "stern", "able", "plain", "brief"),
        ("setting", "stern", "dull", "plain", "brief"),
    ]
    assert {pair.dataset for pair in compared.pairs} == {"faces"}


def test_a_difference_counts_only_samples_with_both_verdicts_and_is_adjusted_in_its_table(
    compared: Comparison,
) -> None:
    for pair in compared.pairs:
        assert pair.paired.n == pair.paired.num_clusters == NUM_SAMPLES - (1 if pair.judge == "mild" else 2)
    mild = compared.pairs[0]
    # Samples 0 to 9 without 3: three of 2 causes, three of 3, three of 4, of which dull has one.
    assert mild.paired.difference == pytest.approx(1 - (3 / 2 + 3 / 3 + 3 / 4) / 9)
    assert mild.paired.p_value == pytest.approx(2 / 2**9)  # nine pictures, all in favour of able
    assert mild.p_holm == pytest.approx(2 * 2 / 2**9)
    same = compared.pairs[4]
    assert (same.paired.difference, same.paired.p_value, same.p_holm) == (0.0, 1.0, 1.0)


def test_one_family_of_tests_may_span_all_tables(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    sweep = plan_all(sweeps)
    sweeps.ask(sweep, scripted(reply))
    compared = compare_runs([(manifest_of(sweep), sweep.store)], ["model", "setting"], family="all")
    assert [pair.p_holm for pair in compared.pairs] == adjust_holm([pair.paired.p_value for pair in compared.pairs])
    assert compared.pairs[0].p_holm == pytest.approx(8 * 2 / 2**9)


def test_judges_that_graded_the_same_answers_are_compared(compared: Comparison) -> None:
    (judges,) = compared.judges
    assert (judges.first, judges.second, judges.num_cells) == ("mild", "stern", 4)
    assert judges.over_samples.n == 4 * (NUM_SAMPLES - 2)
    assert judges.bias.num_clusters == NUM_SAMPLES - 2
    assert judges.bias.difference is not None
    assert judges.bias.difference > 0.25
    assert judges.over_cells.n == 4
    assert judges.over_cells.rho == pytest.approx(1.0)
    assert compared.panels == ()


def test_answers_of_one_length_have_no_length_bias_to_tell(compared: Comparison) -> None:
    assert len(compared.lengths) == 8
    assert {one.correlation.rho for one in compared.lengths} == {None}
    assert {one.correlation.n for one in compared.lengths if one.judge == "mild"} == {NUM_SAMPLES - 1}


def test_longer_answers_that_score_higher_show(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    def grow(request: Request) -> str:
        number = int(request.sample_id[1:])
        if request.json_schema is None:
            return "word " * (1 + number)
        total = request.json_schema["properties"]["correct"]["maximum"]
        return json.dumps({"explanation": "", "correct": total if number > 4 or number == 2 else 0, "total": total})

    sweeps.write_dataset(range(NUM_SAMPLES))
    sweep = sweeps.plan()
    sweeps.ask(sweep, scripted(grow))
    compared = compare_runs([(manifest_of(sweep), sweep.store)], ["model", "setting"])
    (length,) = compared.lengths
    assert length.correlation.rho is not None
    assert length.correlation.rho > 0.6
    assert length.correlation.ci_low is not None
    assert length.correlation.ci_low > 0
    assert (compared.pairs, compared.judges, compared.panels) == ((), (), ())


def test_means_are_the_leaderboards_where_nothing_is_missing(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    sweep = plan_all(sweeps)
    sweeps.ask(sweep)
    board = {
        (row.model, row.setting, row.judge): row.score.overall for row in score_run(manifest_of(sweep), sweep.store)
    }
    for pair in compare_runs([(manifest_of(sweep), sweep.store)], ["model"]).pairs:
        assert pair.metric.name == "recall"
        assert pair.paired.first == pytest.approx(board[pair.first, pair.within, pair.judge].value)
        assert pair.paired.second == pytest.approx(board[pair.second, pair.within, pair.judge].value)


def test_a_judge_that_favours_its_kin_shows(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    """The mild judge is of able's family and grants all there; else it agrees with the stern one, a stranger, that
    able and dull name one cause and dim none.
    """
    answers = {"able": "all the causes", "dull": "one cause", "dim": "nothing"}

    def grade(request: Request) -> str:
        if request.json_schema is None:
            return next(answer for name, answer in answers.items() if name in (request.system or ""))
        total = request.json_schema["properties"]["correct"]["maximum"]
        is_kin = request.user.startswith("mild") and "all the causes" in request.user
        return json.dumps({"correct": total if is_kin else int("nothing" not in request.user), "total": total})

    def related(config: RunConfig) -> RunConfig:
        kin = config.judge.model.model_copy(update={"family": "llama" if config.judge.name == "mild" else "gpt"})
        return config.model_copy(update={"judge": config.judge.model_copy(update={"model": kin})})

    sweeps.write_dataset(range(NUM_SAMPLES))
    families = {"able": "llama", "dull": "qwen", "dim": "qwen"}
    models = [{"name": name, "family": family, "system": f"You are {name}."} for name, family in families.items()]
    other = {"fails_on": "never"}  # an engine of its own
    cells = [
        related(sweeps.config("plain", judge, model=model, judge_engine=other)) for model in models for judge in JUDGES
    ]
    sweep = sweeps.plan(*cells)
    sweeps.ask(sweep, scripted(grade))
    (found,) = compare_runs([(manifest_of(sweep), sweep.store)], ["model"]).preferences
    assert (found.judge, found.against, found.own, found.others) == ("mild", "stern", ("able",), ("dull", "dim"))
    assert found.slope == pytest.approx(1)
    assert found.excess.first == 1
    assert found.excess.difference is not None
    assert found.excess.difference > 0.4
    board = {(row.model, row.judge): row.kinship for row in score_run(manifest_of(sweep), sweep.store)}
    assert {cell for cell, kinship in board.items() if kinship == "(same family)"} == {("able", "mild")}


def test_a_judges_noise_is_measured_where_it_repeats(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    config = sweeps.config()
    sweep = sweeps.plan(config.model_copy(update={"judge": config.judge.model_copy(update={"repeats": 3})}))
    sweeps.ask(sweep)
    (one,) = compare_runs([(manifest_of(sweep), sweep.store)], ["model"]).noises
    (row,) = score_run(manifest_of(sweep), sweep.store)
    assert one.noise == row.score.noise
    assert (one.noise.repeats, one.noise.n) == (3, NUM_SAMPLES)
    assert one.noise.differ is not None
    assert one.noise.differ > 0.5  # echo's verdicts follow from the seed
    assert dict(row.score.statuses) == {"ok": 3 * NUM_SAMPLES}
    assert row.score.overall.n == NUM_SAMPLES


def test_a_run_that_has_not_begun_has_dashes_for_all(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    sweep = plan_all(sweeps)
    compared = compare_runs([(manifest_of(sweep), sweep.store)], ["model", "setting"])
    assert {(pair.paired.n, pair.paired.difference, pair.p_holm) for pair in compared.pairs} == {(0, None, None)}
    assert {(one.correlation.n, one.correlation.rho) for one in compared.lengths} == {(0, None)}
    assert [(pair.over_samples.n, pair.alpha, pair.bias.difference) for pair in compared.judges] == [(0, None, None)]


def with_prompt(config: RunConfig, prompt: str) -> RunConfig:
    """The same cell, its judge asked in other words."""
    return config.model_copy(update={"judge": config.judge.model_copy(update={"prompt": prompt})})


def test_a_judges_prompt_before_and_after_is_two_judges(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    old = sweeps.config("plain", "mild", model={"name": "able", "system": "You are able."})
    new = with_prompt(old, f"stern now: {old.judge.prompt}")
    runs = []
    for config in (old, new):
        sweep = sweeps.plan(config)
        sweeps.ask(sweep, scripted(reply))
        runs.append((manifest_of(sweep), sweep.store))
    compared = compare_runs(runs, ["model", "setting"])
    (judges,) = compared.judges
    assert (judges.first, judges.second, judges.num_cells) == ("mild (A)", "mild (B)", 1)
    assert judges.bias.difference is not None
    assert judges.bias.difference > 0.25
    assert [(one.model, one.setting, one.judge) for one in compared.lengths] == [
        ("able", "plain", "mild (A)"),
        ("able", "plain", "mild (B)"),
    ]
    assert [run.letter for run in compared.runs] == ["A", "B"]
    assert compare_runs(runs[:1], ["model"]).runs == ()


def test_what_a_setting_and_a_model_mean_in_two_runs_is_told_apart(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    plain = sweeps.config("plain", model={"name": "able", "system": "You are able."})
    changed = sweeps.config("brief", model={"name": "able", "system": "You are able."})
    changed = changed.model_copy(update={"setting": changed.setting.model_copy(update={"name": "plain"})})
    renamed = sweeps.config("plain", model={"name": "able", "system": "You are dull."})
    runs = []
    for config in (plain, changed, renamed):
        sweep = sweeps.plan(config)
        sweeps.ask(sweep, scripted(reply))
        runs.append((manifest_of(sweep), sweep.store))
    settings = compare_runs(runs[:2], ["model", "setting"])
    assert [(pair.side, pair.within, pair.first, pair.second) for pair in settings.pairs] == [
        ("setting", "able", "plain (A)", "plain (B)")
    ]
    models = compare_runs([runs[0], runs[2]], ["model", "setting"])
    assert [(pair.side, pair.within, pair.first, pair.second) for pair in models.pairs] == [
        ("model", "plain", "able (A)", "able (B)")
    ]
    assert models.pairs[0].paired.difference is not None
    assert models.pairs[0].paired.difference > 0


def test_a_cell_that_two_runs_share_is_one_and_samples_are_matched(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    able, dull = ({"name": name, "system": f"You are {name}."} for name in MODELS)
    runs = []
    for configs in ([sweeps.config(model=able, limit=6)], [sweeps.config(model=able), sweeps.config(model=dull)]):
        sweep = sweeps.plan(*configs)
        sweeps.ask(sweep, scripted(reply))
        runs.append((manifest_of(sweep), sweep.store))
    (pair,) = compare_runs(runs, ["model"]).pairs
    assert (pair.first, pair.second, pair.paired.n) == ("able", "dull", NUM_SAMPLES - 1)
    few = sweeps.plan(sweeps.config(model=able, limit=6))
    only = sweeps.plan(sweeps.config(model=dull))
    (pair,) = compare_runs([(manifest_of(few), few.store), (manifest_of(only), only.store)], ["model"]).pairs
    assert pair.paired.n == 6 - 1


def test_a_cell_that_is_not_whole_is_partial(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    sweeps.ask(sweeps.plan(sweeps.config(limit=4)))
    sweep = sweeps.plan(sweeps.config(), sweeps.config("brief"))
    compared = compare_runs([(manifest_of(sweep), sweep.store)], ["setting"])
    assert compared.state("echo", "plain", "faces", "strict").is_partial
    assert compared.state("echo", "plain", "faces", "strict").answer_source == "made_up"


def test_a_group_that_lacks_scores_is_partial_though_its_cell_is_not(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    """One sample of 40 has no answer: the cell has 97.5% of its scores, the group of four 75%."""
    sweeps.write_dataset(range(40), emotions=dict.fromkeys((3, 13, 23, 33), "sad"))
    sweep = sweeps.plan(sweeps.config(model={"name": "able", "system": "You are able."}))
    sweeps.ask(sweep, scripted(reply))
    compared = compare_runs([(manifest_of(sweep), sweep.store)], ["model"], ["emotion"])
    names = ("faces", "faces (emotion=happy)", "faces (emotion=sad)")
    states = [compared.state("able", "plain", name, "strict") for name in names]
    assert [state.is_partial for state in states] == [False, False, True]


def test_columns_are_as_long_as_there_are_samples(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    sweep = plan_all(sweeps)
    sweeps.ask(sweep)
    lengths = []

    def watch(cells: Sequence[ScoredCell], sides: Sequence[Side], confidence: float) -> Comparison:
        lengths.extend(len(cell.values) for cell in cells)
        return compare_cells(cells, sides, confidence)

    monkeypatch.setattr("eibench_ray.runs.compare_run.compare_cells", watch)
    compare_runs([(manifest_of(sweep), sweep.store)], ["model"])
    assert lengths == [NUM_SAMPLES] * 8
