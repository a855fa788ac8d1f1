"""Asks an engine for one row: attempts, the deadline; one completion comes out, whatever happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from eibench_ray.engines.engine import Engine, RowError
from eibench_ray.ratelimit.rate_limiter import BudgetSpentError
from eibench_ray.rows.asked_work import AskedWork, SharedTime
from eibench_ray.rows.completion import ABSENT, FALLBACK, Completion, RowErrorKind
from eibench_ray.rows.digests import derive_seed
from eibench_ray.rows.endings import ending_of
from eibench_ray.rows.request import AcceptRule, Reply, Request
from eibench_ray.rows.wait import Wait
from eibench_ray.visible_text import in_page
from eibench_ray.worker.gpu_meter import GpuUse
from eibench_ray.worker.read_ahead import ReadAhead


@dataclass(slots=True)
class ReplicaCounts:
    """Counts of a replica's work so far; read by the driver for progress."""

    rows: int = 0  # finished ones, with those that were committed before and stand
    tokens: int = 0
    cost_usd: float = 0.0
    progress: int = 0  # moves while it gets on. A row that took too long is no progress.
    waits: tuple[Wait, ...] = ()  # what its engine waited for when the driver last looked
    gpus: tuple[GpuUse, ...] = ()  # those of its own node


@dataclass(frozen=True, slots=True)
class Asker:
    """One engine and how it is asked.

    Attributes:
        slots: bounds the requests in flight, over all tasks of the replica; a little above the engine's batch, so that
            it never waits for us. Who asks holds one.
        read_ahead: bounds what is read for it, likewise.
        shared_time: shares the engine's time out among the rows in flight, likewise.
        asked: what this asker's own rows took.
    """

    engine: Engine
    fingerprint: str
    slots: asyncio.Semaphore
    timeout_s: float  # deadline of one row, all attempts together
    run_id: str
    counts_so_far: ReplicaCounts
    costs_money: bool = False  # whether rows are paid for
    read_ahead: ReadAhead = field(default_factory=ReadAhead)
    shared_time: SharedTime = field(default_factory=SharedTime)
    asked: AskedWork = field(default_factory=AskedWork)

    async def ask(self, request: Request, images: Sequence[bytes], input_digest: str) -> Completion:
        """The row of one request: an answer, or an error with its kind.

        Args:
            request: what is asked.
            images: the bytes of its pictures, in the order of `request.images`.
            input_digest: of what the request was made from; the row carries it.

        Raises:
            EngineDeadError: the engine died; the row has no completion.
            BudgetSpentError: nothing was sent; the row has no completion.
        """
        started = time.monotonic()
        mark = self.shared_time.begin(started)
        attempts: list[Reply] = []
        error: RowError | None = None
        text: str | None = None
        try:
            async with asyncio.timeout(self.timeout_s):
                text = await self._ask_until_accepted(request, images, attempts)
        except TimeoutError:
            error = RowError(RowErrorKind.TIMEOUT, self._describe_timeout())
        except RowError as failed:
            error = failed
        except BudgetSpentError:
            if not attempts:
                raise
            # What they cost would be forgotten with the row.
            error = RowError(RowErrorKind.ENGINE, "the budget was spent before a reply was acceptable")
        finally:
            now = time.monotonic()
            engine_s = self.shared_time.end(mark, now)
        latency_s = now - started
        row = self._complete(request.sample_id, request.digest, text, error, attempts, latency_s, input_digest)
        self.asked.add(
            AskedWork(1, row.prompt_tokens, row.completion_tokens, len(images) * len(attempts), engine_s, latency_s)
        )
        return row

    def refuse(
        self, sample_id: str, kind: RowErrorKind, message: str, input_digest: str, request_digest: str = ""
    ) -> Completion:
        """The error row of a sample that is not asked; with the digest of the request by which it is known again."""
        return self._complete(sample_id, request_digest, None, RowError(kind, message), [], 0.0, input_digest)

    def skip(self, sample_id: str, input_digest: str) -> Completion:
        """The row of a sample about which there is nothing to ask."""
        return self._complete(sample_id, "", None, None, [], 0.0, input_digest)

    def _describe_timeout(self) -> str:
        """That the row has taken too long, and what it may have waited for."""
        reasons = "; ".join(wait.reason for wait in self.counts_so_far.waits)
        return f"no reply within {self.timeout_s:g} s{f'; what it waited for last: {reasons}' if reasons else ''}"

    async def _ask_until_accepted(self, request: Request, images: Sequence[bytes], attempts: list[Reply]) -> str:
        """The first reply that the request's rule accepts; its fallback where none is.

        Raises:
            RowError: a reply is no answer, whatever its text: what computes it failed before its end.
        """
        await self._ask_once(request, images, attempts)
        rule = request.accept
        if rule is None:
            return attempts[0].text
        while not _is_accepted(rule, attempts[-1].text):
            if len(attempts) >= rule.attempts:
                attempts[-1] = replace(attempts[-1], finish_reason=FALLBACK, mean_logprob=None)
                return rule.fallback
            again = replace(request, seed=derive_seed(request.seed, len(attempts)))
            await self._ask_once(again, images, attempts)
        return attempts[-1].text

    async def _ask_once(self, request: Request, images: Sequence[bytes], attempts: list[Reply]) -> None:
        """Adds a reply to the attempts; also one that is no answer, since it cost tokens and perhaps money."""
        reply = await self.engine.generate(request, images)
        attempts.append(reply)
        if not ending_of(reply.finish_reason).is_answer:
            raise RowError(
                RowErrorKind.ENGINE,
                f"the reply ended with {reply.finish_reason!r} after {reply.completion_tokens} tokens, which is not "
                f"how an answer ends",
            )

    def _complete(
        self,
        sample_id: str,
        request_digest: str,
        text: str | None,
        error: RowError | None,
        attempts: list[Reply],
        latency_s: float,
        input_digest: str,
    ) -> Completion:
        completion_tokens = sum([reply.completion_tokens for reply in attempts])
        cost_usd = _cost_usd(attempts, error) if self.costs_money else None
        stands = attempts[-1] if attempts and not error else None
        # The attempt that failed is among them where it brought a reply that is no answer.
        is_counted = bool(attempts) and not ending_of(attempts[-1].finish_reason).is_answer
        is_absent = text is None and error is None
        self.counts_so_far.rows += not is_absent
        self.counts_so_far.progress += error is None or error.kind is not RowErrorKind.TIMEOUT
        self.counts_so_far.tokens += completion_tokens
        self.counts_so_far.cost_usd += cost_usd or 0.0
        return Completion(
            sample_id=sample_id,
            request_digest=request_digest,
            text=_to_unicode(text) if text is not None else None,
            error_kind=error.kind.value if error else None,
            error=in_page(_to_unicode(str(error))) if error else None,
            finish_reason=ABSENT if is_absent else _to_unicode(stands.finish_reason) if stands else None,
            prompt_tokens=sum([reply.prompt_tokens for reply in attempts]),
            completion_tokens=completion_tokens,
            cached_tokens=sum([reply.cached_tokens for reply in attempts]),
            attempt=len(attempts) + (error is not None and bool(request_digest) and not is_counted),
            latency_s=latency_s,
            finished_at=time.time(),
            engine=self.fingerprint,
            run_id=self.run_id,
            input_digest=input_digest,
            cost_usd=cost_usd,
            mean_logprob=stands.mean_logprob if stands else None,
            thinking=_to_unicode(stands.thinking) if stands and stands.thinking else None,
            thinking_tokens=stands.thinking_tokens if stands else None,
            likelihoods=stands.likelihoods if stands else None,
        )


def _cost_usd(attempts: list[Reply], error: RowError | None) -> float | None:
    """Cost of all attempts; None where none of them has a price."""
    costs = [reply.cost_usd for reply in attempts] + [error.cost_usd if error else None]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


def _to_unicode(text: str) -> str:
    """The text with "?" for half characters (lone surrogates), which recorded JSON may hold and Parquet cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _is_accepted(rule: AcceptRule, text: str) -> bool:
    return rule.contains in (text.lower() if rule.ignore_case else text)
