"""Checks of a GPU machine: one that cannot run says why, and one that fails or hangs costs the others nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gpu_check import check_process
from bench.gpu_check.check_process import run_apart, run_here
from bench.gpu_check.check_table import CHECKS, Check
from bench.gpu_check.vllm_checks import load_replicas

ROOT = Path(__file__).parents[2]
# Stands for a machine with torch alone.
BARE = """
import sys
from importlib.abc import MetaPathFinder
MISSING = ("vllm", "ray", "pydantic", "hydra", "omegaconf", "polars", "transformers", "xgrammar")
class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
import json
from bench.gpu_check.check_process import run_here
from bench.gpu_check.check_table import CHECKS
print(json.dumps({name: run_here(name, "tiny_llama") for name in CHECKS}))
"""


def test_a_machine_with_torch_alone_says_of_each_check_what_it_lacks() -> None:
    done = subprocess.run([sys.executable, "-c", BARE], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert {line["status"] for line in found.values()} == {"skipped"}
    assert "No module named 'xgrammar'" in found["masks"]["reason"]
    assert "No module named" in found["vllm_loads"]["reason"]


def test_a_check_that_hangs_is_ended_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def hang(_: list[str], **keys: object) -> subprocess.Popen[str]:
        return real([sys.executable, "-c", "import time; time.sleep(600)"], **keys)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(check_process.subprocess, "Popen", hang)
    line = run_apart("masks", "tiny_llama", 1.5)  # which waits until nobody holds the other end of its pipe
    assert (line["status"], line["reason"]) == ("failed", "not done after 2 s")


def test_a_check_without_time_is_skipped() -> None:
    line = run_apart("masks", "tiny_llama", 0)
    assert (line["status"], line["took_s"]) == ("skipped", 0)


def test_what_a_check_raises_is_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(checkpoint: str) -> dict[str, object]:
        raise RuntimeError(f"{checkpoint} is\nbroken")

    monkeypatch.setitem(CHECKS, "masks", Check(fail, 1))
    assert run_here("masks", "eye") == {"status": "failed", "reason": "RuntimeError: eye is broken"}


def test_a_mask_without_a_longest_text_is_cheaper() -> None:
    found = CHECKS["masks"].measure("tiny_llama")
    assert found["strict_v2_compile_ms"] < found["strict_compile_ms"]
    assert found["strict_v2_mask_us"] < found["strict_mask_us"]


def test_a_replica_that_does_not_load_is_quoted(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    with pytest.raises(RuntimeError, match=r"a replica did not load: .*max_num_seqs"):
        load_replicas("tiny_llama", [{"max_num_seqs": 0}], str(tmp_path))
