"""Ray that cannot be had: told at once, in one paragraph."""

from __future__ import annotations

import socket
import subprocess
import sys

import psutil
import pytest

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver import ray_address
from eibench_ray.driver import ray_session as session
from eibench_ray.driver.ray_session import ray_session
from eibench_ray.errors import ClusterError


def refusal(config: ClusterConfig) -> str:
    """The reason that is given where no session begins."""
    with pytest.raises(ClusterError) as caught, ray_session(config):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "nowhere.invalid:1", "no-port"])
def test_an_address_that_does_not_answer(address: str) -> None:
    address = address.format(port=free_port())
    message = refusal(ClusterConfig(name="ray", address=address))
    assert f"nothing answers at cluster.address={address} (" in message
    assert "set cluster=local" in message


def test_something_that_answers_and_is_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address, "HEALTH_TIMEOUT_S", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        address = f"127.0.0.1:{stranger.getsockname()[1]}"
        message = refusal(ClusterConfig(name="ray", address=address))
    assert f"no Ray cluster answers at cluster.address={address} (no answer within 3 s)" in message


def test_a_dashboard_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refusal(ClusterConfig(name="local", dashboard_port=port))
    assert f"cluster.dashboard_port={port} cannot be used (Address already in use)" in message


def test_a_refusal_loads_no_ray() -> None:
    script = (
        "import sys; from eibench_ray.driver.ray_session import ray_session; "
        "from eibench_ray.config.cluster import ClusterConfig; from eibench_ray.errors import ClusterError\n"
        "try:\n    ray_session(ClusterConfig(name='r', address='127.0.0.1:1')).__enter__()\n"
        "except ClusterError:\n    print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_a_ray_that_does_not_answer_is_killed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LEAVE_TIMEOUT_S", 0.5)
    with ray_session(ClusterConfig(name="local", num_cpus=1, num_gpus=0)):
        services = [process for process in psutil.Process().children() if process.name() in {"gcs_server", "raylet"}]
        assert len(services) == 2
        for process in services:
            process.suspend()
    gone, _ = psutil.wait_procs(services, timeout=10)
    assert len(gone) == 2


@pytest.mark.parametrize(("leaving", "code"), [("leave Ray", 3), ("another", 0)])
def test_where_ray_could_not_be_left_the_process_ends_before_python_does(leaving: str, code: int) -> None:
    """With the exit code that it was to have, and with all that was to be done and said at its end."""
    program = f"""
import atexit, threading, time
from eibench_ray.driver.ray_session import end_process
atexit.register(print, "done", end="")
print("said", end=" ")
threading.Thread(target=time.sleep, args=(60,), name={leaving!r}, daemon=True).start()
end_process(SystemExit(3))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "said done", "")


def test_a_ray_that_does_not_start_is_one_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def fail(**_: object) -> None:
        raise Exception("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray, "init", fail)
    message = refusal(ClusterConfig(name="local"))
    assert message.startswith("Ray does not start on this machine: The current node timed out during startup.; run")
