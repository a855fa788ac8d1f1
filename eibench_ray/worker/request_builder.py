"""Rows of a step as requests: rendered, seeded, and named by a digest of all that is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from eibench_ray.benchmarks.eibench.strict_scorer import strict_schema
from eibench_ray.plan.fanout import ITEM, part_word, read_parts
from eibench_ray.plan.graph import Step
from eibench_ray.plan.prompt_templates import render, words_in
from eibench_ray.rows.digests import derive_seed, digest
from eibench_ray.rows.request import Request
from eibench_ray.rows.sample import TARGET_WORDS, Sample


class RequestBuilder:
    """The requests of one step. What its rows share is digested once: a request costs its own text, and little more."""

    def __init__(self, step: Step) -> None:
        self._step = step
        elements = {part_word(word, number + 1) for word, items in step.lists.items() for number in range(len(items))}
        self._needs = step.inputs.keys() - elements  # a list may lack some
        self._reads_target = not words_in(step.prompt.user).isdisjoint(TARGET_WORDS)
        # Number of triggers -> the schema of the reply, and the digest of all that rows with that many share.
        self._shared: dict[int, tuple[dict[str, Any] | None, str]] = {}

    def build(self, sample: Sample, answers: Mapping[str, str]) -> Request | None:
        """Request of the step for one sample; None where there is nothing to ask, and the row is absent.

        Args:
            sample: the row of the dataset.
            answers: word -> the answer that stands behind it; rows that are absent have none.
        """
        step = self._step
        if not self._needs <= answers.keys() or (self._reads_target and sample.target is None):
            return None
        item = step.item.read(answers) if step.item else ""
        if item is None:
            return None
        num_triggers = 0 if step.strict_chars is None else len(sample.targets)
        if num_triggers not in self._shared:
            self._shared[num_triggers] = self._share(num_triggers)
        schema, shared = self._shared[num_triggers]
        seed = derive_seed(step.seed, sample.sample_id)
        parts = {word: read_parts(word, items, answers) for word, items in step.lists.items()}
        user = render(step.prompt.user, sample, {**answers, ITEM: item, **parts} if step.item or parts else answers)
        image_digest = sample.media[0].digest if step.prompt.image and sample.media else None
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
            sample.media[0].path if sample.media else None,
            sample.inputs.get("question", ""),
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
