"""The words by which engines say why a reply ended, and which of them make it an answer. Pure.

    >>> ending_of("stop").is_answer, ending_of("MAX_TOKENS"), ending_of("abort").is_answer, ending_of(None).is_answer
    (True, <Ending.TRUNCATED: 'truncated'>, False, False)

This is the one list: a word that is not here is no answer's (`cluster/ask.py` sees to that for every engine).
"""

from __future__ import annotations

from enum import StrEnum

# Why a reply ended where the model refused to answer, or a filter took the answer away: a row all the same.
REFUSAL = "refusal"
CONTENT_FILTER = "content_filter"


class Ending(StrEnum):
    """Meaning of a finish reason for its reply."""

    WHOLE = "whole"  # the model ended it
    TRUNCATED = "truncated"  # a limit of tokens ended it, or vLLM's own detection of endless repetition
    REFUSED = "refused"  # the model refused, or a filter took the rest away
    FAILED = "failed"  # what computes it failed: no answer, whatever text there is
    UNKNOWN = "unknown"  # no reason, or a word that is not in the list: nothing shows that it is an answer

    @property
    def is_answer(self) -> bool:
        """Whether the reply's text is an answer."""
        return self in (Ending.WHOLE, Ending.TRUNCATED, Ending.REFUSED)


# In lower case, with "_" for blanks and hyphens. Beside OpenAI's words those of Anthropic, Cohere, Gemini, Mistral,
# Bedrock, GLM, Qianfan, TGI, Together, and two of ours: a replayed answer is `recorded`, and `fallback` is what stands
# in where no attempt was acceptable.
_WORDS = {
    Ending.WHOLE: (
        "stop stopped stop_sequence end_turn eos eos_token complete completed finish finished normal done "
        "tool_calls tool_call tool_use function_call recorded fallback"
    ),
    Ending.TRUNCATED: (
        "length max_tokens max_tokens_reached max_output_tokens max_length max_output model_length token_limit "
        "model_context_window_exceeded error_limit repetition"
    ),
    Ending.REFUSED: (
        "refusal content_filter content_filtered sensitive safety recitation blocklist prohibited_content spii "
        "image_safety guardrail_intervened error_toxic"
    ),
    Ending.FAILED: (
        "abort aborted cancel cancelled canceled user_cancel interrupted error errored failed failure network_error "
        "server_error internal_error internal_server_error engine_error upstream_error unexpected_error timeout "
        "insufficient_system_resource insufficient_system_resources insufficient_quota overloaded rate_limit "
        "rate_limited rate_limit_exceeded service_unavailable malformed_function_call unexpected_tool_call"
    ),
}
_ENDINGS = {word: ending for ending, words in _WORDS.items() for word in words.split()}


def ending_of(finish_reason: str | None) -> Ending:
    """Meaning of a finish reason for its reply, however it is written.

    Args:
        finish_reason: an engine's word; Gemini's `content_filter: SAFETY` is known by what stands before the colon.
    """
    word = (finish_reason or "").partition(":")[0].strip().lower().replace("-", "_").replace(" ", "_")
    return _ENDINGS.get(word.removeprefix("finish_reason_"), Ending.UNKNOWN)
