"""The Gantt picture: lanes, areas, and files that open anywhere. What it draws is told by the account of a ledger."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.errors import DataError, StoreError
from eibench_ray.report.gantt import MAX_LANES, draw_gantt, write_gantt
from eibench_ray.schedule.gpu_accounting import account
from eibench_ray.schedule.gpu_usage import GpuUsage
from eibench_ray.schedule.replica_meter import TimeKind

ROLES = {"answer": TimeKind.GENERATING, "verdict": TimeKind.JUDGING}


def ledger(num_nodes: int, gpus: int, *, name: str = "host{}", num_slices: int = 4) -> list[dict[str, Any]]:
    """A run in which every node has one replica on all but one of its GPUs: 10 s to load, then a slice a second."""
    events: list[tuple[float, str, dict[str, Any]]] = [(0, "run_started", {})]
    for node in range(num_nodes):
        facts = {"node": f"id{node}", "name": name.format(node), "cpus": 8, "gpus": gpus}
        events.append((0, "node_joined", facts))
        facts = {"engine": "e", "model": f"model_{node}", "nodes": [f"id{node}"], "gpus": max(0, gpus - 1)}
        events.append((0, "replica_starting", {"replica": node} | facts))
        events.append((2, "replica_placed", {"replica": node}))
        events.append((10, "replica_ready", {"replica": node, "capacity": 4, "engine": "e", "model": "m"}))
        for index in range(num_slices):
            slice_ = {"replica": node, "step": ("answer", "verdict")[index % 2], "slice": index}
            events.append((10 + index, "slice_sent", slice_ | {"rows": 4}))
            events.append((10.9 + index, "slice_committed", slice_ | {"seconds": 0.9}))
    events.append((10 + num_slices, "run_ended", {}))
    events.sort(key=lambda event: event[0])
    return [{"time": 1000 + time, "event": event, **facts} for time, event, facts in events]


def texts(svg: Path) -> list[str]:
    """All words of a picture."""
    return ["".join(text.itertext()) for text in ET.parse(svg).iter("{http://www.w3.org/2000/svg}text")]


def drawn(usage: GpuUsage) -> list[dict[str, Any]]:
    """The rows behind a picture's marks, those of names left out."""
    chart: dict[str, Any] = draw_gantt(usage, "a run").to_dict()
    marks = [layer for layer in chart["layer"] if layer["mark"]["type"] != "text"]
    return [row for layer in marks for row in chart["datasets"][layer.get("data", chart.get("data"))["name"]]]


def test_svg_names_gpus_models_and_the_share_of_each_kind(tmp_path: Path) -> None:
    write_gantt(tmp_path / "new" / "run.svg", account(ledger(1, 4), ROLES), "paper (a run)")
    words = texts(tmp_path / "new" / "run.svg")
    assert {"paper (a run)", "GPU 0", "GPU 1", "GPU 2", "GPU 3", "seconds", "share of GPU time"} <= set(words)
    legend = [word.split(maxsplit=1) for word in words if "%" in word]
    assert [kind for _, kind in legend] == ["generating", "judging", "loading", "waiting", "idle", "no replica needed"]
    assert sum(float(share.rstrip("%")) for share, _ in legend) == pytest.approx(100, abs=0.5)


def test_html_carries_all_it_needs(tmp_path: Path) -> None:
    write_gantt(tmp_path / "run.html", account(ledger(1, 4), ROLES), "paper (a run)")
    page = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert "paper (a run)" in page
    assert "model_0" in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)
    assert not re.search(r"import[^;\n]{0,80}from\s+[\"']https?:", page)


def test_bars_are_what_the_account_says() -> None:
    usage = account(ledger(2, 3), ROLES)
    seconds: dict[str, float] = defaultdict(float)
    for row in drawn(usage):
        seconds[row["doing"]] += row["end"] - row["start"]
    assert seconds == pytest.approx({kind.label: value for kind, value in usage.seconds().items()})


def test_bars_too_narrow_to_see_are_drawn_together() -> None:
    usage = account(ledger(1, 2, num_slices=20_000), ROLES)
    assert len(usage.replicas[0].spans) > 20_000
    assert len(drawn(usage)) < 1000


@pytest.mark.parametrize("gpus", [3, 0], ids=["gpus", "no gpu"])
def test_more_lanes_than_an_eye_follows_become_areas_that_leave_nothing_out(gpus: int) -> None:
    num_nodes = MAX_LANES + 1
    usage = account(ledger(num_nodes, gpus), ROLES)
    rows = drawn(usage)
    assert all("lane" not in row for row in rows)
    by_kind: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_kind[row["kind"].split(maxsplit=1)[1]].append(row["level"])
    means = {kind: sum(levels[:-1]) / (len(levels) - 1) for kind, levels in by_kind.items()}
    expected = {kind.label: value / usage.duration_s for kind, value in usage.seconds().items()}
    assert means == pytest.approx(expected, abs=0.01)
    assert sum(means.values()) == pytest.approx(num_nodes * (gpus or 1), abs=0.05)


@pytest.mark.parametrize(
    ("num_nodes", "gpus", "name", "lanes"),
    [
        (1, 2, "host{}", ["GPU 0", "GPU 1"]),
        (2, 1, "host{}", ["host0 GPU 0", "host0 no GPU 0", "host1 GPU 0", "host1 no GPU 0"]),
        (2, 2, "same", ["same id0 GPU 0", "same id0 GPU 1", "same id1 GPU 0", "same id1 GPU 1"]),
        (1, 0, "host{}", ["no GPU 0"]),
    ],
)
def test_every_lane_has_a_name_of_its_own(num_nodes: int, gpus: int, name: str, lanes: list[str]) -> None:
    assert sorted({row["lane"] for row in drawn(account(ledger(num_nodes, gpus, name=name), ROLES))}) == lanes


def test_replicas_without_a_gpu_lie_beside_each_other_while_they_overlap() -> None:
    times = [(0, 1, 6), (2, 2, 4), (5, 3, 8)]
    events = [
        {"time": time, "event": event, "replica": replica, "engine": "e", "model": "m", "nodes": [], "gpus": 0}
        for start, replica, end in times
        for time, event in ((start, "replica_starting"), (end, "replica_stopped"))
    ]
    rows = drawn(account(sorted(events, key=lambda event: event["time"]), ROLES))
    assert {row["replica"]: row["lane"] for row in rows} == {1: "no GPU 0", 2: "no GPU 1", 3: "no GPU 1"}


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_a_run_without_events_is_an_empty_picture(tmp_path: Path, suffix: str) -> None:
    write_gantt(tmp_path / f"run{suffix}", account([], ROLES), "a run that asked nothing")
    assert "a run that asked nothing" in (tmp_path / f"run{suffix}").read_text(encoding="utf-8")


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run\.png: a Gantt picture is written as \.html or \.svg"):
        write_gantt(tmp_path / "run.png", account([], ROLES), "a run")


def test_a_file_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        write_gantt(tmp_path / "file" / "run.svg", account([], ROLES), "a run")
