"""A request for one row, and the reply to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from eibench_ray.rows.choices import AskedChoices

# Decoding parameters that not every engine has.
SamplingKey = Literal["top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"]
OPTIONAL_SAMPLING: tuple[SamplingKey, ...] = get_args(SamplingKey)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Decoding parameters, all resolved: what is sent is what stands here, and None is not sent.

    Attributes:
        extra: whatever else the engine takes, by the engine's own names.
    """

    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()
    top_k: int | None = None  # the likeliest tokens, of which one is drawn; 0: all
    min_p: float | None = None  # least probability of a token that is drawn, as a share of the likeliest one's
    presence_penalty: float | None = None  # taken from the logit of each token that the reply has
    frequency_penalty: float | None = None  # the same for each time that the reply has it
    repetition_penalty: float | None = None  # factor against tokens of the prompt and the reply
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def optional(self) -> dict[str, Any]:
        """Those of `OPTIONAL_SAMPLING` that are set."""
        return {name: value for name in OPTIONAL_SAMPLING if (value := getattr(self, name)) is not None}

    @property
    def identity(self) -> dict[str, Any]:
        """Its part of step ids and request digests: what is not set has none.

        >>> Sampling(0.7, 1.0, 64, top_k=20).identity
        {'temperature': 0.7, 'top_p': 1.0, 'max_tokens': 64, 'stop': (), 'top_k': 20}
        """
        always = {name: getattr(self, name) for name in ("temperature", "top_p", "max_tokens", "stop")}
        return always | self.optional | ({"extra": dict(self.extra)} if self.extra else {})


@dataclass(frozen=True, slots=True)
class AcceptRule:
    """Ask again, with another seed, until the reply contains `contains`."""

    contains: str  # text that an acceptable reply has
    ignore_case: bool  # compare lower-cased
    attempts: int  # how often to ask in all
    fallback: str  # the reply that stands in when no attempt was acceptable


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """A picture of a request."""

    number: int  # which of the sample's pictures it is, from 0
    digest: str  # of its bytes
    at: int = 0  # the character of the user's text before which it stands


@dataclass(frozen=True, slots=True)
class Request:
    """One chat request: what is sent to an engine for one row.

    Attributes:
        json_schema: the schema that the reply must follow, where the engine can constrain it.
        image_path, question: what the row is about, by which recorded predictions are found.
        choices: those whose likelihoods are to be compared; None: a reply is to be generated.
    """

    sample_id: str
    digest: str  # digest over everything that is sent and who it is sent to
    system: str | None
    user: str
    images: tuple[PlacedImage, ...]  # its pictures, in the order in which they stand
    sampling: Sampling
    seed: int
    json_schema: dict[str, Any] | None = None
    accept: AcceptRule | None = None
    adapter: str | None = None  # key of the adapter that is to answer; None: the engine's own weights
    image_path: str | None = None
    question: str = ""
    choices: AskedChoices | None = None

    @property
    def content(self) -> tuple[str | int, ...]:
        """The user's message in order: pieces of its text, and positions in `images`.

        >>> images = (PlacedImage(0, "a"), PlacedImage(1, "b", 4))
        >>> Request("id", "d", None, "One two", images, Sampling(0, 1, 8), 0).content
        (0, 'One ', 1, 'two')
        """
        pieces: list[str | int] = []
        start = 0
        for position, image in enumerate(self.images):
            if image.at > start:
                pieces.append(self.user[start : image.at])
                start = image.at
            pieces.append(position)
        if start < len(self.user) or not start:
            pieces.append(self.user[start:])
        return tuple(pieces)


@dataclass(frozen=True, slots=True)
class Reply:
    """An engine's reply to one request, before it becomes a row.

    Attributes:
        finish_reason: "stop", "length", or the engine's own word; whether it is an answer's, `endings.ending_of` says.
        prompt_tokens, completion_tokens, cached_tokens: counts; cached is the part of the prompt that was in the
            prefix cache.
        mean_logprob: mean log probability (natural) of the answer's tokens, without thinking and without the token
            that ended it; None where it was not asked for or given.
        thinking: of a reasoning model, without the answer; None: there is none, or its provider keeps it to itself.
        thinking_tokens: those of `completion_tokens` that went into thinking; None: it is not known that any did.
        likelihoods: of choices that were compared, as `choices.to_text` writes them; None: the text was generated.
    """

    text: str  # the answer alone
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cost_usd: float | None = None  # what it cost; None where it has no price
    mean_logprob: float | None = None
    thinking: str | None = None
    thinking_tokens: int | None = None
    likelihoods: str | None = None
