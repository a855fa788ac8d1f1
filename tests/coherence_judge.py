"""The judge that measures coherence; its encoder is never loaded in tests that take it from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COHERENCE: Mapping[str, Any] = {
    "name": "coherence",
    "kind": "coherence",
    "model": {
        "name": "minilm",
        "engine": {"kind": "embedding", "source": "checkpoint:minilm", "pooling": "mean", "splitter": "sentencizer"},
        "sees_image": False,
        "expect": {"load_s": 20.0, "tokens_per_s": 20.0, "tokens_per_row": 1.0},
    },
    "prompt": "{{ answer }}",
    "sampling": {"temperature": 0.0, "top_p": 1.0, "max_tokens": 1},
}
