"""Each key of each engine kind says whether answers can depend on it, and identities follow from that alone."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from eibench_ray.config.engine_section import ENGINE_KINDS, EngineSection, Identity, Tuning, key_uses, section_class
from eibench_ray.engines.engine_kind import EngineKind
from eibench_ray.engines.registry import kind_of
from eibench_ray.engines.vllm.vllm_section import TUNING_ARGUMENTS, VllmExtra
from eibench_ray.plan.engine_traits import EngineTraits

LOADED = {
    "source": "me/other",
    "revision": "0123456789" * 4,
    "dtype": "float16",
    "chat_template": "package:plain",
    "reasoning": "none",
    "chat_template_kwargs": {"enable_thinking": False},
    "reasoning_tokens": 5,
    "logprobs": True,
    "trust_remote_code": True,
    "env": {"OMP_NUM_THREADS": "1"},
    "runtime_env": {"pip": ["pillow==12.0.0"]},
}
PRICE = {"input": 1.0, "output": 2.0}
# What each kind needs, and another value for each of its keys.
BASES: dict[str, dict[str, Any]] = {
    "vllm": {"source": "me/eye", "revision": "f" * 40, "max_model_len": 64, "args": {"seed": 1}, "tensor_parallel": 2},
    "transformers": {"source": "me/eye", "revision": "f" * 40},
    "openai": {"endpoint": "local", "base_url": "http://127.0.0.1:9/v1", "model": "m"},
    "embedding": {"source": "me/words", "pooling": "cls", "splitter": "sentencizer"},
    "replay": {"predictions": "recorded"},
    "echo": {},
}
CHANGES: dict[str, dict[str, Any]] = {
    "vllm": LOADED
    | {
        "quantization": "fp8",
        "stop": ["<|im_end|>"],
        "max_model_len": 128,
        "args": {"seed": 2},
        "max_num_seqs": 8,
        "tensor_parallel": "auto",
        "pipeline_parallel": 2,
        "data_parallel": 2,
        "lora": {"source": "me/added", "rank": 8},
        "expert_parallel": True,
        "gpu_memory_utilization": 0.5,
        "kv_cache_gib": 1.0,
        "enforce_eager": True,
    },
    "transformers": LOADED | {"max_model_len": 128, "max_num_seqs": 8, "num_gpus": 2},
    "openai": {
        "endpoint": "elsewhere",
        "base_url": "http://127.0.0.1:8/v1",
        "api_key_env": "KEY",
        "model": "other",
        "revision": "of May",
        "mode": "batch",
        "json_output": "none",
        "max_tokens_key": "max_completion_tokens",
        "sends_sampling": False,
        "sampling_keys": ["top_k"],
        "sends_seed": False,
        "reasoning": "none",
        "chat_template_kwargs": {"enable_thinking": False},
        "reasoning_effort": "low",
        "reasoning_tokens": 5,
        "logprobs": True,
        "args": {"top_k": 1},
        "picture": {"max_side_px": 512},
        "picture_tokens": 5,
        "limits": {"requests_per_min": 5.0},
        "price": PRICE,
        "batch": {"poll_s": 5.0},
        "request_timeout_s": 5.0,
        "attempts": 2,
        "outage_timeout_s": 5.0,
    },
    "embedding": {
        "source": "me/other",
        "revision": "0123456789" * 4,
        "dtype": "float16",
        "pooling": "mean",
        "splitter": "en_core_web_sm",
        "max_num_seqs": 8,
        "num_gpus": 0,
    },
    "replay": {"predictions": "elsewhere", "max_num_seqs": 8},
    "echo": {
        "latency_s": 1.0,
        "fails_on": "a",
        "hangs_on": "b",
        "dies_on": "c",
        "dies_with": "engine",
        "max_num_seqs": 8,
        "load_s": 1.0,
        "stop_s": 1.0,
        "num_gpus": 1,
        "runtime_env": {"pip": ["pillow==12.0.0"]},
        "price": PRICE,
    },
}


def fields_in_vllm(module: str, *classes: str) -> set[str]:
    """The fields of classes in vLLM's source."""
    spec = find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse((Path(spec.origin).parent / module).read_text(encoding="utf-8"))
    bodies = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name in classes]
    return {node.target.id for body in bodies for node in body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]


KEYS = [(kind, key) for kind, changes in CHANGES.items() for key in changes]


def identity(kind: str, changes: dict[str, Any]) -> Any:
    section = section_class(kind).model_validate({"kind": kind} | BASES[kind] | changes)
    return kind_of(section).identity(section, kind_of(section).recording(section, "faces"))


