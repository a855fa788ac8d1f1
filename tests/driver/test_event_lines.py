"""Events of a ledger in words: what changes is told, by the names that people know."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.driver import run_events
from eibench_ray.driver.event_lines import Narrator

if TYPE_CHECKING:
    from conftest import Sweeps

# Told by the minute's line, or of interest to programs alone.
SILENT = {
    "run_started", "replica_placed", "slice_sent", "slice_committed", "slice_interrupted", "slice_probed",
    "slice_returned", "run_ended",
}  # fmt: skip


@pytest.fixture
def narrator(sweeps: Sweeps) -> tuple[Narrator, dict[str, Any]]:
    sweeps.write_dataset()
    plan = sweeps.plan().plan
    step = next(step for step in plan.steps.values() if step.name == "answer")
    return Narrator(plan), {"engine": step.engine, "step": step.id, "replica": 3, "model": "echo"}


def test_a_line_names_models_nodes_and_steps(narrator: tuple[Narrator, dict[str, Any]]) -> None:
    told, common = narrator

    def line(event: str, **fields: Any) -> tuple[int, str]:
        found = told.describe(event, common | fields)
        assert found is not None
        return found.level, found.text

    info, warning = logging.INFO, logging.WARNING
    assert line("node_joined", node="f00", name="n1", cpus=8.0, gpus=2.0) == (
        info,
        "node n1 has joined: 2 GPUs, 8 cores",
    )
    assert line("replica_starting", nodes=["f00"], gpus=1) == (info, "replica 3 of echo starts on n1")
    assert line("replica_ready", node="10.0.0.2", load_s=35.04, capacity=36, fingerprint="x") == (
        info,
        "replica 3 of echo is ready after 35.0 s on 10.0.0.2 (asks for up to 36 rows at once)",
    )
    assert line("replica_lost", reason="its node is gone") == (warning, "replica 3 of echo is lost: its node is gone")
    assert line("node_left", node="f00") == (warning, "node n1 has left")
    assert line("engine_failed", reason="no weights") == (warning, "echo is given up: no weights")
    assert line("row_quarantined", sample="s1", slice=0) == (
        warning,
        "sample s1 of answer by echo (plain) kills its engine: it is quarantined",
    )
    assert line("interrupted", reason="walltime")[1].startswith("the walltime is nearly over: ")


def test_every_event_is_told_or_left_out_on_purpose(narrator: tuple[Narrator, dict[str, Any]]) -> None:
    told, common = narrator
    documented = set(re.findall(r"^    ([a-z_]+) {2,}", run_events.__doc__ or "", re.MULTILINE))
    assert "replica_log" in documented
    texts = dict.fromkeys(("node", "name", "reason", "what", "did", "sample", "path"), "x")
    numbers = dict.fromkeys(("cpus", "gpus", "load_s", "capacity", "waited_s"), 1)
    values = {**texts, **numbers, "nodes": []}
    assert {event for event in documented if told.describe(event, common | values) is None} == SILENT
