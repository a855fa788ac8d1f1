"""Chooses the next token of each row of a batch, and tells whether it was the last.

`generate` treats a batch as one; a sweep's rows have a seed, a schema, a limit and stop texts of their own. So each row
chooses its tokens itself, whoever shares its batch, and `generate` merely takes the choice (as the greatest score).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any, Literal

import torch
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.logits_process import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from eibench_ray.rows.request import Sampling

# A token may be but a part of a character, so that the end of a text is looked at with some to spare.
_SPARE_TOKENS = 8


@dataclass(slots=True)
class BatchRow:
    """One row of a batch.

    Attributes:
        free_until: the tokens that end its thinking, behind which its schema begins; none: it begins at once.
        end: why it ended; None while it goes on. `error`: its scores are no numbers.
    """

    sampling: Sampling
    limit: int  # the most tokens that it may get
    generator: torch.Generator | None  # of its random choices; None where the likeliest token is taken
    matcher: Any  # xgrammar's, of the schema that its text must follow; None where it is free
    prompt: Sequence[int]  # the tokens of its prompt
    is_wanted: Callable[[], bool]  # asked after every token; a row that nobody awaits any more ends
    free_until: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)  # what was generated, the token that ended it included
    end: Literal["stop", "length", "error"] | None = None
    notes_logprobs: bool = False  # whether the log probabilities of its tokens are noted
    logprobs: list[float] = field(default_factory=list)  # of its tokens, by the model alone: before all that narrows
    next_logprobs: torch.Tensor | None = None  # (tokens,) of those from which the next one is chosen

    def mean_logprob(self, num_thinking: int, last_tokens: Collection[int]) -> float | None:
        """Mean log probability of its answer's tokens; None where they were not noted, or it has none.

        Args:
            num_thinking: tokens at its beginning that are its thinking.
            last_tokens: those that end a reply, and are no part of the answer.
        """
        ends_with_token = bool(self.tokens) and self.tokens[-1] in last_tokens
        own = self.logprobs[num_thinking : len(self.tokens) - ends_with_token]
        return fsum(own) / len(own) if own else None


class TokenChoice(LogitsProcessor):  # type: ignore[misc]
    """Leaves each row the one token that it has chosen."""

    def __init__(self, rows: Sequence[BatchRow]) -> None:
        self._rows = rows

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:  # noqa: ARG002
        """(rows, tokens) scores, of which all but the chosen are minus infinity; finished rows are left alone.

        A row whose scores are no numbers ends: any token of it would be taken for a choice.
        """
        are_numbers = scores.isnan().any(dim=-1).logical_not().tolist()
        for number, row in enumerate(self._rows):
            if row.end is None and not are_numbers[number]:
                row.end = "error"
            if row.end is None:
                part = scores[number : number + 1]
                if row.notes_logprobs:
                    row.next_logprobs = part[0].float().log_softmax(-1)
                if row.matcher:
                    _allow(row, part)
                _penalise(row, part)
                if row.generator:
                    chosen = _draw(row, row.generator, part)
                    part.fill_(-torch.inf)[0, chosen] = 0
        return scores


class StopCheck(StoppingCriteria):  # type: ignore[misc]
    """Takes each row's new token down, and tells which rows are finished."""

    def __init__(
        self,
        rows: Sequence[BatchRow],
        last_tokens: Collection[int],
        decode: Callable[[list[int]], str],
        note: Callable[[], object],
    ) -> None:
        self._rows = rows
        self._last_tokens = last_tokens
        self._decode = decode
        self._note = note

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_: Any) -> torch.BoolTensor:  # noqa: ARG002
        """(rows,) bool."""
        self._note()
        for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
            if row.end is None:
                row.tokens.append(token)
                if row.next_logprobs is not None:
                    row.logprobs.append(float(row.next_logprobs[token]))
                row.end = self._find_end(row, token)
        return torch.tensor([row.end is not None for row in self._rows], device=input_ids.device)

    def _find_end(self, row: BatchRow, token: int) -> Literal["stop", "length"] | None:
        if token in self._last_tokens or (row.sampling.stop and self._has_stop(row)):
            return "stop"
        if len(row.tokens) >= row.limit or not row.is_wanted():
            return "length"
        return None

    def _has_stop(self, row: BatchRow) -> bool:
        """Whether the text's end has one of its stop texts; no token is shorter than a byte."""
        longest = max(len(stop.encode()) for stop in row.sampling.stop)
        text = self._decode(row.tokens[-(longest + _SPARE_TOKENS) :])
        return any(stop in text for stop in row.sampling.stop)


