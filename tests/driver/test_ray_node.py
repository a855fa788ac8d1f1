"""A job's own Ray cluster: no process more than a run's own Ray has, and it ends as a whole."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from command_lines import command_line

from eibench_ray.driver import ray_node
from eibench_ray.driver.ray_address import find_refusal, is_about_token
from eibench_ray.serve.listen_address import outside_address


def free_port() -> int:
    with socket.create_server(("", 0)) as free:
        return int(free.getsockname()[1])


def test_a_cluster_without_a_token_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(SystemExit, match="RAY_AUTH_MODE=token is not set"):
        ray_node.main(["--port=1", "--temp-dir=/nowhere"])


def test_a_node_is_the_head_or_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    for role in ([], ["--port=1", "--address=here:1"]):
        with pytest.raises(SystemExit):
            ray_node.main([*role, "--temp-dir=/nowhere"])
    assert "one of the arguments --port --address is required" in capsys.readouterr().err


@pytest.mark.slow
def test_two_nodes_have_no_spare_process_answer_who_has_the_token_and_end_with_their_head(tmp_path: Path) -> None:
    token, here, port = tmp_path / "token", outside_address("127.0.0.1"), free_port()
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    environment |= {"RAY_gcs_rpc_server_reconnect_timeout_s": "2"}  # as jobs have it, but sooner
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as short, (tmp_path / "said").open("w+") as said:

        def start(*role: str) -> psutil.Popen:
            command = [sys.executable, "-P", "-m", "eibench_ray.driver.ray_node", *role, "--num-cpus=1", "--num-gpus=0"]
            command += [f"--temp-dir={short}/{role[0][2]}"]
            return psutil.Popen(command, cwd=tmp_path, env=environment, stdout=said, stderr=said)

        head, node = start(f"--port={port}", f"--ip={here}"), start(f"--address={here}:{port}")
        try:
            deadline = time.monotonic() + 120
            while (tmp_path / "said").read_text().count("has started on") < 2:
                assert time.monotonic() < deadline
                assert (head.poll(), node.poll()) == (None, None), (tmp_path / "said").read_text()
                time.sleep(0.1)
            processes = [(one, children(one)) for one in (head, node)]
            names = [sorted(map(name_of, them)) for _, them in processes]
            of_a_node = ["idle_agent.py", "raylet", "variables_agent.py"]
            assert names == [["gcs_server", *of_a_node], of_a_node]
            status = [Path(sys.executable).parent / "ray", "status", f"--address={here}:{port}"]
            asked = subprocess.run(status, env=environment, capture_output=True, text=True, check=True)
            assert "0.0/2.0 CPU" in asked.stdout
            stranger = environment | {"RAY_AUTH_TOKEN": "0" * 64, "HOME": str(tmp_path)}
            del stranger["RAY_AUTH_TOKEN_PATH"]
            assert is_about_token(find_refusal(f"{here}:{port}", stranger))
            (service,) = (one for one in processes[0][1] if one.name() == "gcs_server")
            service.send_signal(signal.SIGKILL)
            assert (head.wait(60), node.wait(60)) == (1, 1)
            assert (
                f"Ray's head on {here} has lost a process and ends: gcs_server (-9)\n"
                in (tmp_path / "said").read_text()
            )
            assert psutil.wait_procs([one for _, them in processes for one in them], timeout=20)[1] == []
        finally:
            for one in (head, node):
                if one.is_running():
                    one.kill()


def children(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if child.is_running()]


def name_of(process: psutil.Process) -> str:
    """Its name; of a Python, that of the file which it runs first."""
    files = [Path(word).name for word in command_line(process).split() if word.endswith(".py")]
    return files[0] if process.name().startswith("python") and files else process.name().removeprefix("ray::")
