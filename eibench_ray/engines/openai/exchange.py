"""The result of one exchange with an endpoint: for the row, for the rate limiter, and for the concurrency. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from eibench_ray.engines.api_key import Secret
from eibench_ray.engines.openai.http_client import Response
from eibench_ray.engines.openai.limit_headers import allowance
from eibench_ray.engines.openai.no_response import NoResponse
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.openai.reply_body import (
    FailedReplyError,
    MalformedReplyError,
    filtered_reply,
    parse_body,
    read_reply,
)
from eibench_ray.engines.openai.request_body import prompt_estimate
from eibench_ray.engines.openai.response_errors import (
    Remedy,
    ResponseError,
    judge_error,
    judge_garbled,
    judge_loss,
    judge_status,
)
from eibench_ray.ratelimit.concurrency import RequestEnding
from eibench_ray.ratelimit.rate_limiter import Reservation, Spend
from eibench_ray.rows.prices import cost_usd
from eibench_ray.rows.request import Reply, Request
from eibench_ray.rows.token_counts import estimate_tokens


@dataclass(frozen=True, slots=True)
class Exchange:
    """The result of an exchange."""

    result: Reply | ResponseError  # the reply, or why there is none
    spend: Spend  # what the rate limiter is told
    ending: RequestEnding  # what it says of the endpoint's strength


def reservation_of(request: Request, config: OpenaiSection) -> Reservation:
    """The reservation for one attempt at a request: what it may take at most."""
    return _reservation(request, config, config.most_tokens(request.sampling.max_tokens))


# How long after the deadline of an attempt the rate limiter may hear of its end.
LATE_S = 60.0


def judge(said: Response | NoResponse, request: Request, config: OpenaiSection, secret: Secret, now: float) -> Exchange:
    """The result of an exchange.

    What may have been paid for counts as paid: all that it could have cost, where the request may have been worked on
    and nothing came back; what came back, where that cannot be read.
    """
    if isinstance(said, NoResponse):
        most = reservation_of(request, config)
        spend = Spend(most.tokens, most.cost_usd) if said.was_sent else Spend()
        return Exchange(judge_loss(said, config, secret), spend, RequestEnding.FAILED)
    allowed = allowance(said.headers)
    told = Spend(allowed_per_min=allowed.requests_per_min, allowed_tokens_per_min=allowed.tokens_per_min)
    if said.status >= 300:
        return _refused(judge_status(said.status, said.headers, said.text, config, secret, now), told, request, config)
    try:
        reply = read_reply(parse_body(said.text), request, config, is_batch=config.mode == "batch")
    except FailedReplyError as error:
        if (usage := error.usage) is not None:
            tokens = usage.prompt_tokens + usage.completion_tokens
            told = replace(told, tokens=tokens, cost_usd=usage.cost_usd or 0.0)
        return _refused(judge_error(error.error, config, secret, now), told, request, config)
    except MalformedReplyError as error:
        limit = min(estimate_tokens(said.text), config.most_tokens(request.sampling.max_tokens))
        spent = _reservation(request, config, limit)
        spend = replace(told, tokens=spent.tokens, cost_usd=spent.cost_usd)
        return Exchange(judge_garbled(str(error), config, secret), spend, RequestEnding.FAILED)
    tokens = reply.prompt_tokens + reply.completion_tokens
    spend = replace(told, tokens=tokens, cost_usd=reply.cost_usd or 0.0)
    return Exchange(
        replace(reply, text=secret.hide(reply.text), thinking=reply.thinking and secret.hide(reply.thinking)),
        spend,
        RequestEnding.REPLIED,
    )


def _refused(failure: ResponseError, told: Spend, request: Request, config: OpenaiSection) -> Exchange:
    """The result of a response that is an error."""
    told = replace(told, was_limited=failure.was_limited, retry_after_s=failure.retry_after_s)
    if failure.fate is Remedy.ANSWER:
        return Exchange(filtered_reply(request, config), told, RequestEnding.REPLIED)
    ending = RequestEnding.FAILED if failure.fate is Remedy.AGAIN else RequestEnding.REPLIED
    return Exchange(failure, told, RequestEnding.REFUSED if failure.was_limited else ending)


def _reservation(request: Request, config: OpenaiSection, completion_tokens: int) -> Reservation:
    prompt_tokens = prompt_estimate(request, config)
    price = config.price and config.price.to_price()
    cost = cost_usd(price, prompt_tokens, 0, completion_tokens, is_batch=config.mode == "batch") if price else 0.0
    return Reservation(config.pool, prompt_tokens + completion_tokens, cost, config.request_timeout_s + LATE_S)
