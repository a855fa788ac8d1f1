"""A node of a job's own Ray cluster, as a program that ends with it: `python -m eibench_ray.driver.ray_node OPTIONS`.

It starts what a run's own Ray has, and nothing more; `ray start` has no options for most of the rest. Its command line
alone imports for 1.2 CPU s, and of a job of two nodes it starts seven processes more, which nobody asks anything.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from eibench_ray.driver.ray_processes import OBJECT_STORE_BYTES, SERVICES, lean_node, set_ray_environment

LOOK_S = 1.0
_TOKEN_MODE = "RAY_AUTH_MODE"


def main(arguments: list[str]) -> None:
    """Starts the node and stays until it is told to go (TERM) or one of the node's services ends (exit code 1)."""
    options = parse_options(arguments)
    if os.environ.get(_TOKEN_MODE) != "token":
        sys.exit(f"{_TOKEN_MODE}=token is not set: whoever reaches a cluster without a token may run code as you")
    set_ray_environment()
    node = _start(options)
    started = psutil.Process().children(recursive=True)
    kind = "head" if options.address is None else "node"
    print(f"Ray's {kind} has started on {node.node_ip_address}, its logs are in {node.get_logs_dir_path()}", flush=True)
    while not (ended := [f"{name} ({process.returncode})" for name, process in _ended_services(node)]):
        time.sleep(LOOK_S)
    print(f"Ray's {kind} on {node.node_ip_address} has lost a process and ends: {', '.join(ended)}", flush=True)
    # An agent whose raylet was killed goes on asking for the control service, for as long as it may be gone.
    for process in (*started, *psutil.Process().children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    os._exit(1)  # what Ray has registered for the end would wait for what was killed


def _start(options: argparse.Namespace) -> Any:
    """Ray's processes on this machine; they end with this one."""
    with lean_node(has_dashboard=options.dashboard_port is not None):
        import ray._private.node
        import ray._private.parameter
        import ray._private.utils
        from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled

        ensure_token_if_auth_enabled(None, create_token_if_missing=False)
        parameters = ray._private.parameter.RayParams(
            gcs_address=options.address,
            gcs_server_port=options.port,
            node_ip_address=options.ip or _own_address(options.address),
            num_cpus=options.num_cpus,
            num_gpus=options.num_gpus,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=options.dashboard_port is not None,
            dashboard_host="127.0.0.1",
            dashboard_port=options.dashboard_port,
            dashboard_agent_listen_port=0,  # a free one
            temp_dir=str(options.temp_dir),
        )
        is_head = options.address is None
        node = ray._private.node.Node(parameters, head=is_head, shutdown_at_exit=True, spawn_reaper=True)
    # Jobs that come by the dashboard look for it there, as `ray start` does it.
    ray._private.utils.write_ray_address(node.gcs_address, str(options.temp_dir))
    if is_head:
        _let_status_be_asked(node)
    return node


def _let_status_be_asked(node: Any) -> None:
    """Has `ray status` ask Ray's control service; else it waits for words of the autoscaler, which is not there."""
    raylet: Any = import_module("ray._raylet")
    node.get_gcs_client().internal_kv_put(
        raylet.GCS_AUTOSCALER_V2_ENABLED_KEY.encode(), b"1", True, raylet.GCS_AUTOSCALER_STATE_NAMESPACE.encode()
    )


def _own_address(head: str | None) -> str:
    """This machine's address, as the head's machine sees it."""
    import ray._private.services

    return str(ray._private.services.get_node_ip_address(head) if head else ray._private.services.get_node_ip_address())


def _ended_services(node: Any) -> list[tuple[str, Any]]:
    """Those of the node's processes without which it is none, if they have ended."""
    return [(name, process) for name, process in node.dead_processes() if name in SERVICES]


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """The options of the program."""
    parser = argparse.ArgumentParser(prog="ray_node", description=__doc__)
    role = parser.add_mutually_exclusive_group(required=True)
    role.add_argument("--port", type=int, help="of a cluster's head: this is it")
    role.add_argument("--address", help="HOST:PORT of the head, for any other node")
    parser.add_argument("--ip", help="address by which others know the head")
    parser.add_argument("--num-cpus", type=int, help="cores (those of the machine)")
    parser.add_argument("--num-gpus", type=int, help="GPUs (those of the machine)")
    parser.add_argument("--dashboard-port", type=int, help="Ray's dashboard on the head's loopback, with Ray's metrics")
    parser.add_argument("--temp-dir", type=Path, required=True, help="folder of Ray's sockets and logs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
