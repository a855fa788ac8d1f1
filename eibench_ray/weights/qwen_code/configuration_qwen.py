"""Configuration of a tiny QWen with a vision tower; a file of the checkpoint."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class QWenConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes of a QWen model, by the names that its authors gave them."""

    model_type = "qwen"

    def __init__(
        self,
        vocab_size: int = 320,
        hidden_size: int = 128,
        num_hidden_layers: int = 2,
        num_attention_heads: int = 2,
        intermediate_size: int = 512,
        layer_norm_epsilon: float = 1e-6,
        max_position_embeddings: int = 8192,
        rotary_emb_base: float = 10000.0,
        visual: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size  # of both halves of the gated layer together
        self.layer_norm_epsilon = layer_norm_epsilon
        self.max_position_embeddings = max_position_embeddings
        self.rotary_emb_base = rotary_emb_base
        self.visual = visual or {}
        super().__init__(**kwargs)
