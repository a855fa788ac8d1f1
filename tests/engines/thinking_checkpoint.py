"""A tiny checkpoint that thinks: its template opens the thinking, and its weights make it end some time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from eibench_ray.weights.build import build_checkpoint

MARKS = ("<think>", "</think>")
# After which the thinking ends: one that its weights bring often enough.
_BEFORE_END = "e"
_GENERATION = """\
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% else %}<think>
{% endif %}{% endif -%}
"""


def build_thinking(folder: Path) -> Path:
    """The checkpoint of `tiny_llama` with two more tokens, written into the folder.

    Its weights are random. The token that ends the thinking gets the embedding of a letter, a little longer (embeddings
    are tied): so it is generated wherever that letter would be the likeliest.
    """
    from safetensors.torch import load_file, save_file
    from transformers import PreTrainedTokenizerFast

    shutil.copytree(build_checkpoint("tiny_llama"), folder, dirs_exist_ok=True)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens(list(MARKS))
    template = str(tokenizer.chat_template)
    tokenizer.chat_template = template[: template.rindex("{%- if add_generation_prompt")] + _GENERATION
    tokenizer.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    embeddings = weights["model.embed_tokens.weight"]
    [letter] = tokenizer.encode(_BEFORE_END, add_special_tokens=False)
    embeddings[tokenizer.convert_tokens_to_ids(MARKS[1])] = 1.5 * embeddings[letter]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert tokenizer.convert_tokens_to_ids(MARKS[1]) < json.loads((folder / "config.json").read_text())["vocab_size"]
    return folder
