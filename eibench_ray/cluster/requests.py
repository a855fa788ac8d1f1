"""Rows of a step as requests: rendered, seeded, and named by a digest of all that is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from eibench_ray.plan.digests import derive_seed, digest
from eibench_ray.plan.graph import Step
from eibench_ray.plan.templates import render
from eibench_ray.records import Request, Sample
from eibench_ray.score.strict import strict_schema


class Requests:
    """The requests of one step. What its rows share is digested once: a request costs its own text, and little more."""

    def __init__(self, step: Step) -> None:
        self._step = step
        # Number of triggers -> the schema of the reply, and the digest of all that rows with that many share.
        self._shared: dict[int, tuple[dict[str, Any] | None, str]] = {}

    def build(self, sample: Sample, answers: Mapping[str, str]) -> Request:
        """What the step sends for one sample.

        Args:
            sample: the row of the dataset.
            answers: word -> the answer that the prompt reads under it.
        """
        step = self._step
        num_triggers = 0 if step.strict_chars is None else len(sample.triggers)
        if num_triggers not in self._shared:
            self._shared[num_triggers] = self._share(num_triggers)
        schema, shared = self._shared[num_triggers]
        seed = derive_seed(step.seed, sample.sample_id)
        user = render(step.prompt.user, sample, answers)
        image_digest = sample.image_digest if step.prompt.image else None
        # Only the last part can hold a colon, so that different requests never read the same.
        sent = f"{shared}:{seed}:{image_digest}:{user}".encode("utf-8", "surrogatepass")
        return Request(
            sample.sample_id,
            hashlib.blake2b(sent, digest_size=16).hexdigest(),
            step.prompt.system,
            user,
            image_digest,
            step.sampling,
            seed,
            schema,
            step.accept,
            sample.image_path,
            sample.question,
        )

    def _share(self, num_triggers: int) -> tuple[dict[str, Any] | None, str]:
        step = self._step
        schema = None
        if step.strict_chars is not None:
            schema = strict_schema(num_triggers, step.strict_chars, per_trigger=step.per_trigger)
        sent = {
            "engine": step.engine,
            "system": step.prompt.system,
            "sampling": asdict(step.sampling),
            "schema": schema,
            "accept": asdict(step.accept) if step.accept else None,
        }
        return schema, digest(sent)
