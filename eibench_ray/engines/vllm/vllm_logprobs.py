"""Log probabilities in vLLM's outputs: of a reply's own tokens, and of given tokens behind a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any


def mean_logprob(answer: Any, thinking_tokens: int | None) -> float | None:
    """Mean log probability of an answer's tokens; None where they were not asked for, or it has none.

    Its thinking is left out, and so is the token that ended it.

    Args:
        answer: one of the outputs of a request.
        thinking_tokens: tokens at its beginning that are its thinking.
    """
    if answer.logprobs is None:
        return None
    tokens = list(answer.token_ids)
    # vLLM's reason is the text or the token that ended a reply, and none where that was the model's own last token.
    ends_with_token = answer.finish_reason == "stop" and not isinstance(answer.stop_reason, str)
    own = range(thinking_tokens or 0, min(len(tokens) - ends_with_token, len(answer.logprobs)))
    found = [answer.logprobs[place][tokens[place]].logprob for place in own]
    return fsum(found) / len(found) if found else None


def with_tokens(prompt: Mapping[str, Any], tokens: Sequence[int]) -> dict[str, Any]:
    """A rendered prompt, pictures included, with further tokens behind it."""
    return {**prompt, "prompt_token_ids": [*prompt["prompt_token_ids"], *tokens]}


def reading_parameters() -> Any:
    """Parameters by which vLLM reads a prompt and tells the log probability of each of its tokens.

    It computes the prompt anew for each choice: one from its prefix cache would lack log probabilities. It cannot do
    without generating a token, which is thrown away.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY
    )


def read_tokens(output: Any, tokens: Sequence[int]) -> list[float]:
    """Log probabilities of the last tokens of a prompt that was read."""
    said = output.prompt_logprobs[-len(tokens) :]
    return [float(each[token].logprob) for each, token in zip(said, tokens, strict=True)]
