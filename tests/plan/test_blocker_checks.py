"""Blockers of engines: looked up on this machine, named with what to do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.config.schema import ModelConfig
from eibench_ray.engines.blocker_checks import find_blocker
from eibench_ray.plan.graph import Blocker
from eibench_ray.planner.engine_specs import plan_engine
from eibench_ray.versions import install_command

TODAY = date(2026, 11, 26)
HUB_ID = "me/eye"
COMMIT = "0123456789abcdef"
ENDPOINT = {"kind": "openai", "endpoint": "openai", "base_url": "https://x.test/v1", "model": "gpt", "args": {}}


def find(
    engine: dict[str, Any],
    environ: Mapping[str, str] = {},
    *,
    availability: dict[str, str] | None = None,
    recording: str | None = None,
    is_local: bool = True,
) -> Blocker | None:
    model = ModelConfig.model_validate(
        {"name": "eye", "engine": engine, "sees_image": True, "availability": availability}
    )
    spec = plan_engine("k", model, "cpu", recording)
    return find_blocker(spec, environ, TODAY, is_local=is_local)


def vllm(source: str = HUB_ID, **changes: Any) -> dict[str, Any]:
    return {"kind": "vllm", "source": source, "max_model_len": 64} | changes


def cache(home: Path, revision: str = "main") -> dict[str, str]:
    """An environment whose cache holds the checkpoint."""
    folder = home / "hub" / "models--me--eye"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / revision).write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / "snapshots" / COMMIT / name).write_text("{}")
    return {"HF_HOME": str(home)}


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "faces.plain.jsonl"
    engine = {"kind": "replay", "predictions": str(tmp_path)}
    for is_local in (True, False):
        found = find(engine, recording=str(file), is_local=is_local)
        assert str(found) == f"eye: no recorded predictions: {file}"
    file.write_text("{}")
    assert find(engine, recording=str(file)) is None


@pytest.mark.parametrize(
    ("environ", "is_local", "said"),
    [
        ({}, True, "eye: no key: MY_KEY"),
        ({"MY_KEY": " "}, True, "eye: no key: MY_KEY"),
        ({"MY_KEY": "k"}, True, "None"),
        ({}, False, "None"),  # the nodes may have it
    ],
)
def test_a_key_is_looked_for_where_the_engine_would_run(environ: dict[str, str], is_local: bool, said: str) -> None:
    assert str(find(ENDPOINT | {"api_key_env": "MY_KEY"}, environ, is_local=is_local)) == said


def test_an_endpoint_without_a_key_needs_none() -> None:
    assert find(ENDPOINT) is None


@pytest.mark.parametrize(
    ("availability", "said"),
    [
        ({"status": "retired", "ends": "2026-10-23"}, "eye: retired: openai has no gpt since 2026-10-23"),
        ({"status": "retired"}, "eye: retired: openai has no gpt"),
        ({"status": "endpoint", "ends": "2026-11-26"}, "eye: retired: openai has no gpt since 2026-11-26"),
        ({"status": "endpoint", "ends": "2026-11-27"}, "None"),
        ({"status": "endpoint"}, "None"),
    ],
)
def test_an_endpoint_is_retired_from_the_day_on_that_was_announced(availability: dict[str, str], said: str) -> None:
    assert str(find(ENDPOINT, availability=availability)) == said


def test_a_retired_model_with_recorded_answers_is_no_blocker(tmp_path: Path) -> None:
    (tmp_path / "faces.plain.jsonl").write_text("{}")
    engine = {"kind": "replay", "predictions": str(tmp_path)}
    assert find(engine, availability={"status": "retired"}, recording=str(tmp_path / "faces.plain.jsonl")) is None


def test_a_folder_of_weights_must_be_there(tmp_path: Path) -> None:
    for is_local in (True, False):
        found = find(vllm(str(tmp_path / "gone")), is_local=is_local)
        assert str(found) == f"eye: no weights: {tmp_path / 'gone'}"
    assert find(vllm(str(tmp_path))) is None


@pytest.mark.parametrize(
    "engine",
    [
        {"kind": "transformers", "source": HUB_ID},
        {"kind": "embedding", "source": HUB_ID, "pooling": "cls", "splitter": "sentencizer"},
    ],
)
def test_all_that_load_weights_need_them(tmp_path: Path, engine: dict[str, Any]) -> None:
    assert find(engine, cache(tmp_path / "full") | {"HF_HUB_OFFLINE": "1"}) is None
    assert "not cached" in str(find(engine, {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}))
    assert "no weights" in str(find(engine | {"source": str(tmp_path / "gone")}))


def test_a_checkpoint_that_is_built_needs_nothing() -> None:
    assert find(vllm("checkpoint:tiny_llama"), {"HF_HUB_OFFLINE": "1"}) is None


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_only_what_is_cached_can_be_loaded(tmp_path: Path, name: str) -> None:
    offline = {name: "1", "HF_HOME": str(tmp_path)}
    assert str(find(vllm(), offline)) == "eye: weights not cached, and offline: me/eye@main"
    assert find(vllm(), offline, is_local=False) is None
    assert find(vllm(), {"HF_HOME": str(tmp_path)}) is None
    cached = cache(tmp_path) | {name: "on"}
    assert find(vllm(), cached) is None
    assert find(vllm(revision="main"), cached) is None
    assert find(vllm(revision=COMMIT), cached) is None
    assert "offline: me/eye@v2" in str(find(vllm(revision="v2"), cached))


def test_a_checkpoint_that_was_half_fetched_is_not_cached(tmp_path: Path) -> None:
    offline = cache(tmp_path) | {"HF_HUB_OFFLINE": "1"}
    next(tmp_path.rglob("model.safetensors")).unlink()
    assert str(find(vllm(), offline)) == "eye: weights not cached, and offline: me/eye@main"


def test_an_engines_own_environment_counts(tmp_path: Path) -> None:
    engine = vllm(env={"HF_HUB_OFFLINE": "1"})
    assert "not cached" in str(find(engine, {"HF_HOME": str(tmp_path)}))
    assert find(vllm(args={"download_dir": "/weights"}), {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}) is None


def test_gated_weights_need_a_token_or_a_cache(tmp_path: Path) -> None:
    gated = {"status": "gated"}
    empty = {"HF_HOME": str(tmp_path)}
    assert str(find(vllm(), empty, availability=gated)) == "eye: no access to gated weights: me/eye"
    assert find(vllm(), empty, availability={"status": "open"}) is None
    assert find(vllm(), empty | {"HF_TOKEN": "t"}, availability=gated) is None
    assert find(vllm(), empty | {"HF_ENDPOINT": "https://mirror.test"}, availability=gated) is None
    assert find(vllm(), empty, availability=gated, is_local=False) is None
    (tmp_path / "token").write_text("t")
    assert find(vllm(), empty, availability=gated) is None
    (tmp_path / "token").unlink()
    assert find(vllm(), cache(tmp_path), availability=gated) is None


def test_echo_is_never_hindered() -> None:
    assert find({"kind": "echo"}) is None


@pytest.mark.parametrize("kind", ["vllm", "transformers"])
def test_a_base_model_that_is_here_lacks_a_chat_template(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}")
    engine = vllm(str(folder)) if kind == "vllm" else {"kind": "transformers", "source": str(folder)}
    found = find(engine)
    assert str(found) == f"eye: no chat template: {folder}"
    assert found is not None
    assert "engine.chat_template of the model to package:plain where it is a base model" in found.remedy
    assert find(engine | {"chat_template": "package:plain"}) is None
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert find(engine) is None


def test_a_cached_base_model_lacks_a_chat_template(tmp_path: Path) -> None:
    environ = cache(tmp_path)
    (next(tmp_path.rglob("config.json")).parent / "tokenizer.json").write_text("{}")
    assert str(find(vllm(), environ)) == "eye: no chat template: me/eye"
    assert find(vllm(), environ, is_local=False) is None


def test_a_package_that_the_processor_imports_is_named_before_anything_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = cache(tmp_path)
    snapshot = next(tmp_path.rglob("config.json")).parent
    (snapshot / "config.json").write_text('{"model_type": "smolvlm"}')
    assert find(vllm(), environ) is None
    monkeypatch.setattr("eibench_ray.weights.missing_imports._is_here", lambda module: module != "num2words")
    found = find(vllm(), environ)
    assert str(found) == "eye: a package is missing: num2words"
    assert found is not None
    assert found.remedy.endswith(install_command("num2words"))
    assert find(vllm(runtime_env={"uv": ["vllm==0.31.0"]}), environ) is None  # not known from here
    assert find(vllm(), environ, is_local=False) is None
