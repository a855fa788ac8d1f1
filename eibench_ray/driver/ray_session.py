"""Ray, started or joined, with deadlines and clear words when it is not there."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.ray_address import check_healthy, resolve_address
from eibench_ray.driver.ray_processes import OBJECT_STORE_BYTES, SERVICES, lean_node, set_ray_environment
from eibench_ray.driver.ray_requirements import find_home_flaw, find_python_flaw
from eibench_ray.driver.stop_signals import without_hangup
from eibench_ray.errors import ClusterError, ClusterLostError, EibenchError
from eibench_ray.storage.scratch_folders import RAY_FOLDER, scratch_folder
from eibench_ray.terminal.run_log import phase
from eibench_ray.worker.last_lines import keep_rays_lines

log = logging.getLogger(__name__)

_LEAVING = "leave Ray"  # the thread that leaves it
# It takes 1 to 3 s, and then some until it notices that what it waits for was killed (5 s).
LEAVE_TIMEOUT_S = 30.0
KILLED_TIMEOUT_S = 15.0
# Without its control service it does not come to an end.
LOST_TIMEOUT_S = 5.0

# What keeps Ray on loopback: by its own name for macOS and Windows, where it is the default, but it works everywhere.
# Ray reads it when it is imported, and otherwise listens on all addresses.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@contextlib.contextmanager
def ray_session(config: ClusterConfig, keep: Path | None = None) -> Iterator[None]:
    """Joins the cluster for the block; a Ray that was started here ends with it.

    Nothing of a Ray that was started here listens beyond loopback, if Ray was not imported before; it answers only who
    has this user's token (`~/.ray/auth_token`), which is Ray's own default; and what it writes lies in a folder that
    nobody else can enter and that goes with it.

    Args:
        config: which Ray.
        keep: where the last lines of a Ray that was started here are written, if an error ends the block.

    Raises:
        ClusterError: no cluster answers at the address, a port is taken, or Ray cannot be started here.
    """
    set_ray_environment()
    if config.address == "local":
        with _started(config, keep):
            yield
    else:
        address = resolve_address(config.address)
        check_healthy(address)
        with _joined({"address": address}, config.address):
            yield


@contextlib.contextmanager
def _started(config: ClusterConfig, keep: Path | None) -> Iterator[None]:
    """A Ray of this block's own."""
    if reason := find_python_flaw(sys.executable):
        raise ClusterError(reason)
    if reason := find_home_flaw(os.environ):
        raise ClusterError(reason)
    if config.dashboard_port is not None:
        _check_port_free(config.dashboard_port)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(os.environ))
        options = {
            "address": "local",
            "num_cpus": config.num_cpus,
            **_gpus(config),
            "include_dashboard": config.dashboard_port is not None,
            "dashboard_port": config.dashboard_port,
            "dashboard_host": "127.0.0.1",
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": str(folder / RAY_FOLDER),  # which Ray opens to all users
        }
        # What engines keep in temporary files, by names that others can guess, lies there, too.
        try:
            with (
                _environment({**_LOOPBACK, "TMPDIR": str(folder)}),
                lean_node(has_dashboard=config.dashboard_port is not None),
            ):
                stack.enter_context(_joined(options, "local"))
            _hide_token()
            yield
        except EibenchError:
            _keep_logs(folder / RAY_FOLDER, keep)
            raise


@contextlib.contextmanager
def _joined(options: Mapping[str, Any], address: str) -> Iterator[None]:
    """Ray for the block."""
    import ray  # noqa: F401 - its import sets the level that is set here

    # Ray warns, on a handler of its own, of what is its default for a cluster on this machine.
    logging.getLogger("ray").setLevel(logging.ERROR)
    with without_hangup():
        _init(options, address)
    timeout_s = LEAVE_TIMEOUT_S
    try:
        yield
    except ClusterLostError:
        timeout_s = LOST_TIMEOUT_S
        raise
    finally:
        _leave(timeout_s)


