"""Access to a run on one machine: none from outside, and from inside with the user's token."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from command_lines import command_line

from eibench_ray.driver.ray_address import find_refusal, is_about_token
from eibench_ray.serve.listen_address import outside_address

RUN = ["model=echo", "model.engine.latency_s=60", "cluster.grace_s=1", "dataset=demo", "judge=echo"]
RUN += ["tracking=none", "cluster.num_cpus=2", "cluster.stop_timeout_s=10"]


def listening(pid: int) -> set[tuple[str, str, int]]:
    """(Process, address, port) of all that a process and its descendants listen on."""
    found = set()
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        try:
            for socket in process.net_connections("inet"):
                if socket.status == psutil.CONN_LISTEN or not socket.raddr:
                    found.add((process.name(), socket.laddr.ip.removeprefix("::ffff:"), socket.laddr.port))
        except psutil.Error:  # it has ended
            continue
    return found


def refusal(port: int, token: str, folder: Path) -> str:
    """The reason why a cluster refuses somebody with a token."""
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "HOME": str(folder)}
    environment |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # else it asks at the outer address, where nobody listens
    return find_refusal(f"127.0.0.1:{port}", environment)


@pytest.mark.slow
def test_a_run_listens_on_loopback_alone_and_its_ray_wants_the_users_token(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as ray_folder:
        run = subprocess.Popen(
            [sys.executable, "-m", "eibench_ray.cli.app", "run", *RUN],
            cwd=tmp_path,
            env=environment | {"HOME": str(home), "RAY_TMPDIR": ray_folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            deadline = time.monotonic() + 120
            found: set[tuple[str, str, int]] = set()
            while not any(name.startswith("ray::Replica") for name, _, _ in found):
                assert time.monotonic() < deadline
                assert run.poll() is None, run.communicate()
                found |= listening(run.pid)
                time.sleep(0.2)
            assert {"raylet", "gcs_server"} <= {name for name, _, _ in found}
            (private,) = Path(ray_folder).iterdir()
            assert private.stat().st_mode & 0o777 == 0o700
            commands = [command_line(process) for process in psutil.Process(run.pid).children(recursive=True)]
            assert any(f"--temp-dir={private}" in command or f"{private}/session_" in command for command in commands)
            spare = (
                "autoscaler",
                "log_monitor",
                "dashboard/dashboard.py",
                "ray::DashboardAgent",
                "ray::RuntimeEnvAgent",
            )  # a run does without, and they take a second each
            assert not [command for command in commands for name in spare if name in command]
            assert [one for one in found if not ipaddress.ip_address(one[1]).is_loopback] == []
            (port,) = {port for name, _, port in found if name == "gcs_server"}
            token = (home / ".ray" / "auth_token").read_text()
            assert (home / ".ray" / "auth_token").stat().st_mode & 0o077 == 0
            assert refusal(port, token, tmp_path) == ""
            assert is_about_token(refusal(port, "0" * 64, tmp_path))
        finally:
            run.terminate()
            run.communicate(timeout=60)
        assert list(Path(ray_folder).iterdir()) == []


def test_the_address_for_others_is_none_of_loopback() -> None:
    assert outside_address("192.0.2.9") == "192.0.2.9"
    address = outside_address("127.0.0.1")
    addresses = {one.address for many in psutil.net_if_addrs().values() for one in many}
    assert address in addresses
