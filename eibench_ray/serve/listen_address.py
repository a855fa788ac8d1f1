"""Address and name under which an endpoint listens. Pure, but for the look at a port."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from eibench_ray.errors import ClusterError


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Address of an endpoint, as seen from outside."""

    host: str  # the address or name that it is bound to
    port: int  # 0 takes a free one
    served_name: str  # what a request calls the model
    api_key_env: str | None  # name of the environment variable that holds its key; None: it asks for none

    @property
    def is_loopback(self) -> bool:
        """Whether only its own machine reaches it."""
        address = _address(self.host)
        return self.host == "localhost" if address is None else address.is_loopback

    @property
    def is_everywhere(self) -> bool:
        """Whether it is bound to all addresses of its machine."""
        address = _address(self.host)
        return address is not None and address.is_unspecified

    @property
    def local_host(self) -> str:
        """The host under which its own machine reaches it."""
        if not self.is_everywhere:
            return self.host
        return "::1" if ":" in self.host else "127.0.0.1"

    def base_url(self, node: str) -> str:
        """Its address for the openai client."""
        host = node if self.is_everywhere else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v1"


def find_port(listening: ListenAddress) -> int:
    """The port that it can be bound to on this machine now.

    Raises:
        ClusterError: somebody listens there, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listening.host, listening.port))
        except OSError as error:
            raise ClusterError(
                f"--host {listening.host} --port {listening.port} cannot be used ({error.strerror}): free the port, "
                f"choose another (0 takes a free one), or an address of this machine"
            ) from None
        return int(probe.getsockname()[1])


def outside_address(node: str) -> str:
    """The address under which others reach a node, whose own may be loopback's, as that of a Ray on one machine."""
    if not ipaddress.ip_address(node).is_loopback:
        return node
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing, but chooses from where it would be sent
        except OSError:
            return node
        return str(probe.getsockname()[0])


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
