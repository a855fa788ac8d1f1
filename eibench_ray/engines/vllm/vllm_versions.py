"""Names that vLLM 0.32 has and older versions have elsewhere or lack: an engine may have a vLLM of its own.

Looked up in 0.32.0, 0.31.0 and 0.22.1; the last is what one model needs. Beside vllm.py and vllm_prompts.py, it imports
vllm.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def no_template_error() -> type[Exception]:
    """The error of a renderer whose model has no chat template."""
    # The modules are there in some versions without the class, so both are asked for it.
    for module in ("vllm.renderers.chat_utils", "vllm.entrypoints.chat_utils"):
        try:
            error = getattr(import_module(module), "ChatTemplateResolutionError", None)
        except ModuleNotFoundError:
            continue
        if isinstance(error, type) and issubclass(error, Exception):
            return error
    return _NeverRaisedError


def refused_request_error() -> type[Exception]:
    """The error of a request that cannot be answered as it is asked; older versions raise a ValueError."""
    from vllm import exceptions

    error = getattr(exceptions, "VLLMClientError", ValueError)
    assert issubclass(error, Exception)
    return error


def to_engine_args(arguments: Mapping[str, Any]) -> Any:
    """The `AsyncEngineArgs` of some arguments.

    vLLM 0.32 writes the name of the reasoning parser into the section of structured outputs, and cannot where that is
    a mapping.
    """
    from vllm.config import StructuredOutputsConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    outputs = arguments.get("structured_outputs_config")
    ready = {"structured_outputs_config": StructuredOutputsConfig(**outputs)} if isinstance(outputs, Mapping) else {}
    return AsyncEngineArgs(**{**arguments, **ready})


def throughput_context() -> Any:
    """The context of use whose defaults are for throughput: that of vLLM's LLM class.

    On an H100 a step has 16,384 tokens then, and 2,048 without a context (vLLM 0.32, engine/arg_utils.py).
    """
    from vllm.usage.usage_lib import UsageContext

    return UsageContext.LLM_CLASS


def carrying(renderer: Any) -> dict[str, Any]:
    """The arguments of `render_chat_async` by which a request carries its picture although it is marked as sent."""
    can_skip = "skip_mm_cache" in inspect.signature(renderer.render_chat_async).parameters
    return {"skip_mm_cache": True} if can_skip else {}


def forgetful_cache(renderer: Any) -> Any:
    """The renderer's marks of the pictures that were sent; None: it has none, or none that can be taken back."""
    cache = getattr(renderer, "mm_processor_cache", None)
    return cache if hasattr(cache, "invalidate") else None


class _NeverRaisedError(Exception):
    """Stands for an error that a version does not have."""
