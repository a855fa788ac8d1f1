"""The log probabilities of choices behind their prompts: one forward pass over each batch of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from eibench_ray.engines.transformers.collate import collate

Tensors = dict[str, torch.Tensor]


def read_choices(
    model: Any, prompts: Sequence[tuple[Tensors, Sequence[list[int]]]], pad_token: int, most: int, takes_places: bool
) -> list[list[list[float]]]:
    """Log probabilities of the tokens of each prompt's choices.

    Args:
        model: of transformers.
        prompts: each as its processor made it, with the tokens of its choices.
        pad_token: fills up what is shorter than others in a batch.
        most: sequences in one forward pass.
        takes_places: whether the model takes `logits_to_keep`, so that those of the prompts need not be computed.
    """
    sequences = [(tensors, tokens) for tensors, choices in prompts for tokens in choices]
    found = [
        one
        for part in (sequences[at : at + most] for at in range(0, len(sequences), most))
        for one in _read(model, part, pad_token, takes_places)
    ]
    left = iter(found)
    return [[next(left) for _ in choices] for _, choices in prompts]


def _read(
    model: Any, sequences: Sequence[tuple[Tensors, list[int]]], pad_token: int, takes_places: bool
) -> Iterator[list[float]]:
    inputs = collate([_append(*one) for one in sequences], pad_token, pads_left=False)
    length = inputs["input_ids"].shape[1]
    starts = [tensors["input_ids"].shape[1] - 1 for tensors, _ in sequences]  # where the first token is foretold
    first = min(starts) if takes_places else 0
    kept = {"logits_to_keep": length - first} if takes_places else {}
    placed = {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }
    with torch.inference_mode():
        logits = model(**placed, use_cache=False, **kept).logits
    for number, (start, (_, tokens)) in enumerate(zip(starts, sequences, strict=True)):
        own = logits[number, start - first : start - first + len(tokens)].float().log_softmax(-1)
        yield own[torch.arange(len(tokens)), torch.tensor(tokens)].tolist()


def _append(tensors: Tensors, tokens: list[int]) -> Tensors:
    """A prompt of one row with further tokens behind it, which are text."""
    made = dict(tensors)
    for name, value in tensors.items():
        if value.shape == tensors["input_ids"].shape:
            further = tokens if name == "input_ids" else [int(name == "attention_mask")] * len(tokens)
            made[name] = torch.cat([value, torch.tensor([further], dtype=value.dtype)], dim=1)
    return made
