"""Locks in places where all users may write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eibench_ray.weights.file_locks import locked, locks_of_node


def test_a_lock_is_not_made_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "x.lock").symlink_to(tmp_path / "planted")
    with pytest.raises(OSError, match="Too many levels of symbolic links"), locked(tmp_path / "x.lock"):
        pass
    assert not (tmp_path / "planted").exists()


def test_the_folder_of_a_nodes_locks_is_the_users_alone(tmp_path: Path) -> None:
    folder = locks_of_node(tmp_path)
    assert folder == tmp_path / f"eibench_ray-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert locks_of_node(tmp_path) == folder


def test_who_has_taken_its_name_keeps_nobody_from_working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "planted").mkdir()
    (tmp_path / f"eibench_ray-{os.getuid()}").symlink_to(tmp_path / "planted")
    folder = locks_of_node(tmp_path)
    assert folder == tmp_path / "cache" / "eibench_ray" / "locks" / os.uname().nodename
    assert folder.stat().st_mode & 0o777 == 0o700
    with locked(folder / "x.lock"):
        assert list((tmp_path / "planted").iterdir()) == []
