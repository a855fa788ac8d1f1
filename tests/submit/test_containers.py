"""Container recipes: what they copy is there, both install the same, and their scripts hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKER = (ROOT / "launch" / "container" / "Dockerfile").read_text(encoding="utf-8")
APPTAINER = (ROOT / "launch" / "container" / "eibench-ray.def").read_text(encoding="utf-8")
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
HADOLINT = Path(sys.executable).with_name("hadolint")


def docker_sources() -> set[str]:
    return {source for line in re.findall(r"^COPY (.+) \S+$", DOCKER, re.MULTILINE) for source in line.split()}


def section(name: str) -> str:
    found = re.search(rf"^%{name}\n(.*?)(?=^%|\Z)", APPTAINER, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_what_is_copied_is_there_and_the_same_in_both() -> None:
    sources = {line.split()[0] for line in section("files").splitlines() if line.strip()}
    assert sources == docker_sources()
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert {"eibench_ray", "hydra_plugins", "conf", "slurm"} <= sources, "what the wheel is built from"


def test_both_install_the_same_on_the_same_base() -> None:
    installs = [re.findall(r"pip install .*", text) for text in (DOCKER, APPTAINER)]
    assert installs[0] == installs[1]
    assert re.findall(r"^FROM (\S+)", DOCKER, re.MULTILINE) == re.findall(r"^From: (\S+)", APPTAINER, re.MULTILINE)


def test_a_container_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (\S+)", DOCKER, re.MULTILINE) == re.findall(r"useradd .*--uid (\S+)", DOCKER) == ["1000"]


def test_the_dockerfile_passes_its_linter() -> None:
    checked = subprocess.run([HADOLINT, "--no-color", "-"], input=DOCKER, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_scripts_pass_shellcheck() -> None:
    runs = re.findall(r"^RUN ((?:.*\\\n)*.*)", DOCKER, re.MULTILINE)
    assert len(runs) == 3
    for script in (*runs, section("post"), section("runscript")):
        command = [SHELLCHECK, "--shell=sh", "-"]
        checked = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout
