"""The rows that travel through a sweep: requests and completions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from eibench_ray.rows.endings import Ending, ending_of

# Which rows a run asks again: none; errors that may pass; or also those that killed their engine.
Retry = Literal["none", "errors", "quarantined"]
# Why a row was never asked: it is about a line that an earlier answer does not have, or about a reference that its
# sample does not have. It is no error, and no completion.
ABSENT = "absent"
# How a row ended of which nothing is to be said.
WHOLE = "whole"
# Why a reply ended that no attempt was good enough for: its text is the rule's.
FALLBACK = "fallback"


class RowErrorKind(StrEnum):
    """Reason why a row has no answer. `retry` says which are asked again on the next run."""

    IMAGE = "image"  # the picture cannot be read
    PROMPT = "prompt"  # the engine refused the prompt (too long, unknown token, ...)
    UPSTREAM = "upstream"  # the answer that this row reads is itself an error
    RECORD = "record"  # no recorded prediction for this row
    ENGINE = "engine"  # the engine failed on this row or died under it
    TIMEOUT = "timeout"  # the row's deadline passed
    QUARANTINED = "quarantined"  # the engine died whenever it was asked for this row alone

    @property
    def is_transient(self) -> bool:
        """Whether asking again may succeed."""
        return self in (RowErrorKind.ENGINE, RowErrorKind.TIMEOUT)

    def is_asked_again(self, retry: Retry) -> bool:
        """Whether a run asks such a row again."""
        return retry != "none" and (self.is_transient or (retry == "quarantined" and self is RowErrorKind.QUARANTINED))


class RowResult:
    """Facts about a row that follow from its text, error and ending."""

    __slots__ = ()

    text: str | None
    error_kind: str | None
    error: str | None
    finish_reason: str | None  # the reply's; `absent` where there was nothing to ask
    thinking_tokens: int | None
    likelihoods: str | None

    @property
    def is_absent(self) -> bool:
        """Whether there was nothing to ask."""
        return self.text is None and self.error_kind is None

    @property
    def is_refused(self) -> bool:
        """Whether the endpoint refused or filtered the answer."""
        return self.text is not None and ending_of(self.finish_reason) is Ending.REFUSED

    @property
    def is_truncated(self) -> bool:
        """Whether a limit of tokens cut the reply off."""
        return self.text is not None and ending_of(self.finish_reason) is Ending.TRUNCATED

    @property
    def is_empty(self) -> bool:
        """Whether it is an answer without a word."""
        return self.text is not None and not self.text.strip()

    @property
    def is_cut_while_thinking(self) -> bool:
        """Whether its limit of tokens was used up by thinking, so that there is no answer."""
        return self.is_truncated and self.is_empty and bool(self.thinking_tokens)

    @property
    def is_fallback(self) -> bool:
        """Whether no attempt was acceptable, so that the rule's own text stands in."""
        return self.finish_reason == FALLBACK

    @property
    def ending(self) -> str:
        """Its ending in a word or two, one of each row: `whole` where nothing is to be said of it."""
        endings = {
            f"{self.error_kind} error": self.error_kind is not None,
            ABSENT: self.is_absent,
            "refused": self.is_refused,
            "cut while thinking": self.is_cut_while_thinking,
            "empty": self.is_empty,
            "truncated": self.is_truncated,
            FALLBACK: self.is_fallback,
        }
        return next((name for name, is_so in endings.items() if is_so), WHOLE)


@dataclass(frozen=True, slots=True)
class Completion(RowResult):
    """One row of a step: an answer, an error with its kind, or neither. Stored as is, column by column.

    Attributes:
        cost_usd: what all attempts cost, those of earlier runs included whose row this one replaced; None where the
            engine has no price.
    """

    sample_id: str
    request_digest: str
    text: str | None
    error_kind: str | None
    error: str | None
    finish_reason: str | None  # the reply's; `absent` where there was nothing to ask
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    attempt: int  # how many times the engine was asked for this row
    latency_s: float  # seconds from the first send to the last reply
    finished_at: float  # Unix time, seconds
    engine: str  # the engine's fingerprint (kind, version, device, source, revision)
    run_id: str  # the run that asked
    input_digest: str = ""  # digest of what the row was made from: its sample and the rows it reads
    cost_usd: float | None = None
    mean_logprob: float | None = None  # of the reply that stands; None where it is not known
    thinking: str | None = None  # of the reply that stands: shown to people, and read by no judge and no later call
    thinking_tokens: int | None = None  # of the reply that stands; None: it is not known that there are any
    likelihoods: str | None = None  # of the choices that were compared (`rows/choices.py`); None: it was generated

    @property
    def output_digest(self) -> str:
        """Digest of what later steps read from this row."""
        return digest_output(self.error_kind, self.text)

    @property
    def is_quarantined(self) -> bool:
        """Whether the engine died of it."""
        return self.error_kind == RowErrorKind.QUARANTINED

    @property
    def is_transient_error(self) -> bool:
        """Whether another attempt may succeed."""
        return self.error_kind is not None and RowErrorKind(self.error_kind).is_transient

    def is_asked_again(self, retry: Retry) -> bool:
        """Whether a run asks for this row again, although it is there."""
        return self.error_kind is not None and RowErrorKind(self.error_kind).is_asked_again(retry)


def digest_output(error_kind: str | None, text: str | None) -> str:
    """Digest of an answer, of an error, or of the absence of both."""
    if error_kind is None and text is None:
        return ABSENT_OUTPUT
    return _digest(f"{error_kind}:{text}")


def _digest(said: str) -> str:
    return hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=8).hexdigest()


# No answer and no error reads like this: they have a colon.
ABSENT_OUTPUT = _digest(ABSENT)
