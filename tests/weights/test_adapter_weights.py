"""An adapter on the node of its engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_adapter import LAYER, write_adapter

from eibench_ray.plan.engine_traits import Adapter
from eibench_ray.weights.adapter_weights import LoadedAdapter
from eibench_ray.weights.checkpoint_files import CheckpointPart
from eibench_ray.weights.weights_request import WeightsRequest


def load(source: str) -> LoadedAdapter:
    adapter = LoadedAdapter(
        Adapter("k", "fine", source, None, 8), WeightsRequest(source, None, CheckpointPart("adapter"))
    )
    adapter.bring()
    return adapter


def test_an_adapter_that_is_here_is_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIBENCH_WEIGHTS_CACHE", str(tmp_path / "cache"))
    write_adapter(tmp_path / "added", {LAYER: (4, 4)})
    loaded = load(str(tmp_path / "added"))
    assert (loaded.reason, loaded.weights.source) == ("", str(tmp_path / "added"))


def test_one_that_cannot_be_fetched_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load("me/fine").reason.startswith("no weights of me/fine@main: offline, and not in the cache: ")
