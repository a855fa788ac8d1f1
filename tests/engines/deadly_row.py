"""A logits processor that kills vLLM's process when a long prompt joins its batch. Imported by vLLM alone."""

from __future__ import annotations

import os
import signal
from typing import Any

from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor

MOST_TOKENS = 200


class DeadlyRow(LogitsProcessor):
    """Lets all prompts pass but long ones."""

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        pass

    def is_argmax_invariant(self) -> bool:
        """Whether greedy answers are the same without it."""
        return True

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Looks at the prompts that join the batch."""
        for _, _, prompt, _ in batch_update.added if batch_update else ():
            if len(prompt or ()) > MOST_TOKENS:
                os.kill(os.getpid(), signal.SIGKILL)

    def apply(self, logits: Any) -> Any:
        """The logits as they are."""
        return logits
