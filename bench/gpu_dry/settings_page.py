"""The table of docs/gpu-settings.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.gpu_dry.choices import Chosen

PAGE = Path(__file__).parents[2] / "docs" / "gpu-settings.md"
_MARK = "<!-- The table below is written by make gpu-dry. -->\n"
_HEADS = (
    *("model", "GPU", "GPUs of a replica", "tokens a step", "requests in a batch", "KV blocks", "attention"),
    *("CUDA graphs", "runner", "executor"),
)


def read_table() -> str:
    """The table that the page has."""
    return PAGE.read_text(encoding="utf-8").partition(_MARK)[2].strip() + "\n"


def write_table(table: str) -> None:
    """Puts a table in the place of the page's."""
    kept = PAGE.read_text(encoding="utf-8").partition(_MARK)[0]
    PAGE.write_text(f"{kept}{_MARK}\n{table}", encoding="utf-8")


def render(rows: Sequence[Chosen]) -> str:
    """The table, and below it what vLLM warns of."""
    lines = [_line(_HEADS), "|" + "---|" * len(_HEADS)]
    for row in sorted(rows, key=lambda row: row.model):
        blocks = "not known" if row.kv_blocks is None else f"{row.kv_blocks:,} of {row.block_tokens}"
        counts = (str(row.num_gpus), f"{row.step_tokens:,}", f"{row.num_seqs:,}", blocks)
        lines.append(_line((row.model, row.gpu, *counts, row.attention, row.graphs, row.runner, row.executor)))
    warned: dict[str, dict[str, None]] = {}
    for row in rows:
        for message in row.warnings:
            warned.setdefault(message.rstrip("."), {})[row.model] = None
    lines += ["", "vLLM warns:" if warned else "vLLM warns of nothing."]
    if warned:
        lines += ["", *(f"- {message}. Of {', '.join(sorted(models))}." for message, models in sorted(warned.items()))]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
