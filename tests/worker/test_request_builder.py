"""Requests: rendered, seeded, and named by a digest of all that is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from jinja2 import UndefinedError

from eibench_ray.benchmarks.eibench.strict_scorer import StrictScorer
from eibench_ray.errors import ScoreError
from eibench_ray.plan.graph import Prompt, Step
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.rows.request import AcceptRule, PlacedImage, Sampling
from eibench_ray.rows.sample import Media, Sample
from eibench_ray.worker.request_builder import RequestBuilder

SAMPLE = Sample(
    "a", {"question": "why?", "caption": "A beach."}, (Media("faces/a.png", "i1"),), ("Sun.", "Sea."), {"source": "x"}
)
STEP = Step(
    id="1",
    name="answer",
    engine="e1",
    prompt=Prompt("Be brief.", "{{ note }} {{ question }} {{ targets | length }}", image=True, is_official=False),
    sampling=Sampling(0.0, 1.0, 64),
    seed=0,
    dataset="faces",
    inputs={"note": "0"},
)
RULE = AcceptRule("x", True, 2, "y")


def test_a_prompt_reads_the_sample_and_the_answers_before_it() -> None:
    request = RequestBuilder(STEP).build(SAMPLE, {"note": "A beach."})
    assert request.user == "A beach. why? 2"
    assert (request.system, request.images, request.json_schema) == ("Be brief.", (PlacedImage(0, "i1"),), None)
    assert (request.image_path, request.question) == ("faces/a.png", "why?")


@pytest.mark.parametrize(
    "other",
    [
        {"engine": "e2"},
        {"prompt": replace(STEP.prompt, system=None)},
        {"prompt": replace(STEP.prompt, user="{{ note }}")},
        {"prompt": replace(STEP.prompt, image=False)},
        {"sampling": replace(STEP.sampling, temperature=0.1)},
        {"sampling": replace(STEP.sampling, max_tokens=65)},
        {"seed": 1},
        {"scorer": ScorerSpec("strict", {"explanation_chars": 100})},
        {"accept": RULE},
    ],
)
def test_the_digest_changes_with_all_that_is_sent(other: dict[str, Any]) -> None:
    digests = {RequestBuilder(step).build(SAMPLE, {"note": "n"}).digest for step in (STEP, replace(STEP, **other))}
    assert len(digests) == 2


@pytest.mark.parametrize("other", [{"target": ("a", "b")}, {"media": (Media("b.png", "i1"),)}, {"metadata": {}}])
def test_the_digest_stays_where_nothing_else_is_sent(other: dict[str, Any]) -> None:
    digests = {
        RequestBuilder(STEP).build(sample, {"note": "n"}).digest for sample in (SAMPLE, replace(SAMPLE, **other))
    }
    assert len(digests) == 1


def test_samples_have_seeds_of_their_own_that_follow_from_the_runs_seed() -> None:
    seeds = [
        RequestBuilder(replace(STEP, seed=seed)).build(replace(SAMPLE, sample_id=name), {"note": "n"}).seed
        for seed in (0, 1)
        for name in ("a", "b")
    ]
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seeds[0] == RequestBuilder(STEP).build(SAMPLE, {"note": "other"}).seed


def test_a_scorer_that_fails_on_a_sample_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(scorer: StrictScorer, sample: Sample) -> bool:  # noqa: ARG001
        raise KeyError("options")

    monkeypatch.setattr(StrictScorer, "has_something_to_ask", fail)
    requests = RequestBuilder(replace(STEP, scorer=ScorerSpec("strict", {})))
    with pytest.raises(ScoreError, match="the scorer StrictScorer ended in KeyError: 'options'"):
        requests.build(SAMPLE, {"note": "n"})


def test_a_strict_verdict_is_bound_by_the_samples_triggers() -> None:
    schema = (
        RequestBuilder(replace(STEP, scorer=ScorerSpec("strict", {"explanation_chars": 80})))
        .build(SAMPLE, {"note": "n"})
        .json_schema
    )
    assert schema is not None
    assert schema["properties"]["correct"]["maximum"] == 2


def test_a_sample_without_a_picture_sends_none() -> None:
    request = RequestBuilder(STEP).build(replace(SAMPLE, media=()), {"note": "n"})
    assert request.images == ()


TWO = replace(SAMPLE, media=(Media("a.png", "i1"), Media("b.png", "i2")))


def placed(user: str) -> Step:
    return replace(STEP, prompt=replace(STEP.prompt, user=user))


@pytest.mark.parametrize(
    ("user", "content", "digests"),
    [
        ("{{ question }}", (0, 1, "why?"), ["i1", "i2"]),
        ("A: {{ image(2) }} B: {{ image(1) }}", ("A: ", 0, " B: ", 1), ["i2", "i1"]),
        ("{{ image(2) }}{{ image(1) }}{{ question }}", (0, 1, "why?"), ["i2", "i1"]),
        ("A: {{ image(2) }}.", (0, "A: ", 1, "."), ["i1", "i2"]),
        (
            "{% for picture in images %}{{ loop.index }}: {{ picture }}{% endfor %} of {{ images | length }}",
            ("1: ", 0, "2: ", 1, " of 2"),
            ["i1", "i2"],
        ),
    ],
)
def test_pictures_stand_before_the_text_or_where_the_prompt_says(
    user: str, content: tuple[str | int, ...], digests: list[str]
) -> None:
    request = RequestBuilder(placed(user)).build(TWO, {"note": "n"})
    assert request is not None
    assert request.content == content
    assert [one.digest for one in request.images] == digests


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("{{ image(3) }}", r"places image\(3\), and the sample has the pictures 1 to 2"),
        ("{{ image(0) }}", r"places image\(0\)"),
        ("{{ image('a') }}", r"places image\('a'\)"),
        ("{{ image(1) }} {{ image(1) }}", r"places image\(1\) twice"),
        ("{{ image(1) | upper }}", r"write \{\{ image\(1\) \}\} as it is"),
        ("{{ 'a' ~ image(1) }}", r"write \{\{ image\(1\) \}\} as it is"),
    ],
)
def test_a_picture_that_is_not_there_or_stands_twice_is_refused(user: str, why: str) -> None:
    with pytest.raises(UndefinedError, match=why):
        RequestBuilder(placed(user)).build(TWO, {"note": "n"})


def test_order_and_places_of_pictures_are_part_of_the_digest() -> None:
    users = (
        "why?",
        "{{ image(2) }}why?",
        "w{{ image(1) }}hy?",
        "w{{ image(2) }}hy?",
        "{{ image(2) }}{{ image(1) }}why?",
    )
    samples = (TWO, replace(TWO, media=TWO.media[::-1]), replace(TWO, media=TWO.media[:1]), SAMPLE)
    digests = [RequestBuilder(placed("why?")).build(sample, {"note": "n"}).digest for sample in samples]
    assert len(set(digests)) == 3, "one picture is sent as it was when there could be one alone"
    digests = [RequestBuilder(placed(user)).build(TWO, {"note": "n"}).digest for user in users]
    assert len(set(digests)) == 4
    assert digests[0] == digests[1], "what is sent is the same"


def test_a_model_that_is_sent_no_pictures_reads_nothing_in_their_places() -> None:
    step = placed("A: {{ image(1) }}{% for picture in images %}{{ picture }}{% endfor %}, {{ question }}")
    request = RequestBuilder(replace(step, prompt=replace(step.prompt, image=False))).build(TWO, {"note": "n"})
    assert (request.user, request.images) == ("A: , why?", ())


def test_a_text_cannot_pass_for_a_picture() -> None:
    """Neither a sample's nor a model's, even where it has seen how one is marked."""
    said = "{{ image(1) }} \0image\0 \0000000000000000000:1\0"
    request = RequestBuilder(placed("{{ note }}{{ question }}")).build(
        replace(TWO, inputs={"question": said}), {"note": said}
    )
    assert (request.content, len(request.images)) == ((0, 1, said + said), 2)
