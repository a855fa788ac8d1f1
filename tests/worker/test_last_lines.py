"""The last lines of a dead process: whose they are, how many, and without what nobody may read."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from eibench_ray.worker import last_lines
from eibench_ray.worker.last_lines import MARK, MAX_FILES, keep, keep_rays_lines, read_last_lines, scrub

KEY = "Zq8!x-very/secret+value"


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's logs of Ray."""
    folder = tmp_path / "logs"
    folder.mkdir()
    monkeypatch.setattr(last_lines, "logs_here", lambda: folder)
    return folder


def test_the_lines_are_those_of_the_process_with_the_mark(logs: Path) -> None:
    for number in (1, 11):
        (logs / f"worker-{number}.err").write_text(f":job_id:1\n{MARK}=run.{number}\nTraceback of {number}\n")
        (logs / f"worker-{number}.out").write_text(f"vLLM says {number}\n")
    said = read_last_lines("run.1")
    assert said.startswith("--- worker-1.err, its last 3 lines\n")
    assert "Traceback of 1\n" in said
    assert "--- worker-1.out, its last 1 lines\nvLLM says 1\n" in said
    assert "11" not in said
    assert read_last_lines("run.2") == ""


def test_they_are_bounded_and_the_last_ones(logs: Path) -> None:
    lines = "".join(f"line {number} {'x' * 1000}\n" for number in range(5000))
    (logs / "worker-1.err").write_text(f"{MARK}=run.1\n{lines}the end\n")
    said = read_last_lines("run.1")
    assert len(said) < 70_000
    assert said.endswith("the end\n")


@pytest.mark.parametrize("shown", [KEY, KEY.encode().hex(), base64.b64encode(KEY.encode()).decode()])
def test_no_secret_is_kept_in_any_form(shown: str, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", KEY)
    (logs / "worker-1.err").write_text(f"{MARK}=run.1\nsent {shown} there\n")
    said = read_last_lines("run.1")
    assert shown.rstrip("=") not in said
    assert "sent [key]" in said


def test_what_looks_like_a_secret_is_none_to_read() -> None:
    text = "Bearer abc.def, hf_abcdefghij, sk-proj-123456789, http://me:pass@proxy:80/x, plain sk-x and basket-weaving"
    hidden = scrub(text, {"RAY_AUTH_TOKEN_PATH": "/home/me/token", "RAY_AUTH_MODE": "token"})
    assert hidden == "Bearer [key], [key], [key], http://[key]@proxy:80/x, plain sk-x and basket-weaving"


def test_the_newest_files_stay(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 3):
        os.utime(keep(tmp_path / "logs" / f"replica-{number}.log", "x"), (number, number))
    assert len(list((tmp_path / "logs").iterdir())) == MAX_FILES
    assert not (tmp_path / "logs" / "replica-1.log").exists()


def test_rays_own_last_lines_are_kept(logs: Path, tmp_path: Path) -> None:
    (logs / "raylet.err").write_text("out of memory\n")
    (logs / "gcs_server.out").write_text("")
    (path,) = keep_rays_lines(logs, tmp_path / "kept")
    assert path == tmp_path / "kept" / "ray-raylet.err.log"
    assert "out of memory" in path.read_text()
