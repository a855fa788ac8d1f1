"""Rows of a step as requests: rendered, seeded, and named by a digest of all that is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from eibench_ray.plan.digests import derive_seed, digest
from eibench_ray.plan.graph import Step
from eibench_ray.plan.templates import render
from eibench_ray.records import Request, Sample
from eibench_ray.score.strict import strict_schema


def build_request(step: Step, sample: Sample, answers: Mapping[str, str]) -> Request:
    """What a step sends for one sample.

    Args:
        step: the step.
        sample: the row of the dataset.
        answers: word -> the answer that the prompt reads under it.
    """
    prompt = step.prompt
    user = render(prompt.user, sample, answers)
    image_digest = sample.image_digest if prompt.image else None
    schema = None if step.strict_chars is None else strict_schema(len(sample.triggers), step.strict_chars)
    sent = {
        "engine": step.engine,
        "system": prompt.system,
        "user": user,
        "image": image_digest,
        "sampling": asdict(step.sampling),
        "schema": schema,
        "accept": asdict(step.accept) if step.accept else None,
        "seed": derive_seed(step.seed, sample.sample_id),
    }
    return Request(
        sample_id=sample.sample_id,
        digest=digest(sent),
        system=prompt.system,
        user=user,
        image_digest=image_digest,
        sampling=step.sampling,
        seed=derive_seed(step.seed, sample.sample_id),
        json_schema=schema,
        accept=step.accept,
        image_path=sample.image_path,
        question=sample.question,
    )
