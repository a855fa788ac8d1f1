"""Rows of a step as requests: rendered, seeded, and named by a digest of all that is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from eibench_ray.config.scorer_options import make_scorer
from eibench_ray.errors import ScoreError
from eibench_ray.plan.fanout import ITEM, part_word, read_parts
from eibench_ray.plan.graph import Step
from eibench_ray.plan.prompt_templates import Answers, render, render_placed, words_in
from eibench_ray.rows.digests import derive_seed, digest
from eibench_ray.rows.request import Request
from eibench_ray.rows.sample import EXAMPLES, TARGET_WORDS, Sample
from eibench_ray.scoring.reply_scoring import explain_scorer

# That are remembered; a scorer that gives a new one for each sample gains nothing from it.
_MOST_SCHEMAS = 256


class RequestBuilder:
    """The requests of one step. What its rows share is digested once: a request costs its own text, and little more."""

    def __init__(self, step: Step) -> None:
        self._step = step
        elements = {part_word(word, number + 1) for word, items in step.lists.items() for number in range(len(items))}
        self._needs = step.inputs.keys() - elements  # a list may lack some
        self._reads_target = not words_in(step.prompt.user).isdisjoint(TARGET_WORDS)
        self._scorer = make_scorer(step.scorer) if step.scorer else None
        # By a reply schema's identity: the schema, so that nothing else takes that identity, and the digest of all that
        # rows with it share. To compare schemas would take as long as to digest them.
        self._shared: dict[int, tuple[dict[str, Any] | None, str]] = {}

    def build(self, sample: Sample, answers: Mapping[str, str]) -> Request | None:
        """Request of the step for one sample; None where there is nothing to ask, and the row is absent.

        Args:
            sample: the row of the dataset.
            answers: word -> the answer that stands behind it; rows that are absent have none.

        Raises:
            RENDER_ERRORS: the prompt cannot be rendered for this sample.
            ScoreError: the scorer fails on it.
        """
        step = self._step
        if not self._needs <= answers.keys() or (self._reads_target and sample.target is None):
            return None
        schema = None
        if self._scorer is not None:
            try:
                if not self._scorer.has_something_to_ask(sample):
                    return None
                schema = self._scorer.schema(sample)
            except Exception as error:
                raise ScoreError(explain_scorer(self._scorer, error)) from error
        item = step.item.read(answers) if step.item else ""
        if item is None:
            return None
        choices = step.choices.read(sample) if step.choices else None
        shared = self._share(schema)
        seed = derive_seed(step.seed, sample.sample_id)
        parts = {word: read_parts(word, items, answers) for word, items in step.lists.items()}
        read: Answers = {**answers, ITEM: item, **parts} if step.item or parts else answers
        if step.examples is not None:
            read = {**read, EXAMPLES: step.examples.shown_to(sample)}
        if step.prompt.image:
            user, images = render_placed(step.prompt.user, sample, read)
        else:
            user, images = render(step.prompt.user, sample, read), ()
        # Only the last part can hold a colon, so that different requests never read the same.
        shown = ",".join([f"{one.digest}@{one.at}" if one.at else one.digest for one in images]) or None
        said = f"{digest(choices.texts)}:" if choices else ""
        sent = f"{shared}:{seed}:{shown}:{said}{user}".encode("utf-8", "surrogatepass")
        return Request(
            sample.sample_id,
            hashlib.blake2b(sent, digest_size=16).hexdigest(),
            step.prompt.system,
            user,
            images,
            step.sampling,
            seed,
            schema,
            step.accept,
            step.adapter,
            sample.media[0].path if sample.media else None,
            sample.inputs.get("question", ""),
            choices,
        )

    def _share(self, schema: dict[str, Any] | None) -> str:
        """The digest of all that rows with this schema share."""
        if (known := self._shared.get(id(schema))) is not None:
            return known[1]
        if len(self._shared) >= _MOST_SCHEMAS:
            self._shared.clear()
        step = self._step
        sent = {
            "engine": step.engine,
            "system": step.prompt.system,
            "sampling": step.sampling.identity,
            "schema": schema,
            "accept": asdict(step.accept) if step.accept else None,
        } | ({"adapter": step.adapter} if step.adapter else {})
        sent |= {"choices": asdict(step.choices)} if step.choices else {}
        return self._shared.setdefault(id(schema), (schema, digest(sent)))[1]
