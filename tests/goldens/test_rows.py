"""The digests by which a store knows what a row was asked and made from, and what a slice's bytes mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.request import Request
from eibench_ray.store.slice_format import SCHEMA, decode_rows, decode_summary, encode

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.config.schema import RunConfig

SLICE = Path(__file__).parent / "slice.parquet"
REPEATED = {"sampling": {"temperature": 0.5, "max_tokens": 9, "stop": ["END"]}, "repeats": 2}
# Setting, judge, and what else is said of the judge.
CELLS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "official": ("plain", "official", {}),
    "strict": ("noted", "strict", {}),
    "fan_out": ("asking", "strict", {}),
    "count_repeated": ("plain", "strict", {"verdict": "count", **REPEATED}),
}
ROWS = (
    Completion(
        "s000",
        "0f" * 16,
        "An answer.",
        None,
        None,
        "stop",
        5,
        2,
        1,
        1,
        0.5,
        1e9,
        "vllm 0.32",
        "run1",
        "ab" * 8,
        0.25,
        -0.5,
    ),
    Completion(
        "s001", "1f" * 16, "Cut off", None, None, "length", 5, 64, 0, 2, 1.5, 1e9 + 1, "vllm 0.32", "run1", "bb" * 8
    ),
    Completion(
        "s002", "2f" * 16, None, "timeout", "no reply within 30 s", None, 0, 0, 0, 3, 30.0, 1e9 + 2, "vllm 0.32", "run2"
    ),
    Completion("s003", "", None, None, None, "absent", 0, 0, 0, 0, 0.0, 1e9 + 3, "", "run2", "db" * 8),
    Completion(
        "s004\u2028ö",
        "4f" * 16,
        "",
        None,
        None,
        "content_filter",
        7,
        0,
        0,
        1,
        0.25,
        1e9 + 4,
        "openai",
        "run2",
        "eb" * 8,
        1e-9,
    ),
)


def answer(request: Request) -> str:
    """A reply that tells requests apart, with two lines to go on from."""
    return f"1. {request.sample_id} {len(request.user)}?\n2. {request.seed}?"


def config(sweeps: Sweeps, name: str) -> RunConfig:
    """A cell on the demo dataset."""
    setting, judge, changes = CELLS[name]
    known = sweeps.config(setting, judge)
    sections = {
        "dataset": {"name": "demo", "path": "package:demo", "limit": 3},
        "judge": known.judge.model_dump() | changes,
    }
    return known.model_validate(known.model_dump() | sections)


@pytest.mark.parametrize("name", CELLS)
def test_rows_of_every_kind_of_step_have_the_same_digests(
    name: str, sweeps: Sweeps, scripted: type[Scripted], golden: Callable[[str, Any], None]
) -> None:
    sweep = sweeps.plan(config(sweeps, name))
    sweeps.ask(sweep, scripted(answer))
    found = {}
    for step in sweep.plan.steps.values():
        rows = [
            row for index in sweep.store.list_slices(step.id) for row in sweep.store.read_slice(step.id, index).values()
        ]
        found[f"{step.name} {step.id}"] = {
            row.sample_id: [row.request_digest, row.input_digest, row.output_digest] for row in rows
        }
    golden(f"rows_{name}", found)


def test_rows_of_the_demo_dataset_have_the_same_digests(golden: Callable[[str, Any], None]) -> None:
    index = open_dataset("package:demo").index()
    golden("rows_dataset", dict(zip(index.sample_ids, index.row_digests_of(0, len(index.sample_ids)), strict=True)))


def test_a_slice_that_was_written_once_is_read_as_what_it_was(
    request: pytest.FixtureRequest, golden: Callable[[str, Any], None]
) -> None:
    if request.config.getoption("--write-goldens"):
        SLICE.write_bytes(encode(ROWS, 4, "cd" * 8))
    rows, summary = decode_rows(SLICE.read_bytes()), decode_summary(SLICE.read_bytes())
    assert list(rows.values()) == list(ROWS)
    columns = str(SCHEMA).splitlines()
    golden("slice", {"rows": [asdict(row) for row in rows.values()], "schema": columns, "summary": asdict(summary)})


def test_what_is_written_today_has_the_bytes_of_then() -> None:
    written = bytes(encode(ROWS, 4, "cd" * 8))
    assert decode_rows(written) == decode_rows(SLICE.read_bytes())
