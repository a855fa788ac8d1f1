"""OpenAI-compatible endpoints as an engine kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eibench_ray.engines.engine import Engine
from eibench_ray.engines.engine_kind import EngineDescription, EngineKind, EngineSetup, Needs, Site, Surroundings
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.openai.request_body import OWN_FIELDS
from eibench_ray.engines.sampling_support import SamplingRefusal
from eibench_ray.engines.sent_prompt import SentPrompt, sent_body
from eibench_ray.plan.engine_traits import EngineTraits, RateLimits
from eibench_ray.plan.graph import Blocker, EngineSpec
from eibench_ray.rows.request import Request, Sampling

if TYPE_CHECKING:
    from eibench_ray.weights.node_weights import Weights

_NOT_NAMED = (
    "is not said to take it: add it to model.engine.sampling_keys where its server does (vLLM's and SGLang's do), else "
    "leave it out"
)
_NOT_SENT = "is sent no sampling (model.engine.sends_sampling is false): leave it out"
_OWN = "has that field from keys of its own or from the request itself: leave it out"


class OpenaiKind(EngineKind[OpenaiSection]):
    """Somebody else's model, asked over HTTP, a request at a time or in batches."""

    section = OpenaiSection

    def traits(self, section: OpenaiSection) -> EngineTraits:
        """An endpoint with the limits of its account."""
        is_batch, limits, said = section.mode == "batch", section.limits, section.args.get(section.max_tokens_key)
        return EngineTraits(
            section.max_num_seqs,
            is_endpoint=True,
            is_batch=is_batch,
            price=section.price.to_price() if section.price else None,
            # The provider keeps the limits of batches itself.
            limits=None if is_batch else RateLimits(section.pool, limits.requests_per_min, limits.tokens_per_min),
            picture_tokens=section.picture_tokens,
            thinking_tokens=section.reasoning_tokens,
            reply_tokens=said if isinstance(said, int) else None,
        )

    def sampling_refusal(self, section: OpenaiSection, sampling: Sampling) -> SamplingRefusal | None:
        """It does what its configuration names, and any other field of a request that nothing else decides."""
        keys = section.sampling_keys if section.sends_sampling else ()
        for key, value in sampling.optional.items():
            if key in section.args:
                return SamplingRefusal(key, value, _in_args(key))
            if key not in keys:
                return SamplingRefusal(key, value, _NOT_NAMED if section.sends_sampling else _NOT_SENT)
        for key in sampling.extra:
            if key in section.args:
                return SamplingRefusal.of_extra(key, sampling, _in_args(key))
            if key in OWN_FIELDS:
                return SamplingRefusal.of_extra(key, sampling, _OWN)
        return None

    def needs(self, section: OpenaiSection, site: Site) -> Needs:  # noqa: ARG002 - it computes elsewhere
        """No GPU."""
        return Needs(0)

    def blocker(self, section: OpenaiSection, spec: EngineSpec, around: Surroundings) -> Blocker | None:
        """A model that its provider has ended, or a key that is not there."""
        return _retirement(section, spec, around) or (_lost_key(section, spec, around) if around.is_local else None)

    def describe(self, section: OpenaiSection) -> EngineDescription:
        """The endpoint's model and address, for tables."""
        return EngineDescription(
            f"endpoint ({section.api_key_env or 'no key'})",
            f"{section.endpoint}: {section.model}",
            section.revision or "-",
            prompt_format="the endpoint's",
        )

    def show_sent(
        self,
        section: OpenaiSection,
        weights: Weights | None,  # noqa: ARG002 - it has none
        asked: Sequence[tuple[Request, Sequence[bytes]]],
    ) -> list[SentPrompt]:
        """The body of each request; the endpoint renders it."""
        from eibench_ray.engines.openai.picture_encoding import to_data_uri
        from eibench_ray.engines.openai.request_body import build_body

        return [
            sent_body(build_body(request, [to_data_uri(image, section.picture) for image in images], section))
            for request, images in asked
        ]

    def create(self, section: OpenaiSection, setup: EngineSetup) -> Engine:
        """A client, of the batch endpoint where it is to be."""
        if section.mode == "batch":
            from eibench_ray.engines.openai.batch_engine import OpenaiBatchEngine

            return OpenaiBatchEngine(section, setup.limiter, setup.batches, setup.storage)
        from eibench_ray.engines.openai.openai_engine import OpenaiEngine

        return OpenaiEngine(section, setup.limiter)


KIND = OpenaiKind()


def _in_args(key: str) -> str:
    return f"has it in model.engine.args.{key}, which has the last word: set it in one place"


def _retirement(section: OpenaiSection, spec: EngineSpec, around: Surroundings) -> Blocker | None:
    available = spec.availability
    if available is None:
        return None
    if available.status != "retired" and (available.ends is None or available.ends > around.today.isoformat()):
        return None
    since = f" since {available.ends}" if available.ends else ""
    remedy = (
        "replay its recorded answers (model=replay), or name another host of it in its engine.base_url and set its "
        "availability to null"
    )
    return Blocker(spec.name, "retired", f"{section.endpoint} has no {section.model}{since}", remedy)


def _lost_key(section: OpenaiSection, spec: EngineSpec, around: Surroundings) -> Blocker | None:
    if section.api_key_env is None or around.environ.get(section.api_key_env, "").strip():
        return None
    return Blocker(spec.name, "no key", section.api_key_env, "export the key under that name")
