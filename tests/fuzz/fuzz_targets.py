"""All targets, by name; each module registers its own."""

from __future__ import annotations

import fuzz_config  # noqa: F401
import fuzz_data  # noqa: F401
import fuzz_replies  # noqa: F401
import fuzz_store  # noqa: F401
from fuzzing import TARGETS

__all__ = ["TARGETS"]
