"""Errors of vLLM's told apart: what a row itself is to blame for, and the engine's death. It imports vllm."""

from __future__ import annotations

from typing import Any

from eibench_ray.engines.engine import EngineDeadError, RowError
from eibench_ray.engines.load_failure import reason_of
from eibench_ray.engines.vllm.vllm_versions import refused_request_error
from eibench_ray.rows.completion import RowErrorKind

# What a template or a processor raises for a row that it cannot take.
_UNUSABLE = (ValueError, TypeError, KeyError, IndexError, RuntimeError)


def row_error(error: Exception, sample_id: str, llm: Any) -> RowError | EngineDeadError | None:
    """The error of a row that vLLM rendered or answered; None where it is none of those that are known.

    Args:
        error: raised by vLLM.
        sample_id: of the row.
        llm: vLLM's; None once it was stopped.
    """
    from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError
    from vllm.v1.engine.exceptions import EngineGenerateError

    died = EngineDeadError(f"vLLM died while it answered {sample_id}: {reason_of(error)}")
    if isinstance(error, VllmDeadError):
        return died
    if isinstance(error, (refused_request_error(), *_UNUSABLE)):
        return EngineDeadError("vLLM was stopped") if llm is None else RowError(RowErrorKind.PROMPT, reason_of(error))
    if isinstance(error, (EngineGenerateError, AssertionError)):
        return died if llm is None or llm.errored else RowError(RowErrorKind.ENGINE, reason_of(error))
    return None
