"""Random vision-language models of 0.2 M parameters: the real architectures and processors, at the smallest size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers as hf
from safetensors.torch import load_file, save_file

from eibench_ray.weights.tiny_text import HIDDEN, build_tokenizer, chat_template, language_sizes, randomize, save_model

_PIXELS, _PATCH = 56, 14
_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_SQUARE = {"image_size": _PIXELS, "patch_size": _PATCH}


@dataclass(frozen=True, slots=True)
class _Parts:
    """Parts of a vision-language checkpoint."""

    model: hf.PreTrainedModel
    tokenizer: hf.PreTrainedTokenizerFast
    processors: tuple[Any, ...]  # what saves itself beside the model: a processor with its tokenizer, or its parts


def build(name: str, folder: Path) -> None:
    """Writes the checkpoint of that name into the folder."""
    parts = {
        "tiny_idefics3": _idefics3,
        "tiny_llava": _llava,
        "tiny_llava_next": _llava_next,
        "tiny_qwen2_vl": _qwen2_vl,
        "tiny_video_llava": _video_llava,
    }[name]()
    save_model(randomize(parts.model, parts.tokenizer), parts.tokenizer, folder)
    for processor in parts.processors:
        processor.save_pretrained(folder)
    if name.startswith("tiny_llava"):
        _nest_vision_tower(folder / "model.safetensors")


def _idefics3() -> _Parts:
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = build_tokenizer(["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *tiles])
    tokenizer.image_token = "<image>"
    tokenizer.fake_image_token = "<fake_token_around_image>"
    tokenizer.global_image_token = "<global-img>"
    tokenizer.end_of_utterance_token = "<end_of_utterance>"
    config = hf.Idefics3Config(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_config=_VISION | _SQUARE,
        text_config=hf.LlamaConfig(**language_sizes(tokenizer)),
        scale_factor=2,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
    )
    processor = hf.Idefics3Processor(
        image_processor=hf.Idefics3ImageProcessorPil(
            size={"longest_edge": 2 * _PIXELS}, max_image_size={"longest_edge": _PIXELS}
        ),
        tokenizer=tokenizer,
        image_seq_len=(_PIXELS // _PATCH // 2) ** 2,
        chat_template=chat_template("<image>"),
    )
    return _Parts(hf.Idefics3ForConditionalGeneration(config), tokenizer, (processor,))


def _llava() -> _Parts:
    tokenizer = build_tokenizer(["<image>"])
    processor = hf.LlavaProcessor(
        image_processor=hf.CLIPImageProcessorPil(**_llava_pixels()), tokenizer=tokenizer, **_LLAVA_TEXT
    )
    config = hf.LlavaConfig(**_llava_config(tokenizer))
    return _Parts(hf.LlavaForConditionalGeneration(config), tokenizer, (processor,))


def _llava_next() -> _Parts:
    tokenizer = build_tokenizer(["<image>"])
    grids = [[_PIXELS, 2 * _PIXELS], [2 * _PIXELS, _PIXELS], [2 * _PIXELS, 2 * _PIXELS]]
    processor = hf.LlavaNextProcessor(
        image_processor=hf.LlavaNextImageProcessorPil(**_llava_pixels(), image_grid_pinpoints=grids),
        tokenizer=tokenizer,
        **_LLAVA_TEXT,
    )
    config = hf.LlavaNextConfig(image_grid_pinpoints=grids, **_llava_config(tokenizer))
    return _Parts(hf.LlavaNextForConditionalGeneration(config), tokenizer, (processor,))


_LLAVA_TEXT = {
    "patch_size": _PATCH,
    "vision_feature_select_strategy": "default",
    "num_additional_image_tokens": 1,
    "image_token": "<image>",
    "chat_template": chat_template("<image>\n"),
}


def _llava_pixels() -> dict[str, object]:
    return {"size": {"shortest_edge": _PIXELS}, "crop_size": {"height": _PIXELS, "width": _PIXELS}}


def _llava_config(tokenizer: hf.PreTrainedTokenizerFast) -> dict[str, object]:
    return {
        "vision_config": hf.CLIPVisionConfig(**_VISION, **_SQUARE, projection_dim=32),
        "text_config": hf.LlamaConfig(**language_sizes(tokenizer)),
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
        "vision_feature_select_strategy": "default",
        "vision_feature_layer": -2,
        "image_seq_length": (_PIXELS // _PATCH) ** 2,
        "tie_word_embeddings": True,
    }


def _video_llava() -> _Parts:
    tokenizer = build_tokenizer(["<image>", "<video>"])
    processor = hf.VideoLlavaProcessor(
        image_processor=hf.VideoLlavaImageProcessor(**_llava_pixels()),
        video_processor=hf.VideoLlavaVideoProcessor(**_llava_pixels()),
        tokenizer=tokenizer,
        video_token="<video>",
        **_LLAVA_TEXT,
    )
    config = hf.VideoLlavaConfig(
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        video_seq_length=8 * ((_PIXELS // _PATCH) ** 2 + 1),
        **_llava_config(tokenizer),
    )
    return _Parts(hf.VideoLlavaForConditionalGeneration(config), tokenizer, (processor,))


def _nest_vision_tower(weights: Path) -> None:
    """Renames CLIP's weights as published LLaVA has them: transformers 5 drops `vision_model.`, vLLM wants it."""
    old, new = "vision_tower.", "vision_tower.vision_model."
    tensors = load_file(weights)
    renamed = {key if new in key else key.replace(old, new, 1): tensor for key, tensor in tensors.items()}
    save_file(renamed, weights, metadata={"format": "pt"})


def _qwen2_vl() -> _Parts:
    tokenizer = build_tokenizer(["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"])
    rope = {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1e4}
    config = hf.Qwen2VLConfig(
        text_config=language_sizes(tokenizer) | {"rope_parameters": rope},
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": HIDDEN,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": _PATCH,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    merged = (2 * _PATCH) ** 2
    pixels = hf.Qwen2VLImageProcessorPil(
        min_pixels=4 * merged, max_pixels=16 * merged, patch_size=_PATCH, merge_size=2, temporal_patch_size=2
    )
    tokenizer.chat_template = chat_template("<|vision_start|><|image_pad|><|vision_end|>")
    # The processor itself cannot be made without a video processor, and that one needs torchvision; its parts can.
    return _Parts(hf.Qwen2VLForConditionalGeneration(config), tokenizer, (tokenizer, pixels))
