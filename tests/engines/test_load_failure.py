"""Reasons for an engine that does not load, as its libraries raise them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from eibench_ray.engines.load_failure import load_reason, reason_of


def failed(*links: Exception) -> Exception:
    """The last of the errors, each the cause of the next."""
    for cause, error in pairwise(links):
        error.__cause__ = cause
    return links[-1]


def test_the_first_message_of_the_chain_is_the_reason() -> None:
    assert reason_of(failed(ValueError("no\n such file"), RuntimeError(""))) == "no such file"
    assert reason_of(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize(
    "said",
    [
        "libc10_cuda.so: cannot open shared object file: No such file or directory",
        "/x/torchaudio/lib/_torchaudio.abi3.so: undefined symbol: aoti_torch_abi_version",
        "operator torchvision::nms does not exist",
    ],
)
def test_packages_that_do_not_go_together_are_named_by_doctor(said: str) -> None:
    reason = load_reason(failed(OSError(said), RuntimeError("Could not import module 'CLIPProcessor'")))
    assert reason.startswith("Could not import module 'CLIPProcessor'; packages there do not go together")
    assert "`eibench-ray doctor` on that node" in reason


def test_any_other_reason_stands_alone() -> None:
    assert load_reason(failed(OSError("a.safetensors"), ValueError("a.json and b.so2"))) == "a.json and b.so2"