def test_every_key_of_every_kind_is_looked_at() -> None:
    assert sorted(CHANGES) == ENGINE_KINDS.names()
    for kind, changes in CHANGES.items():
        assert changes.keys() | {"kind"} == key_uses(section_class(kind)).keys()


@pytest.mark.parametrize(("kind", "key"), KEYS)
def test_an_identity_follows_identity_and_no_tuning(kind: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    is_other = identity(kind, {key: CHANGES[kind][key]}) != identity(kind, {})
    assert is_other == key_uses(section_class(kind))[key].is_identity


@pytest.mark.parametrize(
    ("kind", "args", "is_other"),
    [
        ("vllm", {"max_num_batched_tokens": 4096, "load_format": "runai_streamer", "limit_mm_per_prompt": {}}, False),
        ("vllm", {"load_format": "dummy"}, True),
        ("vllm", {"kv_cache_dtype": "fp8"}, True),
        ("vllm", {"mm_processor_kwargs": {"max_pixels": 1}}, True),
        ("vllm", {"no_such_argument": 1}, True),
        ("openai", {"service_tier": "flex", "user": "me"}, False),
        ("openai", {"top_k": 1}, True),
    ],
)
def test_of_further_arguments_those_count_that_may_change_answers(
    kind: str, args: dict[str, Any], *, is_other: bool
) -> None:
    known = BASES[kind].get("args", {})
    assert (identity(kind, {"args": known | args}) != identity(kind, {})) == is_other


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: its arguments are read from its source")
def test_the_arguments_that_are_tuning_are_vllms() -> None:
    assert fields_in_vllm("engine/arg_utils.py", "EngineArgs", "AsyncEngineArgs") >= TUNING_ARGUMENTS


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: its parameters are read from its source")
def test_the_further_sampling_is_vllms() -> None:
    assert fields_in_vllm("sampling_params.py", "SamplingParams") >= VllmExtra.model_fields.keys()


def test_a_key_that_does_not_say_what_it_is_is_refused() -> None:
    with pytest.raises(TypeError, match=r"ToySection\.words does not say whether answers can depend on it: write Iden"):

        class ToySection(EngineSection):
            kind: Literal["toy"]
            speed: Tuning[float] = 1.0
            words: int = 3


def test_a_kind_that_says_nothing_of_gpus_cannot_be_made() -> None:
    class ToySection(EngineSection):
        kind: Literal["toy"]
        words: Identity[int] = 3

    class ToyKind(EngineKind[ToySection]):
        section = ToySection

        def traits(self, section: ToySection) -> EngineTraits:  # noqa: ARG002
            return EngineTraits(1)

        def create(self, section: ToySection, setup: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(TypeError, match="needs"):
        ToyKind()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("vllm", {"reasoning": "qwen9"}, "should be auto, none, or one of vLLM's reasoning parsers"),
        ("vllm", {"args": {"reasoning_parser": "qwen3"}}, "set engine.reasoning of the model"),
        ("vllm", {"chat_template_kwargs": {"add_generation_prompt": False}}, "is decided by the request"),
        ("transformers", {"reasoning": "qwen3"}, "Input should be 'auto' or 'none'"),
        ("openai", {"reasoning": "qwen3"}, "Input should be 'auto' or 'none'"),
    ],
)
def test_how_thinking_is_split_is_looked_at_before_a_run(kind: str, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        section_class(kind).model_validate({"kind": kind} | BASES[kind] | changes)


def test_another_vllm_may_have_other_parsers() -> None:
    changes = {"reasoning": "qwen9", "runtime_env": {"pip": ["vllm==0.99"]}}
    assert section_class("vllm").model_validate({"kind": "vllm"} | BASES["vllm"] | changes)


@pytest.mark.parametrize("kind", ["vllm", "transformers", "openai"])
def test_keys_of_thinking_change_no_identity_as_long_as_nobody_sets_them(kind: str) -> None:
    known = identity(kind, {})
    assert known.keys().isdisjoint({"reasoning", "chat_template_kwargs"})
    assert known == identity(kind, {"reasoning": "auto", "chat_template_kwargs": {}})


def test_the_page_of_keys_says_what_each_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "engine-keys.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    expected = []
    for kind in ENGINE_KINDS.names():
        for key, use in key_uses(section_class(kind)).items():
            word = "identity, but for tuning" if use.tuning_keys else "identity" if use.is_identity else "tuning"
            expected.append(f"| `{kind}` | `{key}` | {word} |")
    assert rows == expected, "\n".join(expected)