def _leave(timeout_s: float) -> None:
    """Leaves Ray, and ends what was started of it here; within some time, whether Ray answers or not.

    Without its control service ray.shutdown waits for ever, and once more when Python ends.
    """
    import ray
    import ray._private.worker

    # Ray's command line, once imported, ends each process with ESC [0m, on any terminal.
    if (colorama := sys.modules.get("colorama.initialise")) is not None:
        atexit.unregister(colorama.reset_all)
    leaving = threading.Thread(target=ray.shutdown, name=_LEAVING, daemon=True)
    leaving.start()
    with phase("leaving Ray"):
        leaving.join(timeout_s)
    if not leaving.is_alive():
        return
    log.warning("deadline what=Ray to shut down waited_s=%g did=killed what was started of it here", timeout_s)
    num_killed = sum(map(_kill_service, psutil.Process().children()))
    if num_killed:
        leaving.join(KILLED_TIMEOUT_S)
    if leaving.is_alive():
        atexit.unregister(ray._private.worker.shutdown)


def end_process(ended: SystemExit) -> None:
    """Ends the process as it was about to, where Ray could not be left; else it returns.

    The thread that is still leaving Ray crashes Python now and then while that ends (SIGSEGV), so that the exit code
    would be another one.
    """
    if all(thread.name != _LEAVING for thread in threading.enumerate()):
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(ended.code if isinstance(ended.code, int) else int(ended.code is not None))


def _kill_service(process: psutil.Process) -> bool:
    """Whether it was one of Ray's, and is killed; one that has gone by itself is not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if process.name() in SERVICES:
            process.kill()
            return True
    return False


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets variables for the block only: what is started later may be another Ray."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _init(options: Mapping[str, Any], address: str) -> None:
    """Starts or joins Ray from this very thread: what a thread starts dies with it, not with the process (Linux)."""
    import ray

    common: dict[str, Any] = {
        "namespace": "eibench_ray",
        "log_to_driver": False,
        "configure_logging": False,
        "logging_level": logging.ERROR,
    }
    try:
        # The thread would print over the screen what Ray's errors say, too. Where the control service is gone, it asks
        # it without a pause: a whole core of CPU (Ray 2.60).
        with patch("ray._private.worker.listen_error_messages", lambda *_: None):
            ray.init(**common, **options)
    except Exception as error:  # among them bare ones: "The current node timed out during startup"
        reason = " ".join(str(error).split())
        if address == "local":
            raise ClusterError(
                f"Ray does not start on this machine: {reason}; run the same command again when the machine is less "
                f"busy, or see `eibench-ray doctor`"
            ) from error
        raise ClusterError(
            f"Ray cannot be used (cluster.address={address}): {reason}; start it with `ray start --head`, or "
            f"set cluster=local"
        ) from error


def _keep_logs(ray_folder: Path, keep: Path | None) -> None:
    """Keeps what Ray's own processes have written last, before it goes with their folder."""
    if keep is None:
        return
    with contextlib.suppress(OSError):  # the error that ends the run is the one to show
        if keep_rays_lines(ray_folder / "session_latest" / "logs", keep):
            log.info("the last lines of Ray's processes are kept in %s", keep.absolute())


def _hide_token() -> None:
    """Lets nobody else on this machine read the token, which Ray 2.60 makes readable by all."""
    with contextlib.suppress(OSError):  # there is none, as the environment names another
        (Path.home() / ".ray" / "auth_token").chmod(0o600)


def _gpus(config: ClusterConfig) -> dict[str, Any]:
    """Ray's options for the GPUs of this machine, or for what stands in for them."""
    if config.gpu_resource == "GPU":
        return {"num_gpus": config.num_gpus}
    return {"num_gpus": 0, "resources": {config.gpu_resource: config.num_gpus or 0}}


def _check_port_free(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ClusterError(
                f"cluster.dashboard_port={port} cannot be used ({error.strerror}): free it, choose another, "
                f"or set it to null"
            ) from None
