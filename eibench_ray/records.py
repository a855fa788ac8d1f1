"""The rows that travel through a sweep: samples, requests, completions, verdicts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from eibench_ray.endings import Ending, ending_of

# Which rows a run asks again: none; errors that may pass; or also those that killed their engine.
Retry = Literal["none", "errors", "quarantined"]
# Why a row was never asked: it is about a line that an earlier answer does not have, or about a reference that its
# sample does not have. It is no error, and no completion.
ABSENT = "absent"
# Why a reply ended that no attempt was good enough for: its text is the rule's.
FALLBACK = "fallback"


class RowErrorKind(StrEnum):
    """Why a row has no answer. Which are asked again on the next run, `retry` says."""

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


@dataclass(frozen=True, slots=True)
class Sample:
    """One benchmark item, without its picture's bytes.

    Attributes:
        sample_id: unique in its dataset and stable over re-preparation.
        image_path: the picture's path as its source names it (EIBench's key); None for a text-only sample.
        image_digest: digest of the picture's bytes; None where there is none.
        reference: the reference triggers as one text, as the source writes them.
        caption: a caption that came with the dataset, if any.
        source: where the sample is from, e.g. "CAER-S".
    """

    sample_id: str
    question: str
    emotion: str
    reference: str
    triggers: tuple[str, ...]
    image_path: str | None = None
    image_digest: str | None = None
    caption: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Decoding parameters, all resolved: what is sent is what stands here."""

    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AcceptRule:
    """Ask again, with another seed, until the reply contains `contains`.

    Attributes:
        contains: text that an acceptable reply has.
        ignore_case: compare lower-cased.
        attempts: how often to ask in all.
        fallback: the reply that stands in when no attempt was acceptable.
    """

    contains: str
    ignore_case: bool
    attempts: int
    fallback: str


@dataclass(frozen=True, slots=True)
class Request:
    """One chat request: what is sent to an engine for one row.

    Attributes:
        digest: digest over everything that is sent and who it is sent to.
        image_digest: the picture that goes before the user's text, or None.
        json_schema: the schema that the reply must follow, where the engine can constrain it.
        image_path, question: what the row is about, by which recorded predictions are found.
    """

    sample_id: str
    digest: str
    system: str | None
    user: str
    image_digest: str | None
    sampling: Sampling
    seed: int
    json_schema: dict[str, Any] | None = None
    accept: AcceptRule | None = None
    image_path: str | None = None
    question: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an engine says to one request, before it becomes a row.

    Attributes:
        finish_reason: "stop", "length", or the engine's own word; whether it is an answer's, `endings.ending_of` says.
        prompt_tokens, completion_tokens, cached_tokens: counts; cached is the part of the prompt that was in the
            prefix cache.
        cost_usd: what it cost; None where it has no price.
        mean_logprob: mean log probability (natural) of the reply's tokens; None where it was not asked for or given.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cost_usd: float | None = None
    mean_logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One row of a step: an answer, an error with its kind, or neither. Stored as is, column by column.

    Attributes:
        finish_reason: the reply's; `absent` where there was nothing to ask.
        attempt: how many times the engine was asked for this row.
        latency_s: seconds from the first send to the last reply.
        finished_at: Unix time, seconds.
        engine: the engine's fingerprint (kind, version, device, source, revision).
        run_id: the run that asked.
        input_digest: digest of what the row was made from: its sample and the rows it reads.
        cost_usd: what all attempts cost, those of earlier runs included whose row this one replaced; None where the
            engine has no price.
        mean_logprob: of the reply that stands; None where it is not known.
    """

    sample_id: str
    request_digest: str
    text: str | None
    error_kind: str | None
    error: str | None
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    attempt: int
    latency_s: float
    finished_at: float
    engine: str
    run_id: str
    input_digest: str = ""
    cost_usd: float | None = None
    mean_logprob: float | None = None

    @property
    def output_digest(self) -> str:
        """Digest of what later steps read from this row."""
        return digest_output(self.error_kind, self.text)

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
    def is_fallback(self) -> bool:
        """Whether no attempt was acceptable, so that the rule's own text stands in."""
        return self.finish_reason == FALLBACK

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


class VerdictStatus(StrEnum):
    """What became of a judge's reply. Only `ok` verdicts enter the headline; the others lower its coverage."""

    OK = "ok"
    UNPARSED = "unparsed"  # no verdict could be read from the reply
    OUT_OF_RANGE = "out_of_range"  # correct < 0 or correct > total
    WRONG_TOTAL = "wrong_total"  # total is not the number of reference triggers
    NO_ANSWER = "no_answer"  # the subject gave no answer to judge
    JUDGE_ERROR = "judge_error"  # the judge gave no reply
    NO_REFERENCE = "no_reference"  # the sample has no triggers to compare with: the judge was not asked


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's parsed reply for one sample.

    Attributes:
        correct: triggers that the answer names; None where no verdict could be read.
        total: triggers that the verdict counts.
        hits: per reference trigger, whether the answer names it; None where the judge did not say which.
    """

    sample_id: str
    correct: int | None
    total: int | None
    explanation: str | None
    status: VerdictStatus
    hits: tuple[bool, ...] | None = None

    @property
    def recall(self) -> float | None:
        """Share of the reference triggers that the answer names; None unless the status is ok.

        In [0, 1] for strict verdicts; official ones are not clamped.
        """
        if self.status is not VerdictStatus.OK or self.correct is None or not self.total:
            return None
        return self.correct / self.total
