"""A run that loses its lease while it asks stops in order, and says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from eibench_ray.errors import EibenchError
from eibench_ray.runs.ask_cluster import _conduct
from eibench_ray.store.held_lease import hold
from eibench_ray.store.slice_store import Store


class Endless:
    """A driver that goes on until it is told to stop."""

    def __init__(self) -> None:
        self._is_over = asyncio.Event()

    def request_stop(self) -> None:
        self._is_over.set()

    def give_way(self) -> None:
        raise AssertionError("nobody preempts it")

    async def run(self) -> str:
        await asyncio.wait_for(self._is_over.wait(), 20)
        return "what was done"


def test_a_run_that_loses_its_lease_stops_in_order_and_fails(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    async def conduct() -> object:
        return await _conduct(Endless(), held_lease)  # type: ignore[arg-type]

    with hold(store, "mine", ["a"], renew_s=0.05) as held_lease:
        store.storage.remove(store.paths.lease("mine"))
        assert asyncio.run(conduct()) == "what was done"
        with pytest.raises(EibenchError, match="lost its hold on the store: its lease was removed"):
            held_lease.check()
