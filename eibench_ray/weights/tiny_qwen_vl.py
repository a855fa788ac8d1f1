"""A random Qwen-VL-Chat of 1 M parameters, whose configuration and tokenizer are code in the checkpoint.

vLLM 0.22, the last that has the architecture, brings the model itself; so its weights are written by their names here.
"""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from eibench_ray.weights import qwen_code
from eibench_ray.weights.tiny_text import MAX_LENGTH

_END_OF_TEXT, _IMAGE_START = 256, 265
_VOCABULARY = 320  # 256 bytes and the special tokens, filled up to what divides well
_HIDDEN, _LAYERS, _WIDTH = 128, 2, 32  # vLLM's resampler has a head per 128 values
_PIXELS, _PATCH = 56, 14
_PICTURE_TOKENS = (_PIXELS // _PATCH // 2) ** 2
_POSITIONS = 256  # of patches, fitted to as many as there are


def build(name: str, folder: Path) -> None:
    """Writes the checkpoint into the folder."""
    del name
    for file in Path(qwen_code.__path__[0]).glob("*_qwen.py"):
        shutil.copyfile(file, folder / file.name)
    lines = [f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(256)]
    (folder / "qwen.tiktoken").write_text("".join(lines))
    visual = {
        "image_size": _PIXELS,
        "patch_size": _PATCH,
        "width": _WIDTH,
        "layers": _LAYERS,
        "heads": 2,
        "mlp_ratio": 2.0,
        "n_queries": _PICTURE_TOKENS,
        "output_dim": _HIDDEN,
        "image_start_id": _IMAGE_START,
    }
    config = {
        "architectures": ["QWenLMHeadModel"],  # what their checkpoint says, too: vLLM must be told of the pictures
        "auto_map": {"AutoConfig": "configuration_qwen.QWenConfig"},
        "model_type": "qwen",
        "vocab_size": _VOCABULARY,
        "hidden_size": _HIDDEN,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": 4 * _HIDDEN,
        "max_position_embeddings": MAX_LENGTH,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "visual": visual,
    }
    tokenizer = {
        "auto_map": {"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]},
        "tokenizer_class": "QWenTokenizer",
        "model_max_length": MAX_LENGTH,
    }
    # As in their checkpoint, the end of a turn ends no answer.
    generation = {"eos_token_id": _END_OF_TEXT, "pad_token_id": _END_OF_TEXT}
    written = (("config", config), ("tokenizer_config", tokenizer), ("generation_config", generation))
    for file_name, content in written:
        (folder / f"{file_name}.json").write_text(json.dumps(content, indent=2))
    save_file(_weights(), folder / "model.safetensors", metadata={"format": "pt"})


def _weights() -> dict[str, torch.Tensor]:
    """Fixed random weights, at a scale where the answer depends on prompt and picture."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in _shapes().items():
        if name.endswith("bias"):
            tensors[name] = torch.zeros(shape)
        elif len(shape) == 1:
            tensors[name] = torch.ones(shape)
        else:
            tensors[name] = torch.empty(shape).normal_(0, 1.5 * shape[1:].numel() ** -0.5, generator=generator)
    # Answers are printable ASCII, or end.
    is_answer = torch.zeros(_VOCABULARY, dtype=torch.bool)
    is_answer[[*range(32, 127), _END_OF_TEXT, _END_OF_TEXT + 2]] = True
    tensors["lm_head.weight"][~is_answer] *= 0.05
    return {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}


def _shapes() -> dict[str, torch.Size]:
    hidden, width = _HIDDEN, _WIDTH
    shapes = {
        "transformer.wte.weight": (_VOCABULARY, hidden),
        "transformer.ln_f.weight": (hidden,),
        "lm_head.weight": (_VOCABULARY, hidden),
    }
    for layer in range(_LAYERS):
        parts = {
            "ln_1.weight": (hidden,),
            "ln_2.weight": (hidden,),
            "attn.c_attn.weight": (3 * hidden, hidden),
            "attn.c_attn.bias": (3 * hidden,),
            "attn.c_proj.weight": (hidden, hidden),
            "mlp.w1.weight": (2 * hidden, hidden),
            "mlp.w2.weight": (2 * hidden, hidden),
            "mlp.c_proj.weight": (hidden, 2 * hidden),
        }
        shapes |= {f"transformer.h.{layer}.{name}": shape for name, shape in parts.items()}
    visual: dict[str, tuple[int, ...]] = {
        "conv1.weight": (width, 3, _PATCH, _PATCH),
        "positional_embedding": (_POSITIONS, width),
        "proj": (hidden, hidden),
        "attn_pool.query": (_PICTURE_TOKENS, hidden),
        "attn_pool.pos_embed": (_PICTURE_TOKENS, hidden),
        "attn_pool.kv_proj.weight": (hidden, width),
        "attn_pool.attn.in_proj_weight": (3 * hidden, hidden),
        "attn_pool.attn.in_proj_bias": (3 * hidden,),
        **_linear("attn_pool.attn.out_proj", hidden, hidden),
    }
    norms = {"ln_pre": width, "ln_post": hidden, "attn_pool.ln_q": hidden, "attn_pool.ln_kv": hidden}
    for layer in range(_LAYERS):
        block = f"transformer.resblocks.{layer}"
        norms |= {f"{block}.ln_1": width, f"{block}.ln_2": width}
        visual |= _linear(f"{block}.attn.in_proj", 3 * width, width) | _linear(f"{block}.attn.out_proj", width, width)
        visual |= _linear(f"{block}.mlp.c_fc", 2 * width, width) | _linear(f"{block}.mlp.c_proj", width, 2 * width)
    for name, size in norms.items():
        visual |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    shapes |= {f"transformer.visual.{name}": shape for name, shape in visual.items()}
    return {name: torch.Size(shape) for name, shape in shapes.items()}


def _linear(name: str, num_outputs: int, num_inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (num_outputs, num_inputs), f"{name}.bias": (num_outputs,)}
