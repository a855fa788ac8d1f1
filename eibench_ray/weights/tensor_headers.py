"""Names, dtypes and shapes of a checkpoint's tensors, from the headers of its safetensors files; no tensor is read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Of values that vLLM loads in the dtype that is asked for; other tensors stay as they are stored.
FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
# Words before the number of a layer, and in the names of what is no language model.
_LAYER = re.compile(r"(?:^|\.)(?:layers|blocks|resblocks|h)\.\d+\.")
_TOWERS = ("vision", "visual", "image", "audio", "projector", "connector", "merger", "perceiver", "aligner")


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One tensor of a file."""

    name: str
    dtype: str  # as safetensors names it: `BF16`
    shape: tuple[int, ...]
    num_bytes: int  # as it is stored

    def loaded_bytes(self, value_bytes: int | None) -> int:
        """Bytes of it with its floats in `value_bytes` each, or as stored where that is None."""
        stored = FLOAT_BYTES.get(self.dtype)
        return self.num_bytes * value_bytes // stored if value_bytes and stored else self.num_bytes


def layer_of(name: str) -> str | None:
    """The name of a module or tensor from its layer's number on, the same however models are nested; None outside.

    >>> layer_of("model.language_model.layers.0.mlp.up_proj.weight")
    'layers.0.mlp.up_proj.weight'
    """
    found = _LAYER.search(name)
    return name[found.start() :].lstrip(".") if found else None


def is_in_tower(name: str) -> bool:
    """Whether a module belongs to what reads pictures or sounds, by the names around it."""
    found = _LAYER.search(name)
    return any(word in (name[: found.start()] if found else name) for word in _TOWERS)


def read_headers(paths: Iterable[Path]) -> Iterator[TensorHeader]:
    """Headers of all tensors in some files. Source: the safetensors format, 8 + N bytes of header.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is no safetensors file.
    """
    for path in paths:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError(f"the header of {path.name} is longer than the file")
            header = json.loads(file.read(length))
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                yield TensorHeader(name, entry["dtype"], tuple(entry["shape"]), end - begin)
