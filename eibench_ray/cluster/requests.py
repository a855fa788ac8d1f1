"""Rows of a step as requests: rendered, seeded, and named by a digest of all that is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from eibench_ray.plan.digests import derive_seed, digest
from eibench_ray.plan.graph import Step
from eibench_ray.plan.templates import render
from eibench_ray.records import AcceptRule, Request, Sample, Sampling
from eibench_ray.score.strict import strict_schema


def build_request(step: Step, sample: Sample, answers: Mapping[str, str]) -> Request:
    """What a step sends for one sample.

    Args:
        step: the step.
        sample: the row of the dataset.
        answers: word -> the answer that the prompt reads under it.
    """
    prompt = step.prompt
    seed = derive_seed(step.seed, sample.sample_id)
    user = render(prompt.user, sample, answers)
    image_digest = sample.image_digest if prompt.image else None
    schema = None if step.strict_chars is None else strict_schema(len(sample.triggers), step.strict_chars)
    sent = {
        "engine": step.engine,
        "system": prompt.system,
        "user": user,
        "image": image_digest,
        "sampling": _plain(step.sampling),
        "schema": schema,
        "accept": _plain(step.accept) if step.accept else None,
        "seed": seed,
    }
    return Request(
        sample_id=sample.sample_id,
        digest=digest(sent),
        system=prompt.system,
        user=user,
        image_digest=image_digest,
        sampling=step.sampling,
        seed=seed,
        json_schema=schema,
        accept=step.accept,
        image_path=sample.image_path,
        question=sample.question,
    )


@lru_cache(maxsize=256)
def _plain(value: Sampling | AcceptRule) -> Mapping[str, Any]:
    """The fields of a record that many rows share."""
    return asdict(value)
