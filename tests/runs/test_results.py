"""Results: cells joined range by range, whatever the slices are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from eibench_ray.engines.engine import EngineFacts, RowError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply, Request
from eibench_ray.runs.results import Results

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.report.leaderboard_row import LeaderboardRow


@pytest.fixture(autouse=True)
def _short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANGE_ROWS", "COLUMN_ROWS"):
        monkeypatch.setattr(f"eibench_ray.runs.cell_scorer.{name}", 3)


@pytest.mark.parametrize("slice_rows", [1, 3, 4, 10, 50])
def test_every_sample_is_joined_once_in_the_datasets_order(sweeps: Sweeps, slice_rows: int) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("noted", slice_rows=slice_rows))
    sweeps.ask(sweep)
    rows = list(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]))
    assert [row.sample.sample_id for row in rows] == [f"s{number:03d}" for number in range(10)]
    assert [row.answer.sample_id for row in rows if row.answer] == [row.sample.sample_id for row in rows]
    assert all(None not in (*row.replies, *row.scores) for row in rows)


def test_steps_of_different_slices_are_joined(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan(sweeps.config(judge="first", slice_rows=4)))
    sweep = sweeps.plan(sweeps.config(judge="second", slice_rows=7))
    sweeps.ask(sweep)
    rows = list(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]))
    assert len(rows) == 10
    assert all(None not in row.scores for row in rows)


def test_a_limit_ends_the_join(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(limit=5))
    sweeps.ask(sweep)
    assert len(list(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]))) == 5


def test_the_first_rows_are_read_without_the_others(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    sweep.store.paths.slice(sweep.plan.cells[0].answer, 2).write_bytes(b"damaged")
    assert len(list(islice(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]), 8))) == 8


def test_errors_of_answers_and_of_replies_are_counted(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    def fail_some(request: Request) -> str:
        if request.sample_id in ("s001", "s008") and request.images:
            raise RowError(RowErrorKind.PROMPT, "too long")
        if request.sample_id == "s004" and request.json_schema:
            raise RowError(RowErrorKind.ENGINE, "broken")
        return '{"correct": 1, "total": 2}'

    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep, scripted(fail_some))
    row = Results(sweep.plan, sweep.store).score(sweep.plan.cells[0], sweep.config.score)
    assert row.errors == 5  # the two answers, what their verdicts would have read, and one verdict
    assert row.score.statuses["no_answer"] == 2
    assert row.score.statuses["judge_error"] == 1
    assert row.score.overall.n == 10


def test_a_cell_costs_what_all_of_its_rows_cost_and_counts_its_refusals(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("noted"))
    refusing = Refusing(num_refused=3)
    sweeps.ask(sweep, refusing, costs_money=True)
    (row,) = (Results(sweep.plan, sweep.store).score(cell, sweep.config.score) for cell in sweep.plan.cells)
    assert row.refused == 3  # of the answers; the judge's own are no answers
    assert row.cost_usd == pytest.approx(0.5 * refusing.num_asked)
    assert row.errors == 0
    joined = list(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]))
    assert [line.cost_usd for line in joined] == [1.5] * 10  # a note, an answer, a verdict


def test_what_has_no_price_has_no_cost(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    (row,) = (Results(sweep.plan, sweep.store).score(cell, sweep.config.score) for cell in sweep.plan.cells)
    assert (row.cost_usd, row.refused) == (None, 0)


class Refusing:
    """An engine whose replies cost half a dollar each; it refuses the last samples, whatever they are asked."""

    def __init__(self, num_refused: int) -> None:
        self._first = f"s{10 - num_refused:03d}"
        self.num_asked = 0

    async def start(self) -> EngineFacts:
        return EngineFacts("refusing", 8, costs_money=True)

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:  # noqa: ARG002
        self.num_asked += 1
        reason = "content_filter" if request.sample_id >= self._first else "stop"
        return Reply("an answer", reason, 5, 2, cost_usd=0.5)

    async def stop(self) -> None:
        pass


class Talking:
    """An engine that says to the model under test and to the judge what a test wants, with a reason for the end."""

    def __init__(self, answer: tuple[str, str], verdict: tuple[str, str]) -> None:
        self._said = answer, verdict

    async def start(self) -> EngineFacts:
        return EngineFacts("talking", 8)

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:  # noqa: ARG002
        text, reason = self._said[request.json_schema is not None]
        if reason == "prompt":
            raise RowError(RowErrorKind.PROMPT, text)
        return Reply(text, reason, 5, 2)

    async def stop(self) -> None:
        pass


ANSWER, VERDICT = ("he is wet", "stop"), ('{"explanation": "", "correct": 1, "total": 2}', "stop")


def scored(sweeps: Sweeps, engine: Talking, setting: str = "plain") -> LeaderboardRow:
    sweeps.write_dataset(triggers=("rain", "cold"))
    sweep = sweeps.plan(sweeps.config(setting))
    sweeps.ask(sweep, engine)
    (cell,) = sweep.plan.cells
    return Results(sweep.plan, sweep.store).score(cell, sweep.config.score)


def test_how_answers_and_replies_ended_is_counted(sweeps: Sweeps) -> None:
    row = scored(sweeps, Talking(("he is", "length"), (VERDICT[0], "max_tokens")), "noted")
    assert (row.truncated, row.empty, row.judge_truncated, row.calls_truncated) == (10, 0, 10, 10)
    assert row.failed is None


def test_an_answer_without_a_word_is_empty(sweeps: Sweeps) -> None:
    row = scored(sweeps, Talking((" \n", "stop"), VERDICT))
    assert (row.truncated, row.empty, row.judge_truncated, row.failed) == (0, 10, 0, None)


@pytest.mark.parametrize(
    ("setting", "answer", "verdict", "why"),
    [
        (
            "plain",
            ("System role\nnot supported", "prompt"),
            VERDICT,
            "all 10 answers are errors: prompt: System role not supported",
        ),
        (
            "noted",
            ("too long", "prompt"),
            VERDICT,
            "all 10 answers are errors: note by echo: prompt: too long",
        ),
        (
            "plain",
            ANSWER,
            ("no such model", "prompt"),
            "all 10 replies of the judge are errors: prompt: no such model",
        ),
        (
            "plain",
            ANSWER,
            ("Well, I", "length"),
            "no answer has a score: 10 replies hold nothing that could be scored; the first reply is 'Well, I'; 10 "
            "replies of the judge were cut off: raise judge.sampling.max_tokens",
        ),
    ],
)
def test_a_cell_that_has_no_figure_says_why(
    sweeps: Sweeps, setting: str, answer: tuple[str, str], verdict: tuple[str, str], why: str
) -> None:
    row = scored(sweeps, Talking(answer, verdict), setting)
    assert row.failed == why
    assert row.score.overall.value is None
    assert not row.is_partial


def test_a_cell_that_was_not_asked_names_the_engine_that_was_given_up(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    (cell,) = sweep.plan.cells
    row = Results(sweep.plan, sweep.store).score(cell, sweep.config.score, {"echo": "it\ndied"})
    assert (row.failed, row.is_partial) == ("echo failed: it died", True)
    assert Results(sweep.plan, sweep.store).score(cell, sweep.config.score).failed is None


def test_a_sample_without_a_reference_is_no_failure(sweeps: Sweeps) -> None:
    sweeps.write_dataset(triggers=())
    sweep = sweeps.plan()
    sweeps.ask(sweep, Talking(ANSWER, VERDICT))
    row = Results(sweep.plan, sweep.store).score(sweep.plan.cells[0], sweep.config.score)
    assert (row.failed, row.score.statuses) == (None, {"no_target": 10})


def test_rows_say_whose_words_they_rest_on(sweeps: Sweeps) -> None:
    row = scored(sweeps, Talking(ANSWER, VERDICT))
    assert (row.answer_source, row.judge_source) == ("made_up", "made_up")
    assert (row.marks, row.judge_and_mark) == (["(made up)"], "strict (made up)")


@pytest.mark.parametrize(
    ("sees_image", "pictures", "is_marked"), [(False, 10, True), (False, 0, False), (True, 10, False)]
)
def test_a_text_model_is_marked_where_there_was_a_picture_to_see(
    sweeps: Sweeps, sees_image: bool, pictures: int, is_marked: bool
) -> None:
    sweeps.write_dataset(images={} if pictures else dict.fromkeys(range(10)))
    sweep = sweeps.plan(sweeps.config(model={"sees_image": sees_image}))
    sweeps.ask(sweep)
    row = Results(sweep.plan, sweep.store).score(sweep.plan.cells[0], sweep.config.score)
    assert ("(text only)" in row.marks) is is_marked
