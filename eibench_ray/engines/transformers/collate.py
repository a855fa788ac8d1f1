"""Prompts that were prepared one by one as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def collate(
    rows: Sequence[dict[str, torch.Tensor]], pad_token: int, *, pads_left: bool = True
) -> dict[str, torch.Tensor]:
    """Batches of one as one batch, by what a processor does where it pads.

    What is as long as the text is filled up with zeros (or the token that pads): on its left, so that all prompts end
    together, where they are continued; on its right where they are only read. Pictures and what describes them get
    zeros behind, and follow one another. A row may have no picture.
    """
    length = max(row["input_ids"].shape[1] for row in rows)
    joined: dict[str, list[torch.Tensor]] = {}
    for row in rows:
        for name, value in row.items():
            if value.shape == row["input_ids"].shape:
                missing = (length - value.shape[1], 0) if pads_left else (0, length - value.shape[1])
                value = torch.nn.functional.pad(value, missing, value=pad_token if name == "input_ids" else 0)
            joined.setdefault(name, []).append(value)
    return {name: torch.cat(_pad_to_largest(values)) for name, values in joined.items()}


def _pad_to_largest(values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The tensors with zeros behind, until all have one shape but for the first dimension."""
    largest = [max(sizes) for sizes in zip(*(value.shape[1:] for value in values), strict=True)]
    padded = []
    for value in values:
        missing = [(0, most - size) for most, size in zip(largest, value.shape[1:], strict=True)]
        padded.append(torch.nn.functional.pad(value, [amount for pair in reversed(missing) for amount in pair]))
    return padded
