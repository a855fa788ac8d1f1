"""An actor that does not start in time: the message names what it was waiting for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver import actor_handle
from eibench_ray.driver.actor_handle import ActorHandle
from eibench_ray.engines.echo import EchoSection
from eibench_ray.engines.registry import engine_spec
from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.schedule.resources import Need, Resources


class Remote:
    """A method of an actor."""

    def __init__(self, run: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._run = run

    def remote(self) -> Coroutine[Any, Any, Any]:
        return self._run()


class Actor:
    """One that starts for ever, and says what it is doing or says nothing."""

    def __init__(self, doing: str | None) -> None:
        self.start = Remote(lambda: asyncio.sleep(3600))
        self.doing = Remote(lambda: asyncio.sleep(3600) if doing is None else asyncio.sleep(0, doing))


class Placed:
    """A placement on this machine."""

    nodes = ()
    need = Need((Resources(1, 0),))

    def options(self) -> dict[str, Any]:
        return {}

    async def find_gpus(self) -> dict[str, tuple[str, ...]]:
        return {}


class Slow(ActorHandle[Any]):
    """A handle of such an actor."""

    said: str | None = None

    def create(self, spec: EngineSpec, options: dict[str, Any]) -> Actor:  # noqa: ARG002
        return Actor(self.said)


@pytest.mark.parametrize(
    ("doing", "message"),
    [
        ("", "the engine did not load within 0.05 s: raise cluster.start_timeout_s, or choose a smaller model"),
        (None, "the engine did not load within 0.05 s: raise cluster.start_timeout_s, or choose a smaller model"),
        (
            "fetching the weights of me/eye@main (1.2 GB are here)",
            "it did not start within 0.05 s, fetching the weights of me/eye@main (1.2 GB are here): "
            "`eibench-ray prefetch` fetches before a run, or raise cluster.start_timeout_s",
        ),
    ],
)
def test_a_start_that_takes_too_long_says_why(monkeypatch: pytest.MonkeyPatch, doing: str | None, message: str) -> None:
    monkeypatch.setattr(actor_handle, "DOING_TIMEOUT_S", 0.05)
    spec = engine_spec("k", "eye", EchoSection(kind="echo"), "cpu", None, 0, Expectation())
    slow = Slow(1, spec, ClusterConfig(name="local", start_timeout_s=0.05), Placed(), "mark")  # type: ignore[arg-type]
    Slow.said = doing
    with pytest.raises(EngineError) as caught:
        asyncio.run(slow.start())
    assert str(caught.value) == message
