"""The way to an endpoint: its host and port, and the proxy that the environment puts in between.

>>> Route.of("http://127.0.0.1:8000/v1", {"http": "http://proxy:3128"}).peer
'127.0.0.1:8000'
>>> Route.of("https://api.example/v1", {"https": "http://me:secret@proxy:3128"}).peer
'proxy:3128, the proxy that HTTPS_PROXY names'
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Route:
    """The way to an endpoint."""

    scheme: str  # of its address
    host: str
    port: int
    proxy: str | None = None  # host and port of the proxy; None: there is none in between
    proxy_variable: str = ""  # the environment variable that names it

    @classmethod
    def of(cls, base_url: str, proxies: Mapping[str, str] | None = None) -> Route:
        """The way to an address.

        Args:
            base_url: the endpoint's.
            proxies: by scheme, with `no` for hosts without one; None: what the environment says.
        """
        parts = urlsplit(base_url)
        scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
        try:
            port = parts.port or _PORTS.get(scheme, 0)
        except ValueError:  # beyond all ports
            port = 0
        route = cls(scheme, host, port)
        known = dict(getproxies() if proxies is None else proxies)
        name = scheme if known.get(scheme) else "all"
        if route.is_loopback or not known.get(name) or _is_listed(host, known.get("no", "")):
            return route
        proxy = known[name] if "://" in known[name] else f"http://{known[name]}"
        at = urlsplit(proxy).netloc.rpartition("@")[2]
        return cls(scheme, host, route.port, at, f"{name.upper()}_PROXY")

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine itself, where no proxy reaches."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port, which two addresses of one server share."""
        return self.scheme, self.host, self.port

    @property
    def address(self) -> str:
        """The endpoint's host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def peer(self) -> str:
        """The host that is connected to: the endpoint, or the proxy before it."""
        return f"{self.proxy}, the proxy that {self.proxy_variable} names" if self.proxy else self.address

    @property
    def proxy_note(self) -> str:
        """A note about the proxy for where something went wrong; empty where there is none."""
        if self.proxy is None:
            return ""
        return (
            f"asked through the proxy {self.proxy} that {self.proxy_variable} names; put {self.host} into NO_PROXY to "
            f"ask the endpoint itself"
        )


def _is_listed(host: str, no_proxy: str) -> bool:
    """As httpx2 reads NO_PROXY: `example.com` and `.example.com` mean its subdomains, the first itself, too."""
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if entry == "*" or entry.strip("[]") == host:
            return True
        if entry and host.endswith(entry if entry.startswith(".") else f".{entry}"):
            return True
    return False
