"""Surroundings in which Ray cannot run: told before it is started, as it would hang or say something else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.ray_requirements import find_home_flaw, find_python_flaw
from eibench_ray.driver.ray_session import ray_session
from eibench_ray.errors import ClusterError


@pytest.mark.parametrize("path", ["/usr/bin/python", "/home/zoë/.venv-3.11/bin/python3", "/a+b/c@d,e=f:g%h/python"])
def test_a_path_that_a_shell_leaves_alone_is_fine(path: str) -> None:
    assert find_python_flaw(path) == ""


@pytest.mark.parametrize(
    ("folder", "named"),
    [("my envs", "a blank"), ("tab\there", "a blank"), ("it's", "'"), ("a$b", "$"), ("v(2)", "("), ("a;b", ";")],
)
def test_a_path_that_a_shell_changes_is_named(folder: str, named: str) -> None:
    flaw = find_python_flaw(f"/home/me/{folder}/bin/python")
    assert f"environment /home/me/{folder}/bin/python: its path has {named} in it" in flaw
    assert "make the environment in a folder whose path has none" in flaw


def test_no_ray_is_started_from_such_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/my envs/bin/python")
    with pytest.raises(ClusterError, match="Ray cannot start its workers"), ray_session(ClusterConfig(name="local")):
        pass


def test_a_home_is_wanted_for_rays_token(tmp_path: Path) -> None:
    assert find_home_flaw({"HOME": str(tmp_path)}) == ""
    assert "HOME is not set, and Ray keeps its token there: export HOME=FOLDER" in find_home_flaw({})
    assert "HOME=/proc cannot be written (" in find_home_flaw({"HOME": "/proc"})
    assert "HOME=/proc/new cannot be written (" in find_home_flaw({"HOME": "/proc/new"})
    for elsewhere in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "x"}, {"RAY_AUTH_TOKEN_PATH": "/x"}):
        assert find_home_flaw(elsewhere) == ""
