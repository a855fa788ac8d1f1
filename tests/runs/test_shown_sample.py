"""`show` of a sample: the requests that were sent, checked by their digests, the replies and the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from eibench_ray.engines.echo import EchoEngine, EchoSection
from eibench_ray.errors import ConfigError
from eibench_ray.rows.request import Reply, Request
from eibench_ray.runs.sample_page import render_sample
from eibench_ray.runs.shown_sample import ShownSample, ShownStep, messages_of, show_sample, to_json

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.runs.planning import PlannedSweep

VERDICT = '{"explanation": "It says so.", "correct": 1, "total": 2}'


def reply(request: Request) -> str:
    return VERDICT if request.json_schema else f"reply to {request.user}"


def show(sweep: PlannedSweep, sample_id: str = "s000", **options: str) -> ShownSample:
    step = options.pop("step", None)
    return show_sample(sweep.plan, sweep.store, sample_id, step=step, chosen=options)


def by_name(shown: ShownSample) -> dict[str, ShownStep]:
    return {one.step.name: one for one in shown.steps}


def test_what_is_shown_is_what_the_engine_got(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("noted"))
    engine = scripted(reply)
    sweeps.ask(sweep, engine)
    shown = show(sweep, "s003")
    assert [one.step.name for one in shown.steps] == ["note", "answer", "verdict"]
    assert {one.trace for one in shown.steps} == {"sent"}
    assert [one.request for one in shown.steps] == [one for one in engine.requests if one.sample_id == "s003"]
    assert [one.completion.text for one in shown.steps if one.completion][:2] == [
        reply(one.request) for one in shown.steps[:2] if one.request
    ]
    assert shown.number == 3
    assert len(shown.images) == 1


def test_a_picture_stands_in_its_place_by_number_and_digest(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep, scripted(reply))
    shown = show(sweep)
    request = by_name(shown)["answer"].request
    assert request is not None
    digest = shown.sample.media[0].digest
    assert messages_of(request) == [{"role": "user", "content": [{"image": 1, "digest": digest}, request.user]}]


def test_a_dataset_that_changed_is_not_what_was_sent(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep, scripted(reply))
    sweeps.write_dataset(questions={0: "why another question?"})
    shown = by_name(show(sweep))
    assert (shown["answer"].trace, shown["verdict"].trace) == ("changed", "changed")
    assert "has changed since" in shown["answer"].note
    assert by_name(show(sweep, "s001"))["answer"].trace == "sent"


def test_what_was_not_asked_says_so(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    shown = by_name(show(sweeps.plan()))
    assert (shown["answer"].trace, shown["verdict"].trace) == ("not asked yet", "not asked yet")
    assert shown["answer"].request is not None
    assert shown["verdict"].note == "what it reads has no answer yet"


def test_a_sample_without_a_target_leaves_its_judge_nothing_to_ask(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(triggers=())
    sweep = sweeps.plan()
    sweeps.ask(sweep, scripted(reply))
    shown = show(sweep)
    assert by_name(shown)["verdict"].trace == "nothing to ask"
    assert shown.cells[0][1].value is None


def test_behind_an_error_nothing_was_sent(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(images={0: b"no picture"})
    sweep = sweeps.plan(sweeps.config("noted"))

    def fail(request: Request) -> str:
        if request.user.startswith("Describe"):
            raise ValueError("no such picture")
        return reply(request)

    with pytest.raises(ValueError, match="no such picture"):
        sweeps.ask(sweep, scripted(fail))
    assert by_name(show(sweep))["answer"].trace == "not asked yet"


def test_the_seed_of_every_attempt_is_told(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset([0])
    sweep = sweeps.plan(sweeps.config(judge="official"))
    seeds: list[int] = []

    def never_accepted(request: Request) -> str:
        if request.accept is not None:
            seeds.append(request.seed)
        return "nothing of that"

    sweeps.ask(sweep, scripted(never_accepted))
    verdict = by_name(show(sweep))["verdict"]
    assert len(seeds) > 1
    assert verdict.seeds == tuple(seeds)


def test_a_step_is_chosen_by_its_name_or_its_id(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("plain"), sweeps.config("brief"))
    sweeps.ask(sweep, scripted(reply))
    assert len(show(sweep).steps) == 4
    (one,) = show(sweep, step="answer", setting="brief").steps
    assert [again.step.id for again in show(sweep, step=one.step.id[:8]).steps] == [one.step.id]


@pytest.mark.parametrize(
    ("sample_id", "options", "said"),
    [
        ("s00", {}, "no such sample of faces; it has, for example, s00"),
        ("s000", {"step": "caption"}, "no step has this name, or an id that begins so; there are answer, verdict"),
        ("s000", {"model": "llava"}, "the run has no such model; it has echo"),
    ],
)
def test_what_is_not_there_is_refused(sweeps: Sweeps, sample_id: str, options: dict[str, str], said: str) -> None:
    sweeps.write_dataset()
    with pytest.raises(ConfigError, match=said):
        show(sweeps.plan(), sample_id, **options)


def test_an_id_of_two_datasets_needs_one_of_them(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweeps.write_dataset(name="others")
    sweep = sweeps.plan(sweeps.config(), sweeps.config(dataset="others"))
    with pytest.raises(ConfigError, match="add --dataset"):
        show(sweep)
    assert show(sweep, dataset="others").dataset == "others"


def test_the_page_has_request_reply_and_score(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep, scripted(reply))
    shown = show(sweep)
    page = "\n".join(line.plain for line in render_sample(shown, draws=True))
    for text in (
        "Look. why is person 0 so?",
        "exactly what was sent",
        "You count.",
        VERDICT,
        "recall 0.5 (ok)",
        "\u2580",
    ):
        assert text in page
    assert to_json(shown)["cells"][0]["value"] == 0.5


def test_thinking_is_shown_apart_from_the_answer(sweeps: Sweeps) -> None:
    class Thinks(EchoEngine):
        async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
            reply = await super().generate(request, images)
            return replace(reply, thinking="Why indeed?", thinking_tokens=3)

    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep, Thinks(EchoSection(kind="echo")))
    page = "\n".join(line.plain for line in render_sample(show(sweep), draws=False))
    assert "thinking (3 of the tokens out; no judge and no later call reads it):\n    Why indeed?" in page
