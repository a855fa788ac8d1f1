"""The rows of two stores, compared: which are lost, which are there twice, which say something else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

KEY = ["step", "sample_id"]
# What a greedy run says again; times, attempts, the run's id and what was in a cache are its own.
SAID = [
    "text",
    "error_kind",
    "finish_reason",
    "request_digest",
    "input_digest",
    "prompt_tokens",
    "completion_tokens",
    "engine",
]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences between the rows of a store and those that it should have.

    Attributes:
        num_rows: that it should have.
        num_lost: samples of a step without a row.
        num_duplicated: rows beyond one per sample of a step.
        num_different: rows that say something else.
        num_strange: samples or steps that should not be there.
        examples: some of them, in words.
    """

    num_rows: int
    num_lost: int
    num_duplicated: int
    num_different: int
    num_strange: int
    examples: tuple[str, ...]


def read_rows(store: Path, samples: int | None = None) -> pl.DataFrame:
    """All rows of a store's slices, with their `step`.

    Args:
        store: its root, a folder.
        samples: only the first so many of the dataset's, by number.
    """
    files = sorted((store / "steps").glob("*/slice-*.parquet"))
    if not files:
        return pl.DataFrame(schema=dict.fromkeys([*KEY, *SAID, "attempt"], pl.String))
    rows = (
        pl.scan_parquet(files, include_file_paths="file")
        .select("sample_id", *SAID, "attempt", "file")
        .with_columns(step=pl.col("file").str.extract(r"/steps/([^/]+)/"))
        .drop("file")
    )
    if samples is not None:
        rows = rows.filter(pl.col("sample_id").str.extract(r"(\d+)$").cast(pl.Int64) < samples)
    return rows.collect()


def compare_rows(expected: pl.DataFrame, found: pl.DataFrame, num_examples: int = 5) -> Comparison:
    """Differences of `found` from `expected`, which has one row per step and sample."""
    unique = found.unique(KEY, maintain_order=True)
    lost = expected.join(unique, on=KEY, how="anti")
    strange = unique.join(expected, on=KEY, how="anti")
    twice = found.group_by(KEY).len().filter(pl.col("len") > 1)
    # Of a row that is there twice, each one is compared.
    both = found.join(expected, on=KEY, how="inner", suffix="_expected")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_expected")) for name in SAID)
    different = both.filter(differs)
    examples = [
        *_name("lost", lost, num_examples),
        *_name("twice", twice, num_examples),
        *_name("nobody asked for", strange, num_examples),
        *(_describe(row) for row in different.sort(KEY).head(num_examples).to_dicts()),
    ]
    return Comparison(
        expected.height, lost.height, found.height - unique.height, different.height, strange.height, tuple(examples)
    )


def compare_scores(expected: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Differences between two leaderboards, in words."""
    if len(expected) != len(found):
        return [f"{len(found)} lines instead of {len(expected)}"]
    return [
        f"{_name_cell(before)}: {name} is {json.dumps(now.get(name))} instead of {json.dumps(value)}"
        for before, now in zip(expected, found, strict=True)
        for name, value in before.items()
        if now.get(name) != value
    ]


def _name_cell(line: Mapping[str, Any]) -> str:
    return f"{line['model']}/{line['setting']}/{line['judge']}"


def _name(what: str, rows: pl.DataFrame, most: int) -> list[str]:
    return [f"{what}: {row['sample_id']} of step {row['step']}" for row in rows.sort(KEY).head(most).to_dicts()]


def _describe(row: Mapping[str, Any]) -> str:
    changes = [
        f"{name} is {row[name]!r} instead of {row[f'{name}_expected']!r}"
        for name in SAID
        if row[name] != row[f"{name}_expected"]
    ]
    return f"different: {row['sample_id']} of step {row['step']}: {'; '.join(changes)}"
