"""`cluster.address=auto`: only what this user has written leads anywhere; who listens there is sent the token."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eibench_ray.driver.ray_address import find_listener, resolve_address
from eibench_ray.errors import ClusterError

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to another user")


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """The file in which `ray start` notes its address, in a folder that is open to all, as Ray makes it."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray").chmod(0o777)
    path = tmp_path / "ray" / "ray_current_cluster"
    path.write_text("192.0.2.1:6379\n")
    return path


def refusal(noted: Path) -> str:
    with pytest.raises(ClusterError) as caught:
        resolve_address("auto", {"RAY_TMPDIR": str(noted.parents[1])})
    message = str(caught.value)
    assert "say cluster.address=HOST:PORT of the cluster that you want to join" in message
    return message


def test_what_this_user_has_noted_is_taken(noted: Path) -> None:
    folder = str(noted.parents[1])
    assert resolve_address("auto", {"TMPDIR": folder}) == "192.0.2.1:6379"
    assert resolve_address("auto", {"TMPDIR": folder, "RAY_ADDRESS": "auto"}) == "192.0.2.1:6379"
    assert resolve_address("auto", {"TMPDIR": folder, "RAY_ADDRESS": "192.0.2.2:1"}) == "192.0.2.2:1"
    assert resolve_address("192.0.2.3:1", {"TMPDIR": folder, "RAY_ADDRESS": "192.0.2.2:1"}) == "192.0.2.3:1"


def test_no_note_is_said(noted: Path) -> None:
    noted.unlink()
    assert f"RAY_ADDRESS is not set, and there is no {noted}" in refusal(noted)
    noted.parent.rmdir()
    assert f"there is no {noted}" in refusal(noted)


def link_the_file(noted: Path) -> None:
    noted.rename(noted.with_name("elsewhere"))
    noted.symlink_to(noted.with_name("elsewhere"))


def link_the_folder(noted: Path) -> None:
    noted.parent.rename(noted.parents[1] / "elsewhere")
    noted.parent.symlink_to(noted.parents[1] / "elsewhere")


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (link_the_file, "Too many levels of symbolic links"),
        (link_the_folder, "is a link"),
        (lambda noted: noted.chmod(0o666), "others may write to it"),
        (lambda noted: (noted.unlink(), os.mkfifo(noted)), "the file is of another kind"),
        pytest.param(lambda noted: os.chown(noted, NOBODY, -1), f"another user (uid {NOBODY})", marks=as_root),
        pytest.param(lambda noted: os.chown(noted.parent, NOBODY, -1), f"another user (uid {NOBODY})", marks=as_root),
    ],
)
def test_what_another_user_may_have_noted_is_refused(noted: Path, plant: Callable[[Path], object], said: str) -> None:
    plant(noted)
    message = refusal(noted)
    assert f"is not taken from {noted}: " in message
    assert said in message
    assert "would be sent your token" in message


def test_who_listens_at_an_address_of_this_machine_is_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert find_listener(f"127.0.0.1:{port}") == find_listener(f"localhost:{port}") == os.getuid()
        assert find_listener(f"192.0.2.1:{port}") is None
    assert find_listener(f"127.0.0.1:{port}") is None
    assert find_listener("nowhere") is None


@as_root
def test_a_stale_note_does_not_lead_to_another_users_process(noted: Path) -> None:
    listen = "import os, socket, sys; os.setuid(65534); s = socket.create_server(('127.0.0.1', 0)); "
    listen += "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    stranger = subprocess.Popen(
        [sys.executable, "-c", listen], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert stranger.stdout is not None
        noted.write_text(f"127.0.0.1:{stranger.stdout.readline().strip()}")
        assert f"a process of another user (uid {NOBODY}) listens" in refusal(noted)
    finally:
        stranger.communicate("")
