"""The masks by which a strict judge's reply keeps to its schema."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.gpu_check.asked_engine import SENTENCE


def check_masks(checkpoint: str) -> Mapping[str, Any]:
    """Compares the schemas of `strict` and `strict_v2` over a reply, with the checkpoint's own vocabulary."""
    import xgrammar
    from transformers import AutoTokenizer

    from eibench_ray.benchmarks.eibench.strict_scorer import strict_schema
    from eibench_ray.weights.build import build_checkpoint

    folder = Path(checkpoint) if Path(checkpoint).is_dir() else build_checkpoint(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer)
    numbers = ", ".join(f'"{number}": {str(number % 2 == 1).lower()}' for number in range(1, 6))
    named, why = f'"named": {{{numbers}}}', f'"explanation": {json.dumps(SENTENCE)}'
    schemas = {
        "strict": (strict_schema(5, 200, per_trigger=True), f"{{{why}, {named}}}"),
        "strict_v2": (strict_schema(5, 0, 30, per_trigger=True), f"{{{named}, {why}}}"),
    }
    found: dict[str, Any] = {"vocabulary": info.vocab_size}
    for name, (schema, text) in schemas.items():
        began = time.process_time()
        grammar = xgrammar.GrammarCompiler(info).compile_json_schema(json.dumps(schema), any_whitespace=False)
        found[f"{name}_compile_ms"] = round((time.process_time() - began) * 1e3, 1)
        matcher, mask, taken = xgrammar.GrammarMatcher(grammar), xgrammar.allocate_token_bitmask(1, info.vocab_size), []
        for token in tokenizer.encode(text, add_special_tokens=False):
            began = time.thread_time()
            matcher.fill_next_token_bitmask(mask)
            taken.append((time.thread_time() - began) * 1e6)
            if not matcher.accept_token(token):
                raise RuntimeError(f"the grammar refuses a reply that its schema allows: {text}")
        found |= {
            f"{name}_bytes": len(json.dumps(schema)),
            f"{name}_mask_us": round(statistics.mean(taken), 1),
            f"{name}_dearest_us": round(max(taken), 1),
        }
    return found
