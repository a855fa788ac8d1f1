"""The command line of vLLM's server says what the engine's arguments say, and no secret."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.engines.engine_kind import ServerAddress
from eibench_ray.engines.vllm.server_command import KEY_GUARD, NO_MEDIA_HOST, server_arguments
from eibench_ray.engines.vllm.vllm_arguments import engine_arguments
from eibench_ray.engines.vllm.vllm_section import VllmSection

HERE = ServerAddress("127.0.0.1", 8123, "mine", has_key=True)
# What the server is told besides: its name, host, port, log, the guard of the key, and the flag and host of media.
NUM_OWN = 7


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ({"dtype": "auto"}, ["--dtype=auto"]),
        ({"max_model_len": 512}, ["--max-model-len=512"]),
        ({"gpu_memory_utilization": 0.9}, ["--gpu-memory-utilization=0.9"]),
        ({"revision": None}, []),
        ({"enforce_eager": True}, ["--enforce-eager"]),
        ({"enable_chunked_prefill": False}, ["--no-enable-chunked-prefill"]),
        ({"limit_mm_per_prompt": {"image": 1}}, ['--limit-mm-per-prompt={"image": 1}']),
        ({"cudagraph_capture_sizes": [1, 2]}, ["--cudagraph-capture-sizes", "1", "2"]),
        ({"hf_overrides": {"a": [True, None]}}, ['--hf-overrides={"a": [true, null]}']),
        ({"tokenizer": "-odd name; $HOME"}, ["--tokenizer=-odd name; $HOME"]),
    ],
)
def test_an_argument_becomes_an_option(argument: dict[str, Any], words: list[str]) -> None:
    said = server_arguments(argument, None, HERE)
    assert list(said[: len(said) - NUM_OWN]) == words


def test_the_server_splits_and_closes_thinking_as_the_engine_does(tmp_path: Path) -> None:
    config = VllmSection.model_validate(
        {"kind": "vllm", "source": str(tmp_path), "max_model_len": 64, "reasoning": "qwen3"}
    )
    said = server_arguments(engine_arguments(config, "cpu"), None, HERE, {"enable_thinking": False})
    assert set(said) >= {"--reasoning-parser=qwen3", '--default-chat-template-kwargs={"enable_thinking": false}'}


def test_the_server_is_told_where_it_listens() -> None:
    said = server_arguments({}, None, HERE)
    assert set(said) >= {"--host=127.0.0.1", "--port=8123", "--served-model-name=mine"}


def test_a_key_is_asked_for_on_all_paths_where_there_is_one() -> None:
    guard = f"--middleware={KEY_GUARD}"
    assert guard in server_arguments({}, None, HERE)
    assert guard not in server_arguments({}, None, dataclasses.replace(HERE, has_key=False))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ["--allowed-media-domains", NO_MEDIA_HOST]),
        ({"allowed_media_domains": None}, ["--allowed-media-domains", NO_MEDIA_HOST]),
        ({"allowed_media_domains": ["a.example"]}, ["--allowed-media-domains", "a.example"]),
        ({"allowed_media_domains": []}, []),
    ],
)
def test_media_are_fetched_from_nowhere_unless_hosts_are_named(given: dict[str, Any], words: list[str]) -> None:
    said = list(server_arguments(given, None, HERE))
    start = said.index("--allowed-media-domains") if words else len(said)
    assert said[start : start + 2] == words


def test_a_template_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"--chat-template={tmp_path / 'mine.jinja'}" in server_arguments({}, "mine.jinja", HERE)


def test_neither_the_key_nor_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "hunter2")
    said = " ".join(server_arguments(engine_arguments(engine(), "cpu"), None, HERE))
    assert "hunter2" not in said
    assert "MY_KEY" not in said


def engine(**keys: Any) -> VllmSection:
    return VllmSection.model_validate({"kind": "vllm", "source": "me/mine", "max_model_len": 512} | keys)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {
            "dtype": "float32",
            "kv_cache_gib": 0.5,
            "enforce_eager": True,
            "trust_remote_code": True,
            "revision": "0123456789" * 4,
        },
        {"tensor_parallel": 2, "pipeline_parallel": 2, "gpu_memory_utilization": 0.85, "max_num_seqs": 7},
        {"revision": "abc", "quantization": "fp8", "args": {"limit_mm_per_prompt": {"image": 1}, "block_size": 32}},
        {"args": {"mm_processor_kwargs": {"max_pixels": 1003520}, "enable_prefix_caching": False, "seed": 3}},
        {
            "args": {
                "hf_overrides": {"rope_scaling": None},
                "kv_cache_dtype": "fp8",
                "distributed_executor_backend": "mp",
            }
        },
        {"args": {"compilation_config": {"cudagraph_capture_sizes": [1, 2, 4]}, "generation_config": "vllm"}},
    ],
    ids=str,
)
def test_vllm_reads_the_very_engine_that_a_replica_has(keys: dict[str, Any], device: Any) -> None:
    pytest.importorskip("vllm", reason="the parser is vLLM's")
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    arguments = engine_arguments(engine(**keys), device)

    def read(said: Sequence[str]) -> Any:
        return AsyncEngineArgs.from_cli_args(make_arg_parser(FlexibleArgumentParser()).parse_args(list(said)))

    ours, theirs, plain = AsyncEngineArgs(**arguments), read(server_arguments(arguments, None, HERE)), read([])
    for field in dataclasses.fields(AsyncEngineArgs):
        has, wanted = getattr(theirs, field.name), getattr(ours, field.name)
        if field.name == "served_model_name":
            assert has == ["mine"]
        elif field.name == "allowed_media_domains":
            assert has == [NO_MEDIA_HOST]
        elif arguments.get(field.name) is None:  # what is not said is left at the parser's own default
            assert has == getattr(plain, field.name), field.name
        elif isinstance(wanted, dict) and not isinstance(has, dict):
            assert {name: getattr(has, name) for name in wanted} == wanted
        else:
            assert has == wanted, field.name
