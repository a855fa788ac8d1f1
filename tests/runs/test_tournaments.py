"""Strengths of models in `compare`: which verdicts count, who is named, and what is said of those without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from eibench_ray.report.comparison_page import render_comparison, render_comparison_markdown
from eibench_ray.report.comparison_values import to_json
from eibench_ray.runs.compare_run import compare_runs
from eibench_ray.runs.run_record import new_manifest

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.config.schema import RunConfig
    from eibench_ray.rows.request import Request
    from eibench_ray.scoring.cell_comparison import Comparison

# In how many of ten samples the first wins against the second.
WINS = {("a", "b"): 7, ("b", "c"): 6, ("a", "c"): 9, **{("d", other): 10 for other in "abc"}}
PROMPT = "[{{ first_answer }}] or [{{ second_answer }}] on {{ question }}"


def model(name: str) -> dict[str, Any]:
    engine = {"kind": "echo", "fails_on": f"never asked of {name}"}
    return {"name": name, "engine": engine, "sees_image": True, "system": name}


def judge(baseline: str, name: str = "pairwise") -> dict[str, Any]:
    asked = {"name": "judge_model", "engine": {"kind": "echo", "fails_on": name}, "sees_image": False}
    return {"name": name, "kind": "pairwise", "model": asked, "prompt": PROMPT, "baseline": model(baseline)}


def say(request: Request) -> str:
    if not request.json_schema:
        return str(request.system)
    first, second = request.user[1], request.user[request.user.index("] or [") + 6]
    number = int(request.sample_id[1:])
    is_won = number < WINS[first, second] if (first, second) in WINS else number >= WINS[second, first]
    return json.dumps({"better": "first" if is_won else "second"})


def compare(sweeps: Sweeps, scripted: type[Scripted], folder: Path, *cells: RunConfig) -> Comparison:
    sweeps.write_dataset()
    sweep = sweeps.plan(*cells)
    sweeps.ask(sweep, scripted(say))
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    return compare_runs([(manifest, sweep.store)], ("model",))


def cells(sweeps: Sweeps, models: str, baselines: str, **options: Any) -> list[RunConfig]:
    return [
        sweeps.config(judge=judge(baseline, **options), model=model(name)) for name in models for baseline in baselines
    ]


def test_a_tournament_of_all_pairs_counts_each_verdict_once(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path
) -> None:
    comparison = compare(sweeps, scripted, tmp_path, *cells(sweeps, "abc", "abc"))

    [tournament] = comparison.tournaments
    [group] = tournament.standings.groups
    assert (tournament.judge, [one.player for one in group]) == ("pairwise", ["a", "b", "c"])
    assert [one.n for one in group] == [20, 20, 20]  # six cells, three pairs of ten samples
    [told] = to_json(comparison)["tournaments"]
    assert [line["model"] for line in told["groups"][0]] == ["a", "b", "c"]
    assert (told["won_all"], told["apart"], told["centre"]) == ([], [], None)
    markdown = render_comparison_markdown(comparison)
    assert "## Strengths (Bradley-Terry): faces judged by pairwise (made up)" in markdown
    assert f"| a (made up) | {group[0].rating:.0f} |" in " ".join(markdown.split())
    console = Console(width=160, color_system=None)
    with console.capture() as captured:
        console.print(render_comparison(comparison))
    assert "400 points more are odds of 10 to 1" in " ".join(captured.get().split())


def test_one_baseline_makes_no_tournament_and_the_way_to_one_is_told(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path
) -> None:
    comparison = compare(sweeps, scripted, tmp_path, *cells(sweeps, "bc", "a"))

    [tournament] = comparison.tournaments
    [group] = tournament.standings.groups
    assert [one.player for one in group] == ["a", "b", "c"]
    markdown = render_comparison_markdown(comparison)
    assert "all are compared with a alone, so ratings say what the win rates say" in markdown
    assert "-m model=A,B,C model@judge.baseline=A,B,C" in markdown


def test_who_won_all_is_said_in_words(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    comparison = compare(sweeps, scripted, tmp_path, *cells(sweeps, "dabc", "dabc"))

    [tournament] = comparison.tournaments
    assert [[one.player for one in group] for group in tournament.standings.groups] == [["a", "b", "c"]]
    assert "d won every comparison with a, b, c, so no finite rating tells how much better" in (
        render_comparison_markdown(comparison)
    )


def test_two_models_and_judges_that_compare_nothing_make_none(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path
) -> None:
    rule = {"name": "rule", "kind": "includes"}
    both = [*cells(sweeps, "b", "a"), *(sweeps.config(judge=rule, model=model(name)) for name in "abc")]

    assert compare(sweeps, scripted, tmp_path, *both).tournaments == ()


@pytest.mark.parametrize(("baseline", "num_pairs"), [("a", 1), ("b", 0)])
def test_judges_agree_only_on_answers_held_against_the_same(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path, baseline: str, num_pairs: int
) -> None:
    both = [*cells(sweeps, "c", "a"), *cells(sweeps, "c", baseline, name="another")]

    assert len(compare(sweeps, scripted, tmp_path, *both).judges) == num_pairs
