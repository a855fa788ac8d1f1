"""A request for one row, and the reply to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sampling:
    """Decoding parameters, all resolved: what is sent is what stands here."""

    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()


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
    image_path: str | None = None
    question: str = ""

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
        mean_logprob: mean log probability (natural) of the reply's tokens; None where it was not asked for or given.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cost_usd: float | None = None  # what it cost; None where it has no price
    mean_logprob: float | None = None
