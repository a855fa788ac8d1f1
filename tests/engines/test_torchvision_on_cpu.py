"""torchvision beside a torch for the CPU: its Python half works, and nothing pretends that the other is there."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest
from needed import need

from eibench_ray.engines import torchvision_on_cpu

torch = need("torch", "needs eibench-ray[cpu] or [gpu]")
torchvision = need("torchvision", "needs eibench-ray[cpu] or [gpu]")


def test_torch_calls_it_in_every_process() -> None:
    (hook,) = entry_points(group="torch.backends", name="torchvision_on_cpu")
    assert hook.load() is torchvision_on_cpu.declare_operators


def test_its_transforms_work() -> None:
    from torchvision.transforms.v2 import functional

    assert functional.resize(torch.ones(3, 8, 6), [4, 4]).shape == (3, 4, 4)


def test_an_operator_that_is_missing_says_so() -> None:
    if torchvision.extension._has_ops():
        pytest.skip("this torchvision has its operators")
    with pytest.raises((RuntimeError, NotImplementedError)):
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)


@pytest.mark.parametrize(
    ("version", "is_for_cuda"), [("0.28.0+cu130", True), ("0.28.0+cpu", False), ("0.28.0", False), (None, False)]
)
def test_only_a_build_for_cuda_is_helped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, is_for_cuda: bool
) -> None:
    if version:
        (tmp_path / "version.py").write_text(f"__version__ = {version!r}\n")
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(torchvision_on_cpu, "find_spec", lambda _: spec)
    assert torchvision_on_cpu._is_built_for_cuda() is is_for_cuda


def test_without_torchvision_nothing_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_on_cpu, "find_spec", lambda _: None)
    monkeypatch.setattr(torchvision_on_cpu, "_declared", [])
    torchvision_on_cpu.declare_operators()
    assert torchvision_on_cpu._declared == []