def _allow(row: BatchRow, scores: torch.FloatTensor) -> None:
    """Sets what the schema does not allow next to minus infinity, in place."""
    import xgrammar

    if row.free_until:
        if row.tokens[-len(row.free_until) :] != row.free_until:
            return
        row.free_until = []
    elif row.tokens:
        row.matcher.accept_token(row.tokens[-1])
    mask = xgrammar.allocate_token_bitmask(1, scores.shape[-1])
    row.matcher.fill_next_token_bitmask(mask)
    xgrammar.apply_token_bitmask_inplace(scores, mask.to(scores.device))


def _penalise(row: BatchRow, scores: torch.FloatTensor) -> None:
    """Lowers, in place, the scores of tokens that were there before, as vLLM counts them."""
    sampling, size = row.sampling, scores.shape[-1]
    if (factor := sampling.repetition_penalty) is not None:
        scores.copy_(RepetitionPenaltyLogitsProcessor(factor)(_tokens_so_far(row, scores), scores))
    if (each := sampling.frequency_penalty) or sampling.presence_penalty:
        counts = torch.tensor(row.tokens, dtype=torch.long).bincount(minlength=size).to(scores.device)
        scores -= (each or 0) * counts + (sampling.presence_penalty or 0) * (counts > 0)
    if (length := sampling.extra.get("no_repeat_ngram_size")) is not None:
        scores.copy_(NoRepeatNGramLogitsProcessor(length)(_tokens_so_far(row, scores), scores))


def _tokens_so_far(row: BatchRow, scores: torch.FloatTensor) -> torch.LongTensor:
    """(1, tokens) of the prompt and the reply. A token that stands for a picture may have no score."""
    tokens = [token for token in (*row.prompt, *row.tokens) if token < scores.shape[-1]]
    return torch.tensor([tokens], device=scores.device)


def _draw(row: BatchRow, generator: torch.Generator, scores: torch.FloatTensor) -> torch.Tensor:
    """A token, drawn by its probability: the greatest of p / e, where e is exponentially distributed."""
    for warp in _warpers(row.sampling, scores.device):
        scores = warp(None, scores)
    chances = scores.softmax(-1)
    return (chances / torch.empty_like(chances).exponential_(generator=generator)).argmax()


def _warpers(
    sampling: Sampling, device: torch.device
) -> Iterator[Callable[[Any, torch.FloatTensor], torch.FloatTensor]]:
    """Narrowings of the choice of a token, in transformers' own order."""
    yield TemperatureLogitsWarper(sampling.temperature)
    if sampling.top_k:
        yield TopKLogitsWarper(sampling.top_k)
    if sampling.top_p < 1:
        yield TopPLogitsWarper(sampling.top_p)
    if sampling.min_p:
        yield MinPLogitsWarper(sampling.min_p)
    if (mass := sampling.extra.get("typical_p")) is not None:
        yield TypicalLogitsWarper(mass)
    if (least := sampling.extra.get("epsilon_cutoff")) is not None:
        yield EpsilonLogitsWarper(least)
    if (least := sampling.extra.get("eta_cutoff")) is not None:
        yield EtaLogitsWarper(least, device=str(device))
