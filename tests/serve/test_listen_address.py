"""Address of an endpoint: where it listens, and how others call it."""

from __future__ import annotations

import socket

import pytest

from eibench_ray.errors import ClusterError
from eibench_ray.serve.listen_address import ListenAddress, find_port


def at(host: str, port: int = 8000) -> ListenAddress:
    return ListenAddress(host, port, "mine", None)


@pytest.mark.parametrize(
    ("host", "is_loopback", "is_everywhere", "local_host", "base_url"),
    [
        ("127.0.0.1", True, False, "127.0.0.1", "http://127.0.0.1:8000/v1"),
        ("127.1.2.3", True, False, "127.1.2.3", "http://127.1.2.3:8000/v1"),
        ("localhost", True, False, "localhost", "http://localhost:8000/v1"),
        ("::1", True, False, "::1", "http://[::1]:8000/v1"),
        ("0.0.0.0", False, True, "127.0.0.1", "http://192.0.2.7:8000/v1"),
        ("::", False, True, "::1", "http://192.0.2.7:8000/v1"),
        ("192.0.2.9", False, False, "192.0.2.9", "http://192.0.2.9:8000/v1"),
        ("gpu-box", False, False, "gpu-box", "http://gpu-box:8000/v1"),
    ],
)
def test_a_host_says_who_reaches_it(
    host: str, is_loopback: bool, is_everywhere: bool, local_host: str, base_url: str
) -> None:
    listening = at(host)
    assert (listening.is_loopback, listening.is_everywhere) == (is_loopback, is_everywhere)
    assert listening.local_host == local_host
    assert listening.base_url("192.0.2.7") == base_url


def test_a_port_that_is_taken_is_refused_and_zero_finds_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ClusterError, match=f"--host 127.0.0.1 --port {port} cannot be used .Address already in use"
        ):
            find_port(at("127.0.0.1", port))
        assert find_port(at("127.0.0.1", 0)) not in (0, port)
    assert find_port(at("127.0.0.1", port)) == port


@pytest.mark.parametrize("host", ["192.0.2.9", "nobody.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ClusterError, match=f"--host {host} --port 0 cannot be used"):
        find_port(at(host, 0))
