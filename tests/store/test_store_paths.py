"""The layout of a store, which earlier versions, other programs and people rely on."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from eibench_ray.store.store_paths import StorePaths, slice_index

ROOT = PurePosixPath("bucket/prefix")


def test_every_file_has_its_place() -> None:
    paths = StorePaths(ROOT)
    places = (
        paths.version,
        paths.manifest("s1"),
        paths.slice("s1", 123),
        paths.slice("s1", 1_234_567),
        paths.run("r1"),
        paths.state("r1"),
        paths.lease("r1"),
        paths.tracked("c1"),
        paths.batches("e1"),
        paths.damaged("s1", "slice-000123.parquet"),
    )
    assert [str(place.relative_to(ROOT)) for place in places] == [
        "store.json",
        "steps/s1/manifest.json",
        "steps/s1/slice-000123.parquet",
        "steps/s1/slice-1234567.parquet",
        "runs/r1.json",
        "states/r1.json",
        "leases/r1.json",
        "tracked/c1.json",
        "batches/e1",
        "damaged/s1/slice-000123.parquet",
    ]
    folders = (paths.steps, paths.runs, paths.states, paths.leases, paths.step("s1"))
    assert [str(folder.relative_to(ROOT)) for folder in folders] == ["steps", "runs", "states", "leases", "steps/s1"]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("slice-000000.parquet", 0),
        ("slice-000123.parquet", 123),
        ("slice-1234567.parquet", 1_234_567),
        ("slice-12345.parquet", None),
        ("slice-000123.parquet.tmp", None),
        (".slice-000123.parquet", None),
        ("manifest.json", None),
    ],
)
def test_a_slices_number_is_in_its_name(name: str, index: int | None) -> None:
    assert slice_index(name) == index
