"""The identity of every engine in conf/, spelt out: where an engine's key in plan_model.json changes, this says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from eibench_ray.config.options_folder import config_folder
from eibench_ray.config.schema import ModelConfig
from eibench_ray.planner.engine_specs import engine_identity

# What `???` in an option file stands for here.
CHOSEN = {"name": "mine", "sees_image": True}
ENGINE = {
    "source": "me/mine",
    "max_model_len": 512,
    "endpoint": "mine",
    "base_url": "http://127.0.0.1:8000/v1",
    "model": "mine",
    "predictions": "recorded",
}


def _read(group: str, name: str) -> dict[str, Any]:
    """An option file with what it stands on, as its defaults list names it."""
    own = yaml.safe_load((config_folder() / group / f"{name}.yaml").read_text(encoding="utf-8"))
    bases = [base for base in own.pop("defaults", []) if base != "_self_"]
    merged: dict[str, Any] = {}
    for part in (*(_read(group, base) for base in bases), own):
        merged = _merge(merged, part)
    return merged


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merge(below[key], value)
        for key, value in above.items()
        if isinstance(below.get(key), dict) and isinstance(value, dict)
    }
    return below | above | both


def _choose(option: dict[str, Any]) -> dict[str, Any]:
    engine = {key: ENGINE[key] if value == "???" else value for key, value in option["engine"].items()}
    return {key: CHOSEN[key] if value == "???" else value for key, value in option.items()} | {"engine": engine}


def test_every_engine_is_what_it_was(golden: Callable[[str, Any], None]) -> None:
    options = {f"model/{path.stem}": _read("model", path.stem) for path in (config_folder() / "model").glob("*.yaml")}
    for encoder in ("coherence", "coherence_bert"):  # whose judges bring their models
        options[f"judge/{encoder}"] = _read("judge", encoder)["model"]
    found = {
        name: engine_identity(ModelConfig.model_validate(_choose(option)), "recorded/demo.user_question.jsonl")
        for name, option in sorted(options.items(), key=lambda one: (one[0].startswith("judge"), one[0]))
    }
    golden("identities", found)
