"""The package's conversations, token for token: vLLM and transformers against a processor whose tokenizer adds BOS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking_models import PICTURES, request, show
from needed import need

from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.weights.build import build_checkpoint

need("vllm", "the engine needs eibench-ray[cpu] or [gpu]")
transformers = need("transformers", "the engine needs eibench-ray[cpu] or [gpu]")
processors = need("tokenizers.processors", "needs eibench-ray[cpu] or [gpu]")

BOS = "<s>"
VICUNA = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
CHATML = "<|im_start|>system\n{system}<|im_end|>"
# The text of LLaVA's conversations (haotian-liu/LLaVA, conversation.py), and their own system text.
CONVERSATIONS = {
    "llava_v1": ("{system} USER: {picture}{question} ASSISTANT:", VICUNA),
    "chatml_direct": (
        f"{CHATML}<|im_start|>user\n{{picture}}{{question}}<|im_end|><|im_start|>assistant\n",
        "Answer the questions.",
    ),
    "qwen_1_5": (
        f"{CHATML}\n<|im_start|>user\n{{picture}}{{question}}<|im_end|>\n<|im_start|>assistant\n",
        "You are a helpful assistant.",
    ),
    "mistral_instruct": ("[INST] {system}{picture}{question} [/INST]", ""),
}
WITHOUT_BOS = {"qwen_1_5"}  # Qwen2's tokenizer has none
CASES = [
    (checkpoint, name, adds_bos)
    for checkpoint in ("tiny_llava", "tiny_llava_next")
    for name in CONVERSATIONS
    for adds_bos in (True, False)
    if not (adds_bos and name in WITHOUT_BOS)
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Path]:
    """Checkpoints by name and whether their tokenizer begins each text with BOS, as Vicuna's does."""
    made = {}
    for checkpoint in ("tiny_llava", "tiny_llava_next"):
        for adds_bos in (True, False):
            folder = made[checkpoint, adds_bos] = tmp_path_factory.mktemp("bos") / checkpoint
            folder.mkdir()
            for path in build_checkpoint(checkpoint).iterdir():
                (folder / path.name).write_bytes(path.read_bytes())
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            tokenizer.add_special_tokens({"bos_token": BOS})
            if adds_bos:
                tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
                    single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.bos_token_id)]
                )
            tokenizer.save_pretrained(folder)
            again = transformers.AutoTokenizer.from_pretrained(folder)
            assert again.bos_token == BOS
            assert (again("a")["input_ids"][0] == again.bos_token_id) is adds_bos
    return made


@pytest.fixture(scope="module")
def by_vllm(
    folders: dict[tuple[str, bool], Path], run_with_vllm: Callable[..., Any]
) -> dict[tuple[str, str, bool], list[list[int]]]:
    """The three questions as vLLM renders them, by case."""
    asked = [word for case in CASES for word in (str(folders[case[0], case[2]]), f"package:{case[1]}")]
    return dict(zip(CASES, run_with_vllm("render_conversations.py", *asked), strict=True))


def expected(folder: Path, name: str) -> list[list[int]]:
    """The conversation as transformers' own processor renders it: with a picture, without, with a system text."""
    processor = transformers.AutoProcessor.from_pretrained(folder)
    text, system = CONVERSATIONS[name]
    told = "<<SYS>>\nBe brief.\n<</SYS>>\n\n" if name == "mistral_instruct" else "Be brief."
    picture = decode_picture(*PICTURES[1])
    with_picture = {"picture": "<image>\n", "question": "Why?"}
    said = [
        processor(images=picture, text=text.format(system=system, **with_picture)),
        processor.tokenizer(text.format(system=system, picture="", question="Why?")),
        processor(images=picture, text=text.format(system=told, **with_picture)),
    ]
    tokens = [each["input_ids"] for each in said]
    return [list(each[0]) if isinstance(each[0], list) else list(each) for each in tokens]


@pytest.mark.parametrize("case", CASES, ids=[f"{a}-{b}-{'bos' if c else 'none'}" for a, b, c in CASES])
def test_both_engines_ask_as_llavas_authors_do(
    case: tuple[str, str, bool],
    folders: dict[tuple[str, bool], Path],
    by_vllm: dict[tuple[str, str, bool], list[list[int]]],
) -> None:
    from eibench_ray.engines.transformers.transformers_model import Model

    checkpoint, name, adds_bos = case
    folder = folders[checkpoint, adds_bos]
    wanted = expected(folder, name)
    bos = transformers.AutoTokenizer.from_pretrained(folder).bos_token_id
    assert [(tokens[0] == bos, tokens.count(bos)) for tokens in wanted] == [(adds_bos, int(adds_bos))] * 3
    assert by_vllm[case] == wanted

    keys = {"kind": "transformers", "source": str(folder), "dtype": "float32", "max_model_len": 1024}
    model = Model(TransformersSection.model_validate(keys | {"chat_template": f"package:{name}"}), "cpu")
    asked = [
        show(request("Why?"), PICTURES[1]),
        show(request("Why?"), ()),
        show(request("Why?", system="Be brief."), PICTURES[1]),
    ]
    made = [
        model.prepare(one, [decode_picture(each) for each in seen]).tensors["input_ids"][0].tolist()
        for one, seen in asked
    ]
    assert made == wanted
