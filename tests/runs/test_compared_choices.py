"""A setting that compares choices, from plan to scores: asked once, resumed, shown, refused where it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from read_back import export_run
from test_export_run import record

from eibench_ray.config.schema import RunConfig
from eibench_ray.config.setting import SettingConfig
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.engines.echo import EchoEngine, EchoSection
from eibench_ray.errors import PlanError
from eibench_ray.report.leaderboard_files import to_frame, to_json_rows
from eibench_ray.rows.choices import AskedChoices, from_text
from eibench_ray.rows.request import Reply, Request
from eibench_ray.rows.sample import Sample
from eibench_ray.runs.results import Results
from eibench_ray.runs.sample_page import render_sample
from eibench_ray.runs.shown_sample import show_sample, to_json

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Sweeps

CHOICES = ("a red sun", "rain", "wind")
JUDGE = {"name": "likelihood", "kind": "loglikelihood"}
CALL = {"name": "answer", "role": "subject", "image": False, "prompt": "{{ question }}", "choices": {}}


class Teller(EchoEngine):
    """Makes likelihoods up, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(EchoSection(kind="echo"))
        self.asked: list[Request] = []

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        self.asked.append(request)
        return await super().generate(request, images)


def write(sweeps: Sweeps, targets: Sequence[Any], choices: tuple[str, ...] | None = CHOICES) -> None:
    with DatasetWriter(sweeps.folder / "faces", "choices for a test") as writer:
        for number, target in enumerate(targets):
            words = {"choices": choices if number else CHOICES}
            writer.add(Sample(f"s{number}", {"question": f"what is {number}?"}, (), target, words), [])


def config(sweeps: Sweeps, judge: dict[str, Any] = JUDGE, **changes: Any) -> RunConfig:
    call = CALL | changes.pop("call", {})
    setting = {"name": "compared", "calls": [call]} | changes.pop("setting_keys", {})
    compared = SettingConfig.model_validate(setting)
    return sweeps.config(judge=judge, **changes).model_copy(update={"setting": compared})


def test_the_likeliest_choice_is_the_answer_and_is_scored_three_ways(sweeps: Sweeps) -> None:
    write(sweeps, ["rain", "A", 2])
    sweep, teller = sweeps.plan(config(sweeps)), Teller()
    sweeps.ask(sweep, teller)
    assert {one.choices for one in teller.asked} == {AskedChoices(CHOICES)}
    rows = sweeps.rows(sweep, "answer")
    right = dict(zip(rows, CHOICES[1:2] + CHOICES[:1] + CHOICES[2:], strict=True))
    expected = {"sum": [], "character": [], "token": []}
    for name, row in rows.items():
        found = from_text(row.likelihoods or "")
        assert [one.text for one in found] == list(CHOICES)
        assert row.text == max(found, key=lambda one: one.logprob).text
        assert row.mean_logprob == pytest.approx(next(one.by("token") for one in found if one.text == row.text))
        for by, values in expected.items():
            values.append(max(found, key=lambda one, by=by: one.by(by)).text == right[name])
    [row] = [Results(sweep.plan, sweep.store).score(cell, sweep.config.score) for cell in sweep.plan.cells]
    shares = [metric.overall.value for metric in row.score.metrics]
    assert shares == pytest.approx([sum(values) / 3 for values in expected.values()])
    means = [one.mean_logprob for one in rows.values()]
    assert row.mean_logprob == pytest.approx(sum(means) / 3)
    assert to_json_rows([row])[0]["mean_logprob"] == row.mean_logprob
    assert to_frame([row])["mean_logprob"].to_list() == [row.mean_logprob]


def test_another_way_of_comparing_is_another_step_and_another_judge_is_none(sweeps: Sweeps) -> None:
    write(sweeps, ["rain", "A"])
    first = sweeps.plan(config(sweeps))
    sweeps.ask(first)
    assert sweeps.ask(sweeps.plan(config(sweeps))) == []
    assert sweeps.ask(sweeps.plan(config(sweeps, {"name": "choice", "kind": "choice"}))) == []
    by_token = sweeps.plan(config(sweeps, call={"choices": {"by": "token"}}))
    assert by_token.plan.steps.keys().isdisjoint(first.plan.steps)
    assert len(sweeps.ask(by_token)) == 1


def test_rows_whose_choices_changed_are_asked_again_and_no_others(sweeps: Sweeps) -> None:
    write(sweeps, ["A", "A", "B"])
    sweeps.ask(sweeps.plan(config(sweeps)))
    write(sweeps, ["B", "A", "B"], (*CHOICES, "snow"))  # another target for the first, another list for the others
    sweep, teller = sweeps.plan(config(sweeps)), Teller()
    sweeps.ask(sweep, teller)
    assert {one.sample_id for one in teller.asked} == {"s1", "s2"}
    assert len(from_text(sweeps.rows(sweep, "answer")["s2"].likelihoods or "")) == 4


def test_a_sample_without_choices_costs_its_own_row(sweeps: Sweeps) -> None:
    write(sweeps, ["A", "A"], choices=None)
    sweep = sweeps.plan(config(sweeps))
    sweeps.ask(sweep)
    rows = sweeps.rows(sweep, "answer")
    assert rows["s0"].text is not None
    assert rows["s1"].error_kind == "prompt"
    assert "its column 'choices' lists no choices" in (rows["s1"].error or "")


def test_it_is_shown_and_exported(sweeps: Sweeps, tmp_path: Path) -> None:
    write(sweeps, ["A", "A"])
    sweep = sweeps.plan(config(sweeps))
    sweeps.ask(sweep)
    shown = show_sample(sweep.plan, sweep.store, "s1")
    assert shown.steps[0].trace == "sent"
    page = "\n".join(line.plain for line in render_sample(shown, draws=False))
    assert "nothing generated: how likely each choice is, by sum" in page
    assert "a red sun: log likelihood -" in page
    assert "mean log probability -" in page
    assert to_json(shown)["steps"][0]["choices"]["texts"] == CHOICES
    export_run(record(sweep, tmp_path / "run"), tmp_path / "out")
    exported = pl.read_parquet(tmp_path / "out" / "rows")["answer_likelihoods"].to_list()
    assert [one.text for one in from_text(exported[0])] == list(CHOICES)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"engine": {"kind": "openai", "endpoint": "e", "base_url": "http://h/v1", "model": "m"}},
            "does not tell how likely",
        ),
        ({"engine": {"kind": "replay", "predictions": "p"}}, "does not tell how likely"),
        (
            {"call": {"choices": {"column": "options"}}},
            "which the dataset does not have: set the call's choices.column",
        ),
        ({"call": {"choices": None}}, "judge 'likelihood' compares how likely choices are, and setting 'compared' has"),
        ({"setting_keys": {"repeats": 2}}, "whose likelihoods are the same each time: set setting.repeats=1"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_the_plan(sweeps: Sweeps, changes: dict[str, Any], told: str) -> None:
    write(sweeps, ["A", "A"])
    with pytest.raises(PlanError, match=told):
        sweeps.plan(config(sweeps, **changes))


@pytest.mark.parametrize("keys", [{"role": "asker"}, {"each": ["a"]}, {"sampling": {"temperature": 1.0}}])
def test_a_call_generates_or_compares(sweeps: Sweeps, keys: dict[str, Any]) -> None:
    write(sweeps, ["A"])
    with pytest.raises(ValueError, match=r"call 'answer' compares choices"):
        config(sweeps, call=keys)
