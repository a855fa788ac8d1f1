"""A random text-only Llama of 0.1 M parameters, and what all tiny checkpoints share: tokenizer, sizes, weights.

They answer nonsense, but they run through the real engine in seconds, and their answer depends on the whole prompt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

BOS, EOS = "<|im_start|>", "<|im_end|>"
_UNKNOWN = "<|endoftext|>"
HIDDEN = 64
MAX_LENGTH = 8192
_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}{{ PICTURE }}{%- elif part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}
{%- endfor -%}
{%- endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}
"""


def build(name: str, folder: Path) -> None:
    """Writes the text-only checkpoint into the folder."""
    del name
    tokenizer = build_tokenizer()
    tokenizer.chat_template = chat_template(picture="")
    model = LlamaForCausalLM(LlamaConfig(**language_sizes(tokenizer)))
    save_model(randomize(model, tokenizer), tokenizer, folder)
    tokenizer.save_pretrained(folder)


def chat_template(picture: str) -> str:
    """A Jinja chat template that writes `picture` where a message has one."""
    return _TEMPLATE.replace("PICTURE", json.dumps(picture))  # as an expression, its whitespace is kept


def build_tokenizer(special: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer without merges: one token per byte, plus the special tokens.

    vLLM starts 4 s sooner with it than with a vocabulary of 49,000.
    """
    tokens = [_UNKNOWN, BOS, EOS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=EOS, unk_token=_UNKNOWN
    )
    fast.add_tokens(list(special), special_tokens=True)
    return fast


def language_sizes(tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    """The sizes of a tiny language model, as a Llama-like configuration takes them."""
    return {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": MAX_LENGTH,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def randomize(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The model with fixed random weights, at a scale where the answer depends on prompt and picture.

    At the default standard deviation of 0.02 every answer is one repeated token, and a lost picture goes unnoticed.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                fan_in = parameter.shape[1:].numel()
                parameter.normal_(0, 1.5 * fan_in**-0.5, generator=generator)
        # Embeddings are tied: a token with a small one is hardly ever generated, so that answers are readable ASCII.
        embeddings = model.get_input_embeddings().weight
        embeddings[~_is_answer(tokenizer, len(embeddings))] *= 0.05
    return model.to(torch.bfloat16).eval()


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes weights and configuration into the folder."""
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)


def _is_answer(tokenizer: PreTrainedTokenizerFast, num_tokens: int) -> torch.Tensor:
    """(tokens,) bool: printable ASCII, or the end of the answer."""
    is_answer = torch.zeros(num_tokens, dtype=torch.bool)
    printable = tokenizer("".join(map(chr, range(32, 127))), add_special_tokens=False)["input_ids"]
    is_answer[[*printable, tokenizer.eos_token_id]] = True
    return is_answer
