"""The Ray actor that owns an endpoint's GPUs and keeps watch over its server."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from eibench_ray.engines.api_key import Secret, read_key
from eibench_ray.engines.engine_kind import ServerAddress
from eibench_ray.engines.registry import adapters_of, kind_of, section_of, weights_of
from eibench_ray.errors import EngineError
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.serve.listen_address import ListenAddress, find_port, outside_address
from eibench_ray.serve.server_process import ServerProcess, is_healthy

# While it loads, and while it serves.
LOOK_EVERY_S = 0.5
HEALTH_EVERY_S = 5.0
# So many looks without an answer in a row, of up to 20 s each, are a server that hangs.
MAX_MISSES = 3


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Facts that a server reports when it is ready.

    Attributes:
        node, node_id: the address and Ray's name of its node.
    """

    port: int
    pid: int  # of the server's own process
    load_s: float  # seconds from its start to its readiness
    node: str
    node_id: str
    gpus: tuple[str, ...]  # the GPUs that it owns, by index or UUID


class Server:
    """One engine kind's own server, started from an engine's options."""

    def __init__(self, spec: EngineSpec, listening: ListenAddress, working_folder: str) -> None:
        # A joined cluster was started elsewhere: relative paths mean what they mean where the command was called.
        if Path(working_folder).is_dir():
            os.chdir(working_folder)
        weights = weights_of(spec)
        assert weights is not None
        self._spec = spec
        self._weights = weights
        self._listening = listening
        self._port = 0
        self._process: ServerProcess | None = None

    async def start(self) -> ServerFacts:
        """Facts, once it answers that it is ready.

        Raises:
            ClusterError: its port is taken.
            EngineError: it ended before, or there is no key where one is named.
        """
        import ray
        from ray.util import get_node_ip_address

        started = time.monotonic()
        spec, listening, kind = self._spec, self._listening, kind_of(self._spec)
        self._port = find_port(listening)
        await asyncio.to_thread(self._weights.bring)
        # From this process's environment: an argument of Ray's would be kept in its tables.
        name = listening.api_key_env
        key = read_key(name, "--api-key-env") if name else None
        address = ServerAddress(listening.host, self._port, listening.served_name, has_key=key is not None)
        adapters = adapters_of(spec)
        for adapter in adapters:
            await asyncio.to_thread(adapter.bring)
        command = kind.server(section_of(spec), spec.device, self._weights, address, adapters)
        environment = {**command.environment, **os.environ}
        environment.pop(kind.server_key, None)
        if key is not None:
            environment[kind.server_key] = key
        self._process = await ServerProcess.start(command.arguments, environment, Secret(key))
        while not await is_healthy(self._listening, self._port):
            if reason := await self._process.ended(LOOK_EVERY_S):
                raise EngineError(f"the server of {spec.name} does not start: {reason}")
        where = ray.get_runtime_context()
        return ServerFacts(
            port=self._port,
            pid=self._process.pid,
            load_s=time.monotonic() - started,
            node=outside_address(get_node_ip_address()),
            node_id=where.get_node_id(),
            gpus=tuple(str(gpu) for gpu in where.get_accelerator_ids().get("GPU", [])),
        )

    async def doing(self) -> str:
        """Waits of its start beside the server's own; empty where there are none."""
        return self._weights.doing

    async def watch(self) -> str:
        """Waits until it does not serve any more, and returns the reason."""
        assert self._process is not None
        misses = 0
        while (reason := await self._process.ended(HEALTH_EVERY_S)) is None:
            misses = 0 if await is_healthy(self._listening, self._port) else misses + 1
            if misses == MAX_MISSES:
                await self._process.kill()
                return f"it gave no answer to /health, {MAX_MISSES} times in a row"
        return reason

    async def stop(self) -> None:
        """Ends it in order."""
        if self._process is not None:
            await self._process.stop()
