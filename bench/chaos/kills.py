"""Faults of processes: killed, stopped, told to go, and started twice."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import ClassVar

import psutil

from bench.chaos.kinds import Kind, Moment, Scene

_GONE_TIMEOUT_S = 15.0
_SECOND_TIMEOUT_S = 120.0
# Beyond cluster.progress_timeout_s and cluster.start_timeout_s, which a replica that loads has.
_HANG_TIMEOUT_S = 240.0
INTERRUPTED, PREEMPTED, REFUSED = 130, 75, 2


def _kill(victim: psutil.Process | None, number: signal.Signals = signal.SIGKILL) -> bool:
    """Whether a process was there, and is not any more."""
    if victim is None:
        return False
    try:
        victim.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    deadline = time.monotonic() + _GONE_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if victim.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


class ReplicaKill(Kind):
    """SIGKILL of a replica's process, whether it loads or works."""

    name = "replica_kill"
    moment = Moment.DURING

    def inject(self, scene: Scene) -> bool:
        """Whether one was there and is gone."""
        return _kill(scene.pick(scene.family.replicas))


class EngineKill(Kind):
    """SIGKILL of the process in which vLLM computes; the replica lives."""

    name = "engine_kill"
    moment = Moment.DURING

    def inject(self, scene: Scene) -> bool:
        """Whether one was there and is gone."""
        return _kill(scene.pick(scene.family.engine_cores))


class EngineTerm(Kind):
    """SIGTERM to the process in which vLLM computes: it ends what it has in hand half-way, and says `abort` of it."""

    name = "engine_term"
    moment = Moment.DURING

    def inject(self, scene: Scene) -> bool:
        """Whether one was there and is gone."""
        return _kill(scene.pick(scene.family.engine_cores), signal.SIGTERM)


class WorkerKill(Kind):
    """SIGKILL of a process in which vLLM holds a part of a model; its EngineCore and the replica live."""

    name = "worker_kill"
    moment = Moment.DURING

    def inject(self, scene: Scene) -> bool:
        """Whether one was there and is gone."""
        return _kill(scene.pick(scene.family.workers))


class NodeKill(Kind):
    """SIGKILL of a node's raylet: the node is dead; it joins again a little later."""

    name = "node_kill"
    moment = Moment.DURING

    def inject(self, scene: Scene) -> bool:
        """Whether a raylet was there and is gone."""
        number = scene.pick(lambda: [node for node in scene.cluster.nodes if scene.cluster.raylet(node)])
        if number is None or not _kill(scene.cluster.raylet(number)):
            return False
        time.sleep(scene.random.uniform(0.0, 3.0))
        scene.cluster.forget_node(number)
        scene.cluster.add_node(number)
        return True


class ReplicaStall(Kind):
    """SIGSTOP of a replica, and SIGCONT some seconds later."""

    name = "replica_stall"
    moment = Moment.DURING

    def inject(self, scene: Scene) -> bool:
        """Whether one was there and was seen to stand still."""
        victim = scene.pick(scene.family.replicas)
        if victim is None:
            return False
        try:
            victim.suspend()
            time.sleep(scene.random.uniform(0.3, 2.5))
            return bool(victim.status() == psutil.STATUS_STOPPED)
        except psutil.NoSuchProcess:
            return False
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.resume()


class ReplicaHang(Kind):
    """SIGSTOP of a replica for good: the command has to find out, and to kill it."""

    name = "replica_hang"
    moment = Moment.DURING

    def __init__(self) -> None:
        self._victim: psutil.Process | None = None
        self._stopped_at = 0.0

    def inject(self, scene: Scene) -> bool | None:
        """None, as soon as one stands still: what becomes of it shows later."""
        self._victim = scene.pick(scene.family.loaded_replicas)
        if self._victim is None:
            return False
        try:
            self._victim.suspend()
        except psutil.NoSuchProcess:
            return False
        self._stopped_at = time.monotonic()
        return None

    def settle(self, scene: Scene) -> bool | None:
        """Whether somebody else killed it while the command ran; None while it stands still."""
        assert self._victim is not None
        try:
            if scene.is_running and self._victim.status() == psutil.STATUS_STOPPED:
                if time.monotonic() < self._stopped_at + _HANG_TIMEOUT_S:
                    return None
                scene.hangs.append(f"{scene.run_name}: a replica stood still for {_HANG_TIMEOUT_S:g} s, and lives")
            self._victim.resume()
        except psutil.NoSuchProcess:
            return scene.is_running
        return False


class SecondDriver(Kind):
    """The same command once more, over the same store, while the first one works."""

    name = "second_driver"
    moment = Moment.DURING

    def inject(self, scene: Scene) -> bool:
        """Whether it was refused because the store is in use."""
        assert scene.run is not None
        second = scene.sweep.start(scene.place.root, f"second-{time.monotonic_ns()}")
        if second.wait(_SECOND_TIMEOUT_S) is None:
            second.end()
        return second.code == REFUSED and "is in use" in second.last_words


class _SignalToDriver(Kind):
    """A signal to the command, which ends as it should of it."""

    moment = Moment.ENDING
    number: ClassVar[signal.Signals]
    code: ClassVar[int]

    def inject(self, scene: Scene) -> bool:
        """Whether it ran until then, and ended with the code that belongs to the signal."""
        assert scene.run is not None
        scene.run.signal(self.number)
        return scene.await_end(self.number.name) == self.code


class DriverKill(_SignalToDriver):
    """SIGKILL of the command."""

    name = "driver_kill"
    number, code = signal.SIGKILL, -signal.SIGKILL


class Preemption(_SignalToDriver):
    """SIGTERM to the command: it ends in order, as one that was preempted and has something left."""

    name = "preemption"
    number, code = signal.SIGTERM, PREEMPTED


class Interrupt(_SignalToDriver):
    """SIGINT to the command, as Ctrl-C."""

    name = "interrupt"
    number, code = signal.SIGINT, INTERRUPTED


class HeadKill(Kind):
    """SIGKILL of the head's control process: the cluster is lost, and started again from nothing."""

    name = "head_restart"
    moment = Moment.ENDING

    def inject(self, scene: Scene) -> bool:
        """Whether it was there, and the command ended without it."""
        if not scene.is_running or not _kill(scene.cluster.gcs()):
            return False
        code = scene.await_end("the head's death")
        scene.cluster.stop()
        scene.cluster.start()
        return code != 0
