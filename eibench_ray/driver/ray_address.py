"""The address of a running Ray cluster, and whether one answers there. `auto` is what this user has written alone.

Ray keeps it in a file below /tmp/ray, a folder that it opens to all users: whoever writes another address there is sent
the token of who joins it. Ray itself looks at no owner.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from eibench_ray.errors import ClusterError

AUTO = "auto"
CONNECT_TIMEOUT_S = 5.0
# Importing Ray and asking takes 1 to 3 s on a slow machine.
HEALTH_TIMEOUT_S = 30.0
# As `ray health-check` does, without importing Ray's command line, which takes three times as long; ray.init refuses
# another version of Ray.
_HEALTH_CHECK = """
import sys
from ray._private.services import canonicalize_bootstrap_address_or_die as canonical
from ray._raylet import GcsClient
GcsClient(address=canonical(sys.argv[1])).internal_kv_get(b"healthcheck", namespace=b"healthcheck")
"""
_FILE = Path("ray") / "ray_current_cluster"
_LONGEST = 300  # bytes of an address
_LISTENS = "0A"
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def resolve_address(address: str, environ: Mapping[str, str] = os.environ) -> str:
    """The address, with `auto` replaced by RAY_ADDRESS or by what this user's `ray start` has noted.

    Raises:
        ClusterError: none is noted, or another user may have noted it or listens there.
    """
    if address != AUTO:
        return address
    if (given := environ.get("RAY_ADDRESS", "").strip()) not in ("", AUTO):
        return given
    path = Path(environ.get("RAY_TMPDIR") or environ.get("TMPDIR") or "/tmp") / _FILE
    remedy = "say cluster.address=HOST:PORT of the cluster that you want to join"
    try:
        found = _read_own(path)
    except FileNotFoundError:
        raise ClusterError(
            f"cluster.address=auto finds no cluster: RAY_ADDRESS is not set, and there is no {path}; start one with "
            f"`ray start --head`, {remedy}, or set cluster=local"
        ) from None
    except OSError as error:
        raise ClusterError(
            f"cluster.address=auto is not taken from {path}: {error.strerror or error}, so it may lead to somebody "
            f"else's cluster, which would be sent your token: {remedy}"
        ) from None
    if (uid := find_listener(found)) not in (None, 0, os.getuid()):
        raise ClusterError(
            f"cluster.address=auto is {found} by {path}, where a process of another user (uid {uid}) listens, who "
            f"would be sent your token: {remedy}"
        )
    return found


def _read_own(path: Path) -> str:
    """Contents of a file that only this user, or root, can have written.

    Raises:
        OSError: it is not there, or another user could have written it.
    """
    _check_own(path.parent.lstat(), f"its folder {path.parent}", stat.S_ISDIR)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check_own(status, "the file", stat.S_ISREG)
        if status.st_mode & 0o022:
            raise PermissionError(None, "others may write to it")
        return file.read(_LONGEST).decode(errors="replace").strip()


def _check_own(status: os.stat_result, what: str, is_kind: Callable[[int], bool]) -> None:
    if not is_kind(status.st_mode):
        raise PermissionError(None, f"{what} is {'a link' if stat.S_ISLNK(status.st_mode) else 'of another kind'}")
    if status.st_uid not in (0, os.getuid()):
        raise PermissionError(None, f"{what} belongs to another user (uid {status.st_uid})")


def find_listener(address: str) -> int | None:
    """The user whose process listens at an address of this machine; None where nobody does, or it is another's."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or not _is_here(host):
        return None
    for table in _TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == int(port):
                return int(fields[7])
    return None


def _is_here(host: str) -> bool:
    """Whether a host is this machine, as far as its name says without asking anybody."""
    host = host.strip("[]")
    if host in ("localhost", os.uname().nodename):
        return True
    try:
        if ipaddress.ip_address(host).is_loopback:
            return True
    except ValueError:
        return False
    return any(host == one.address for addresses in psutil.net_if_addrs().values() for one in addresses)


def find_refusal(address: str, environ: Mapping[str, str] = os.environ) -> str:
    """The reason why a cluster refuses this environment, in Ray's last words; empty where it does not.

    Asked in a process of its own: where something else than Ray answers, ray.init ends the program.
    """
    command = [sys.executable, "-c", _HEALTH_CHECK, address]
    try:
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=HEALTH_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {HEALTH_TIMEOUT_S:g} s"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it is not healthy"])[-1]


def is_about_token(refusal: str) -> bool:
    """Whether a cluster refuses somebody for the want of its token."""
    return "token" in refusal.lower()


def check_healthy(address: str) -> None:
    _check_answers(address)
    reason = find_refusal(address)
    if is_about_token(reason):
        raise ClusterError(
            f"the Ray cluster at cluster.address={address} wants a token: export RAY_AUTH_MODE=token and put its "
            f"~/.ray/auth_token here, or name that file in RAY_AUTH_TOKEN_PATH"
        )
    if reason:
        raise ClusterError(
            f"no Ray cluster answers at cluster.address={address} ({reason}): start one with `ray start --head`, "
            f"correct the address, or set cluster=local"
        )


def _check_answers(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=CONNECT_TIMEOUT_S):
            return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClusterError(
            f"nothing answers at cluster.address={address} ({reason}): start Ray there with `ray start --head "
            f"--port={port}`, correct the address, or set cluster=local"
        ) from None
