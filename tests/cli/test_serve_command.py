"""`eibench-ray serve` before anything is started: what it takes, what it refuses, and what it tells a sweep."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from eibench_ray.cli.serve import endpoint_overrides
from eibench_ray.config.schema import ModelConfig, ServeConfig
from eibench_ray.serve.listen_address import ListenAddress
from eibench_ray.serve.serve_model import served_engine

if TYPE_CHECKING:
    from conftest import Called

VLLM = {"kind": "vllm", "source": "me/mine", "max_model_len": 512}


def config(cluster: dict[str, object], **engine: object) -> ServeConfig:
    model = {"name": "mine", "engine": VLLM | engine, "sees_image": True, "expect": {"memory_gb": 60.0}}
    return ServeConfig.model_validate({"model": model, "cluster": {"name": "local"} | cluster})


def test_a_port_that_is_taken_is_told_before_ray_starts(command: Callable[..., Called]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        called = command("serve", "model=tiny_llama", "--port", port)
    assert called.code == 2
    assert f"--host 127.0.0.1 --port {port} cannot be used (Address already in use): free the port" in called.err
    assert called.err.count("\n") == 1


def test_the_composed_configuration_is_the_model_and_the_cluster(command: Callable[..., Called]) -> None:
    called = command("serve", "model=tiny_llama", "model.engine.max_num_seqs=3", "cluster=ray", "--cfg", "job")
    composed = yaml.safe_load(called.out)
    assert set(composed) == {"model", "cluster"}
    assert composed["model"]["engine"]["max_num_seqs"] == 3
    assert composed["cluster"]["address"] == "auto"


def test_gpus_are_planned_as_a_sweep_plans_them() -> None:
    cluster = {"device": "cuda", "gpu_memory_gb": 40.0}
    spec = served_engine(config(cluster, tensor_parallel="auto"))
    assert (spec.kind, spec.num_gpus, spec.device) == ("vllm", 2, "cuda")
    assert served_engine(config({"device": "cpu"}, tensor_parallel="auto")).num_gpus == 0


def test_what_vllm_does_not_load_is_not_served(command: Callable[..., Called]) -> None:
    called = command("serve", "model=tiny_video_llava")
    assert called.code == 2
    assert "has an engine of kind 'transformers', which has no server of its own" in called.err


@pytest.mark.parametrize(
    ("name", "system", "host", "key"),
    [
        ("qwen3_8b", None, "127.0.0.1", None),
        ("Qwen/Qwen3-8B", "You're brief.\\", "::1", "MY_KEY"),
        ("true", 'Say "no",\nthen [stop] = {1}', "0.0.0.0", None),
        ("7", "$HOME '' \\'", "box", "K"),
    ],
)
def test_a_sweep_that_is_given_the_overrides_asks_the_server(
    name: str, system: str | None, host: str, key: str | None
) -> None:
    model = ModelConfig.model_validate({"name": "mine", "system": system, "engine": VLLM, "sees_image": False})
    listening = ListenAddress(host, 8000, name, key)
    base_url = listening.base_url("192.0.2.7")
    parsed = OverridesParser.create().parse_overrides(endpoint_overrides(model, listening, base_url))
    told = {override.key_or_group: override.value() for override in parsed}
    expected = {
        "model": "endpoint",
        "model.name": "mine",
        "model.sees_image": False,
        "model.system": system,
        "model.engine.base_url": base_url,
        "model.engine.model": name,
        "model.engine.api_key_env": key,
    }
    assert told == {name: value for name, value in expected.items() if value is not None}
