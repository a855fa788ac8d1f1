"""The commands that error texts name reach the Python that runs this, with or without pip."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from eibench_ray import versions
from eibench_ray.versions import extra_command, install_command, uninstall_command


def pretend(monkeypatch: pytest.MonkeyPatch, prefix: Path, *, has_pip: bool, uv: str | None) -> None:
    monkeypatch.setattr(sys, "executable", "/a b/bin/python")
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(versions, "_has_pip", lambda: has_pip)
    monkeypatch.setattr(versions.shutil, "which", lambda _: uv)


def test_pip_is_asked_where_it_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, has_pip=True, uv="/bin/uv")
    assert install_command("datasets", "a[b]") == "'/a b/bin/python' -m pip install datasets 'a[b]'"
    assert uninstall_command("vllm") == "'/a b/bin/python' -m pip uninstall vllm"


def test_an_environment_without_pip_takes_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, has_pip=False, uv="/bin/uv")
    assert install_command("datasets") == "/bin/uv pip install --python '/a b/bin/python' datasets"
    pretend(monkeypatch, tmp_path, has_pip=False, uv=None)
    assert install_command("x") == "'/a b/bin/python' -m ensurepip && '/a b/bin/python' -m pip install x"
    own = tmp_path / "uv" / "bin" / "uv"
    own.parent.mkdir(parents=True)
    own.touch()
    assert install_command("x") == f"{own} pip install --python '/a b/bin/python' x"


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({"url": "file:///src", "dir_info": {"editable": True}}, "install -e '/src[cpu,demo]'"),
        ({"url": "file:///src", "dir_info": {}}, "install '/src[cpu,demo]'"),
        ({"url": "https://index/eibench.whl", "archive_info": {}}, "install 'eibench-ray[cpu,demo]'"),
        (None, "install 'eibench-ray[cpu,demo]'"),
    ],
)
def test_an_extra_comes_from_where_the_package_came_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: dict[str, object] | None, wanted: str
) -> None:
    class Known:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if told is None else json.dumps(told)

    pretend(monkeypatch, tmp_path, has_pip=True, uv=None)
    monkeypatch.setattr(versions, "distribution", lambda _: Known())
    assert extra_command("cpu,demo") == f"'/a b/bin/python' -m pip {wanted}"


def test_the_command_for_this_environment_can_be_run() -> None:
    command = install_command("--help").rpartition(" ")[0]
    done = subprocess.run(f"{command} --help", shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_setuptools_can_be_imported_after_it() -> None:
    code = "from eibench_ray.versions import install_command; install_command('a'); import setuptools"
    subprocess.run([sys.executable, "-c", code], check=True)
