"""Rows that kill their engine: each costs itself, and whatever else is there is answered, once."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

import pytest
from mortal import Abandoned, World

from eibench_ray.config.schema import ScoreConfig
from eibench_ray.driver import failure_policy
from eibench_ray.driver.failure_policy import MAX_DEATHS_WITH_ROWS
from eibench_ray.driver.poison_search import DEATHS_BEFORE_CONTROL
from eibench_ray.engines.engine import RowError
from eibench_ray.rows.completion import Completion, RowErrorKind
from eibench_ray.rows.request import Request
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.results import Results
from eibench_ray.schedule.backlog import MARKS
from eibench_ray.store.slice_check import check_slice

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

NUM_ROWS = 10  # in slices of four


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines start again at once."""
    monkeypatch.setattr(failure_policy, "FIRST_REST_S", 0.0)


def prompts(*numbers: int) -> set[str]:
    """Prompts about some samples."""
    return {f"Look. why is person {number} so?" for number in numbers}


def world_of(
    sweep: PlannedSweep, deadly: Collection[str], *, has_processes: bool = True, most_deaths: int | None = None
) -> World:
    """A run whose engines die of some prompts; it asks again what the sweep's configuration says."""
    return World(sweep, lambda request: request.user in deadly, has_processes, most_deaths, sweep.config.retry)


def numbers_of(rows: dict[str, Completion], kind: str | None) -> set[int]:
    """The samples whose rows are errors of a kind; None: those with an answer."""
    return {int(sample_id[1:]) for sample_id, row in rows.items() if row.error_kind == kind}


CASES: list[tuple[set[int], bool]] = [
    ({0}, True),
    ({3, 4}, False),
    ({1, 6, 9}, True),
    ({0, 1, 2, 3, 8}, True),  # of a whole slice, and of one that is not
    ({4, 5, 6, 7}, False),
]


@pytest.mark.parametrize(("deadly", "has_processes"), CASES)
def test_exactly_the_rows_that_kill_are_quarantined(sweeps: Sweeps, deadly: set[int], has_processes: bool) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    world = world_of(sweep, prompts(*deadly), has_processes=has_processes)
    outcome = world.run()
    answers = sweeps.rows(sweep, "answer")
    assert (numbers_of(answers, "quarantined"), len(answers)) == (deadly, NUM_ROWS)
    assert numbers_of(answers, None) == set(range(NUM_ROWS)) - deadly
    assert numbers_of(sweeps.rows(sweep, "verdict"), "upstream") == deadly
    assert (outcome.num_new, outcome.failed_engines) == (2 * (NUM_ROWS - len(deadly)), {})
    assert sweeps.plan().is_complete
    assert {event["sample"] for event in world.events("row_quarantined")} == {f"s{number:03d}" for number in deadly}


def test_what_is_in_the_store_is_not_asked_again(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an engine that dies alone, all that was finished is committed, if the next one leaves the time for that."""
    monkeypatch.setattr(failure_policy, "FIRST_REST_S", 1.0)
    sweeps.write_dataset()
    world = world_of(sweeps.plan(), prompts(5), has_processes=False)
    world.run()
    assert set(world.answered.values()) == {1}
    assert world.num_deaths == len(world.events("replica_lost")) <= MARKS + 4


def test_a_suspect_has_its_replica_for_itself_and_comes_last(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    world = world_of(sweeps.plan(), prompts(1))
    world.run()
    held: dict[int, set[int]] = {}
    suspected: set[tuple[str, int]] = set()
    lines = (json.loads(line) for line in world.ledger_path.read_text().splitlines())
    for event in lines:
        place = (event.get("step"), event.get("slice"))
        if event["event"] == "poison_search_begun":
            suspected.add(place)
        elif event["event"] == "slice_sent":
            assert not (held.get(event["replica"]) and (place in suspected or held[event["replica"]] & suspected))
            held.setdefault(event["replica"], set()).add(place)
        elif event["event"] in ("slice_committed", "slice_probed", "slice_returned"):
            held[event["replica"]].discard(place)
    assert suspected


def test_an_engine_that_dies_of_everything_is_given_up_and_no_row_is_blamed(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    judge = {"fails_on": "a judge is another engine"}
    broken = sweeps.config(judge_engine=judge)
    sound = sweeps.config("brief", model={"name": "sound"}, engine={"fails_on": "never"}, judge_engine=judge)
    sweep = sweeps.plan(broken, sound)
    world = World(sweep, lambda request: request.user.startswith("Look"))
    outcome = world.run()
    assert [sweep.plan.engines[key].name for key in outcome.failed_engines] == ["echo"]
    assert world.num_deaths == MAX_DEATHS_WITH_ROWS
    assert not world.events("row_quarantined")
    assert sweeps.plan(sound).is_complete
    assert sweeps.plan(broken).num_done == 0


def test_an_engine_that_dies_even_of_what_it_has_answered_is_given_up_at_once(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    World(sweeps.plan(sweeps.config(limit=4)), lambda _: False).run()
    world = World(sweeps.plan(), lambda request: request.user.startswith("Look"))
    outcome = world.run()
    ((_, reason),) = outcome.failed_engines.items()
    assert reason.startswith("it dies even of a row that it has answered before; the replica's process died")
    assert world.num_deaths == DEATHS_BEFORE_CONTROL + 1
    assert not world.events("row_quarantined")


def test_the_last_row_that_is_left_is_known_by_a_control(sweeps: Sweeps) -> None:
    """Nothing else can be asked: that the engine lives is shown by a row that has its answer, and keeps it."""
    sweeps.write_dataset()
    World(sweeps.plan(sweeps.config(limit=9)), lambda _: False).run()
    before = sweeps.rows(sweeps.plan(), "answer")
    sweep = sweeps.plan()
    world = world_of(sweep, prompts(9))
    assert world.run().failed_engines == {}
    after = sweeps.rows(sweep, "answer")
    assert numbers_of(after, "quarantined") == {9}
    assert {name: row for name, row in after.items() if name != "s009"} == before
    assert set(world.answered) <= prompts(*range(9)), "nothing but controls"


def test_who_is_killed_from_outside_is_not_blamed(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    asked = itertools.count(1)
    kills = iter(range(6))

    def dies(_: Request) -> bool:
        return next(asked) % 7 == 0 and next(kills, None) is not None

    sweep = sweeps.plan()
    world = World(sweep, dies)
    outcome = world.run()
    assert world.num_deaths >= MARKS + 1
    assert (outcome.num_new, outcome.failed_engines) == (20, {})
    assert numbers_of(sweeps.rows(sweep, "answer"), None) == set(range(NUM_ROWS))


@pytest.mark.parametrize("most_deaths", [1, 2, 3, 5, 6])
def test_a_driver_that_is_killed_amid_the_search_leaves_nothing_that_is_lost_or_twice(
    sweeps: Sweeps, most_deaths: int
) -> None:
    sweeps.write_dataset()
    deadly = {2, 7}
    with pytest.raises(Abandoned):
        world_of(sweeps.plan(), prompts(*deadly), most_deaths=most_deaths).run()
    committed = prompts(*numbers_of(sweeps.rows(sweeps.plan(), "answer"), None))
    sweep = sweeps.plan()
    world = world_of(sweep, prompts(*deadly))
    assert world.run().failed_engines == {}
    answers = sweeps.rows(sweep, "answer")
    assert (numbers_of(answers, "quarantined"), len(answers)) == (deadly, NUM_ROWS)
    num_again = sum(world.answered[prompt] for prompt in committed)
    assert num_again <= sum(event["is_control"] for event in world.events("slice_probed"))
    assert sweeps.plan().is_complete


def quarantine(sweeps: Sweeps) -> PlannedSweep:
    """A sweep of which a row is in quarantine."""
    sweeps.write_dataset()
    sweep = sweeps.plan()
    world_of(sweep, prompts(5)).run()
    return sweep


def test_a_quarantined_row_is_remembered(sweeps: Sweeps) -> None:
    row = sweeps.rows(quarantine(sweeps), "answer")["s005"]
    assert row.request_digest
    assert (row.prompt_tokens, row.completion_tokens, row.text) == (0, 0, None)
    assert re.fullmatch(
        r"the engine died each of the \d times that it was asked for this row alone; the last time: .*died",
        row.error or "",
    )
    for retry in ("errors", "none"):
        again = sweeps.plan(sweeps.config(retry=retry))
        assert again.is_complete
        assert sum(left.num_quarantined for left in again.work.values()) == 1


def test_a_quarantined_row_is_asked_again_where_somebody_wants_it(sweeps: Sweeps) -> None:
    before = sweeps.rows(quarantine(sweeps), "answer")
    again = sweeps.plan(sweeps.config(retry="quarantined"))
    assert [left.num_done for left in again.work.values()] == [9, 9]  # its verdict is that of an error
    world = world_of(again, ())
    world.run()
    (asked, judged) = world.answered.elements()
    assert ({asked}, "cause 5.0" in judged) == (prompts(5), True)
    answers = sweeps.rows(again, "answer")
    assert answers["s005"].text
    assert {name: row for name, row in answers.items() if name != "s005"} == {
        name: row for name, row in before.items() if name != "s005"
    }
    assert sweeps.rows(again, "verdict")["s005"].text
    assert sweeps.plan(sweeps.config(retry="quarantined")).is_complete


def test_a_row_that_still_kills_is_quarantined_again(sweeps: Sweeps) -> None:
    before = sweeps.rows(quarantine(sweeps), "answer")["s005"]
    world = world_of(sweeps.plan(sweeps.config(retry="quarantined")), prompts(5))
    assert world.run().failed_engines == {}
    after = sweeps.rows(world.sweep, "answer")["s005"]
    assert (after.error_kind, after.run_id) == ("quarantined", world.run_id)
    assert before.run_id != after.run_id
    assert sweeps.plan().is_complete


def test_an_error_that_may_pass_stands_where_nothing_is_to_be_asked_again(
    sweeps: Sweeps, scripted: type[Scripted]
) -> None:
    def fail(request: Request) -> str:
        if request.sample_id == "s003":
            raise RowError(RowErrorKind.TIMEOUT, "too late")
        return "an answer"

    sweeps.write_dataset()
    sweeps.ask(sweeps.plan(), scripted(fail))
    assert sweeps.plan(sweeps.config(retry="none")).is_complete
    assert not sweeps.plan(sweeps.config(retry="errors")).is_complete
    world = World(sweeps.plan(sweeps.config(retry="none", limit=10)), lambda _: False, retry="none")
    assert world.run().num_new == 0


def test_a_store_with_a_quarantined_row_is_sound_and_its_cell_says_so(sweeps: Sweeps) -> None:
    sweep = quarantine(sweeps)
    for step in sweep.plan.steps:
        for file in sweep.store.paths.step(step).glob("slice-*.parquet"):
            assert check_slice(file.read_bytes(), 4).problems == ()
    row = Results(sweep.plan, sweep.store).score(sweep.plan.cells[0], ScoreConfig())
    assert (row.errors, row.score.statuses) == (2, {"unparsed": 9, "no_answer": 1})
