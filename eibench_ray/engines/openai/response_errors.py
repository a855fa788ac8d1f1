"""Classifies an endpoint's refusals: ask again, a row's own error, an answer, or the end of the engine. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from eibench_ray.engines.api_key import Secret
from eibench_ray.engines.openai.error_body import ErrorBody
from eibench_ray.engines.openai.limit_headers import retry_after_s
from eibench_ray.engines.openai.no_response import Hope, NoResponse
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.rows.completion import RowErrorKind


class Remedy(StrEnum):
    """The consequence of a failure."""

    AGAIN = "again"  # another attempt may succeed
    ROW = "row"  # this request fails, however often it is sent
    ANSWER = "answer"  # a content filter refused the prompt: that is the endpoint's answer
    ENGINE = "engine"  # no request can succeed


@dataclass(frozen=True, slots=True)
class ResponseError:
    """The failure of a request that got no reply.

    Attributes:
        row_kind: the row's error where it ends here; for `AGAIN`, where no attempt is left.
    """

    fate: Remedy
    message: str  # what happened and, where a person has to fix it, what to do; without the key
    row_kind: RowErrorKind = RowErrorKind.ENGINE
    was_limited: bool = False  # whether a limit is the reason
    retry_after_s: float | None = None  # seconds for which the endpoint wants to be left alone; None: it did not say


# Codes and types of OpenAI, Azure, Anthropic and DashScope, in lower case and without "_".
_FILTERED = frozenset({"contentfilter", "contentpolicyviolation", "invalidprompt", "datainspectionfailed"})
_UNPAID = frozenset({"insufficientquota", "billinghardlimitreached", "billingnotactive", "billingerror", "arrearage"})
_UNKNOWN_MODEL = frozenset({"modelnotfound"})
_MISCONFIGURED = frozenset({"unsupportedparameter", "unsupportedvalue", "unknownparameter", "invalidjsonschema"})
# What Anthropic says without a code of its own, and OpenAI of a schema.
_UNPAID_WORDS = ("credit balance is too low",)
# nginx, Go and Apache, of a request that was not encrypted.
_WRONG_SCHEME_WORDS = (
    "plain http request was sent to https port",
    "http request to an https server",
    "speaking plain http to an ssl-enabled server",
)
_MISCONFIGURED_WORDS = ("cannot both be specified", "invalid schema for response_format")


def judge_status(
    status: int, headers: Mapping[str, str], body: str, config: OpenaiSection, secret: Secret, now: float
) -> ResponseError:
    """Classifies a response that is no success."""
    error = ErrorBody.read(body)
    said = secret.scrub(f"{config.endpoint} answered {status}: {error.message}")
    if 300 <= status < 400:
        target = secret.scrub(_without_query(headers.get("location", "")))
        said = f"{config.endpoint} answered {status}: it sends requests on to {target or 'nowhere'}"
    return _judge(status, error, said, headers, config, now)


def judge_error(error: ErrorBody, config: OpenaiSection, secret: Secret, now: float) -> ResponseError:
    """Classifies an error in a response that calls itself a success, as if it had come with its own status."""
    said = secret.scrub(f"{config.endpoint} answered 200 with an error: {error.message}")
    return _judge(error.status, error, said, {}, config, now)


def _judge(
    status: int, error: ErrorBody, said: str, headers: Mapping[str, str], config: OpenaiSection, now: float
) -> ResponseError:
    if error.codes & _FILTERED:
        return ResponseError(Remedy.ANSWER, said)
    if remedy := _remedy(status, error, config):
        return ResponseError(Remedy.ENGINE, f"{said.rstrip('.')}; {remedy}")
    if status in (408, 409, 425, 429) or status >= 500:
        wait_s = retry_after_s(headers, now)
        if wait_s is not None and wait_s > config.outage_timeout_s:
            remedy = f"run the same command again in {wait_s:,.0f} s, which is more than outage_timeout_s waits for"
            return ResponseError(Remedy.ENGINE, f"{said.rstrip('.')}; {remedy}")
        return ResponseError(Remedy.AGAIN, said, was_limited=status == 429, retry_after_s=wait_s)
    is_picture = any("image" in code for code in error.codes)
    return ResponseError(Remedy.ROW, said, RowErrorKind.IMAGE if is_picture else RowErrorKind.PROMPT)


def judge_loss(lost: NoResponse, config: OpenaiSection, secret: Secret) -> ResponseError:
    """Classifies the lack of a response, or one that is larger than any reply."""
    said = secret.scrub(f"{config.endpoint} at {config.base_url}: {lost.reason}")
    if lost.hope is Hope.NONE:
        return ResponseError(Remedy.ENGINE, said)
    return ResponseError(Remedy.ROW if lost.is_too_large else Remedy.AGAIN, said)


def judge_garbled(reason: str, config: OpenaiSection, secret: Secret) -> ResponseError:
    """Classifies a body that cannot be read."""
    return ResponseError(Remedy.AGAIN, secret.scrub(f"{config.endpoint} at {config.base_url}: {reason}"))


def _remedy(status: int, error: ErrorBody, config: OpenaiSection) -> str | None:
    """The remedy without which no request can succeed; None where one can."""
    if status == 402 or error.says(_UNPAID, _UNPAID_WORDS):
        # DashScope gives a limit per minute the name of OpenAI's empty account.
        if status == 429 and "aliyuncs.com" in config.base_url:
            return None
        return f"the account has no credit: add some at {config.endpoint}, or choose another model"
    if status in (400, 422) and config.logprobs and "logprobs" in error.message.lower():
        return "it gives no log probabilities: set model.engine.logprobs=false"
    if error.says(_MISCONFIGURED, _MISCONFIGURED_WORDS):
        return (
            "it takes no such request: change model.engine (sends_sampling, sends_seed, max_tokens_key, json_output, "
            "logprobs, reasoning_effort, or args, where null takes a field out)"
        )
    if status == 407:
        return "a proxy wants a name and a password: correct HTTP_PROXY and HTTPS_PROXY where the cluster is started"
    if status in (401, 403):
        if config.api_key_env is None:
            return "it wants a key: put the name of the variable that holds it into model.engine.api_key_env"
        return (
            f"correct the key in the variable {config.api_key_env} where the cluster is started, or what it may do "
            f"(model {config.model!r})"
        )
    if error.says(frozenset(), _WRONG_SCHEME_WORDS):
        return f"the server speaks https: write https:// in model.engine.base_url ({config.base_url})"
    if 300 <= status < 400:
        return (
            f"correct model.engine.base_url ({config.base_url}): the endpoint is somewhere else, or wants a login first"
        )
    if status in (404, 405, 410) or error.says(_UNKNOWN_MODEL):
        return f"correct model.engine.model ({config.model}) or model.engine.base_url ({config.base_url})"
    return None


def _without_query(url: str) -> str:
    """An address without what may be a secret in it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()
