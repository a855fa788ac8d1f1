"""Requests: rendered, seeded, and named by a digest of all that is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from eibench_ray.plan.graph import Prompt, Step
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.rows.request import AcceptRule, Sampling
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
    assert (request.system, request.image_digest, request.json_schema) == ("Be brief.", "i1", None)
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
    assert request.image_digest is None
