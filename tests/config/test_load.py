"""The edge: what is wrong with a configuration is said with its full key, and nothing more than is needed."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from eibench_ray.config.load import suggest_key, to_config
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.errors import ConfigError

ECHO = {"name": "echo", "engine": {"kind": "echo"}, "sees_image": True}
VLLM = {"kind": "vllm", "source": "me/mine", "max_model_len": 512}
RAW: dict[str, Any] = {
    "sweep": "test",
    "model": {"name": "mine", "engine": VLLM, "sees_image": True},
    "setting": {"name": "plain", "calls": [{"name": "answer", "role": "subject", "image": True, "prompt": "Hm?"}]},
    "dataset": {"name": "demo", "path": "package:demo"},
    "judge": {"name": "judge", "kind": "strict", "model": ECHO, "system": "Count.", "prompt": "{{ answer }}"},
    "cluster": {"name": "local"},
    "tracking": {},
    "store": {"root": "store"},
}

NUM_SEQS = "should be a whole number of requests above 0, or 'auto'"


def changed(key: str, value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(RAW)
    *sections, leaf = key.split(".")
    node = raw
    for section in sections:
        node = node[section]
    node[leaf] = value
    return raw


def test_a_valid_configuration_is_frozen() -> None:
    config = to_config(RAW)
    assert config.model.engine.kind == "vllm"
    assert config.judge.model.engine.kind == "echo"
    with pytest.raises(ValidationError):
        config.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("modle", {}, "modle: there is no such key; did you mean 'model'?"),
        ("model.engine.dtyp", "auto", "model.engine.dtyp: there is no such key; did you mean 'model.engine.dtype'?"),
        ("model.expect", {"load": 9}, "model.expect.load: there is no such key; did you mean 'model.expect.load_s'?"),
        ("model.expect", {"batch": 0}, "model.expect.batch is 0: input should be greater than 0"),
        ("model.expect", {"load_s": "9"}, "model.expect.load_s is '9': input should be a valid number"),
        ("model.availability", {"status": "lost"}, "model.availability.status is 'lost': input should be 'open', 'ga"),
        (
            "model.availability",
            {"status": "retired", "ends": "2026-13-01"},
            "model.availability: ends is '2026-13-01': a day is written as 2026-10-23",
        ),
        ("model.availability", {"ends": "2026-10-23"}, "model.availability.status is missing"),
        ("setting.max_tokens", 3, "there is no such key; did you mean 'setting.sampling.max_tokens'?"),
        ("model.engine.max_num_seqs", 0, f"model.engine.max_num_seqs is 0: {NUM_SEQS}"),
        ("model.engine.max_num_seqs", 2.5, f"model.engine.max_num_seqs is 2.5: {NUM_SEQS}"),
        ("model.engine.max_num_seqs", "8", f"model.engine.max_num_seqs is '8': {NUM_SEQS}"),
        ("model.engine.max_num_seqs", True, f"model.engine.max_num_seqs is True: {NUM_SEQS}"),
        ("model.sees_image", "yes", "model.sees_image is 'yes': input should be a valid boolean"),
        ("model.engine.gpu_memory_utilization", 1.1, "gpu_memory_utilization is 1.1: input should be less than"),
        ("setting.sampling", {"temperature": -1.0}, "setting.sampling.temperature is -1.0: input should be greater"),
        ("setting.sampling", {"top_p": 0.0}, "setting.sampling.top_p is 0.0: input should be greater than 0"),
        ("setting.calls", [], "setting.calls: List should have at least 1 item"),
        (
            "judge.kind",
            "lenient",
            "judge.kind is 'lenient': there is no scorer 'lenient'; there are choice, coherence,",
        ),
        ("seed", 2**31, "seed is 2147483648: input should be less than 2147483648"),
        ("score", {"confidence": 1.0}, "score.confidence is 1.0: input should be less than 1"),
        ("cluster.dashboard_port", 70000, "cluster.dashboard_port is 70000: input should be less than"),
        ("dataset", {"path": "x"}, "dataset.name is missing: set it, e.g. dataset.name=VALUE"),
        ("judge.model", 3, "judge.model is 3: input should be a valid dictionary"),
    ],
)
def test_a_wrong_value_is_named_by_its_full_key(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        to_config(changed(key, value))
    assert str(caught.value).startswith("the configuration is not valid: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


ENGINES: dict[str, dict[str, Any]] = {
    "vllm": VLLM,
    "openai": {"kind": "openai", "endpoint": "mine", "base_url": "http://127.0.0.1:8000/v1", "model": "mine"},
    "replay": {"kind": "replay", "predictions": "recorded"},
    "echo": {"kind": "echo"},
}


@pytest.mark.parametrize("kind", ENGINES)
def test_the_kind_of_an_engine_is_no_part_of_a_key(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"not valid: model\.engine\.patience: there is no such key"):
        to_config(changed("model.engine", ENGINES[kind] | {"patience": 1}))


def test_every_problem_is_named_at_once() -> None:
    raw = changed("seed", -1)
    raw["judge"]["kind"] = "lenient"
    with pytest.raises(ConfigError, match=r"judge\.kind is .*; seed is -1"):
        to_config(raw)


def test_an_unknown_kind_of_engine_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"model\.engine\.kind is 'vlm': .*'vllm' is near; there are echo, .*vllm"):
        to_config(changed("model.engine", VLLM | {"kind": "vlm"}))


@pytest.mark.parametrize("name", ["HF_TOKEN", "OPENAI_API_KEY", "my_secret", "DB_PASSWORD"])
def test_a_secret_in_an_engines_environment_is_refused_and_never_shown(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.engine: {name} looks like a secret: export it") as caught:
        to_config(changed("model.engine", VLLM | {"env": {name: "hunter2", "OMP_NUM_THREADS": "1"}}))
    assert "hunter2" not in str(caught.value)


def test_an_engines_environment_may_say_what_is_no_secret() -> None:
    assert to_config(changed("model.engine", VLLM | {"env": {"OMP_NUM_THREADS": "1"}})).model.engine.kind == "vllm"


def test_two_calls_of_one_name_are_refused() -> None:
    call = RAW["setting"]["calls"][0]
    with pytest.raises(ConfigError, match="setting: two calls have the same name: answer, answer"):
        to_config(changed("setting.calls", [call, call]))


def test_the_answer_that_is_judged_is_the_subjects() -> None:
    call = RAW["setting"]["calls"][0] | {"role": "captioner"}
    with pytest.raises(ConfigError, match="its role must be 'subject'"):
        to_config(changed("setting.calls", [call]))


FOCUS: dict[str, Any] = {"name": "focus", "role": "asker", "image": False, "prompt": "Whom?"}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            {"each": "twice"},
            "setting.calls.1.each is 'twice': should be a list of texts, or {call: NAME, lines: COUNT}",
        ),
        ({"each": []}, "setting.calls.1.each: List should have at least 1 item"),
        ({"each": ["a", "  "]}, "setting.calls.1.each.1 is '  ': string should have at least 1 character"),
        ({"each": ["a", "b", "a"]}, "setting: call 'more' goes over the same text twice"),
        ({"each": {"call": "focus", "lines": 0}}, "setting.calls.1.each.lines is 0: input should be greater than 0"),
        ({"each": {"call": "focus"}}, "setting.calls.1.each.lines is missing"),
        ({"each": {"call": "more", "lines": 2}}, "call 'more' goes over the lines of 'more', which is no earlier call"),
        ({"each": ["a"], "column": "caption"}, "call 'more' goes over several texts: no column can stand in for it"),
        ({"name": "item"}, "no call can be named 'item'"),
        ({"role": "critic"}, "setting.calls.1.role is 'critic': input should be 'subject', 'captioner' or 'asker'"),
    ],
)
def test_a_call_that_goes_over_nothing_is_refused(call: Mapping[str, Any], said: str) -> None:
    calls = [FOCUS, FOCUS | {"name": "more"} | call, RAW["setting"]["calls"][0]]
    with pytest.raises(ConfigError, match=re.escape(said)):
        to_config(changed("setting.calls", calls))


def test_the_answer_that_is_judged_is_one() -> None:
    with pytest.raises(ConfigError, match="its role must be 'subject', without 'each'"):
        to_config(changed("setting.calls", [RAW["setting"]["calls"][0] | {"each": ["a"]}]))


def test_lines_of_several_answers_are_none() -> None:
    several, lines = FOCUS | {"each": ["a", "b"]}, FOCUS | {"name": "more", "each": {"call": "focus", "lines": 2}}
    with pytest.raises(ConfigError, match="goes over the lines of 'focus', which is no earlier call with one answer"):
        to_config(changed("setting.calls", [several, lines, RAW["setting"]["calls"][0]]))


@pytest.mark.parametrize(
    ("key", "suggested"),
    [
        ("stor.root", "store.root"),
        ("model.max_num_seqs", "model.engine.max_num_seqs"),
        ("judge.model.engine.tensor_paralel", "judge.model.engine.tensor_parallel"),
        ("model.e", "model.name"),  # a section is no suggestion for a key inside it
        ("qqqqqq", None),
    ],
)
def test_the_nearest_key_is_suggested(key: str, suggested: str | None) -> None:
    hint = suggest_key(key)
    assert hint == (f"; did you mean {suggested!r}?" if suggested else "")


@pytest.mark.parametrize(
    "url", ["http://", "https:///v1", "http://127.0.0.1:99999/v1", "http://host:0/v1", "http://a b/v1"]
)
def test_an_address_that_no_server_has_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="should be the address of a server, as http://HOST:PORT/v1"):
        OpenaiSection.model_validate({"kind": "openai", "endpoint": "mine", "base_url": url, "model": "mine"})
