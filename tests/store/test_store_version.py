"""A store says of which version it is from its first step on, and one of another version is refused, not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.errors import StoreError
from eibench_ray.store.slice_store import Store
from eibench_ray.store.store_version import SCHEMA_VERSION

if TYPE_CHECKING:
    from conftest import Sweeps


def test_a_new_store_says_its_version_before_it_has_a_step(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert not (tmp_path / "store").exists()
    store.fix_slice_rows("step", 4, {})
    assert json.loads((tmp_path / "store/store.json").read_text()) == {"schema_version": SCHEMA_VERSION}
    assert Store(tmp_path / "store").slice_rows("step") == 4


def test_a_store_that_says_its_version_is_not_written_again(tmp_path: Path) -> None:
    Store(tmp_path).fix_slice_rows("step", 4, {})
    before = (tmp_path / "store.json").stat().st_mtime_ns
    Store(tmp_path).write_slice("step", 0, [])
    assert (tmp_path / "store.json").stat().st_mtime_ns == before


def test_a_store_with_steps_and_without_a_version_is_an_older_one(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    (sweeps.folder / "store/store.json").unlink()
    with pytest.raises(StoreError, match=r"an earlier version .* set store\.root to another folder"):
        sweeps.plan()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f'{{"schema_version": {SCHEMA_VERSION - 1}}}', "go on with the version that made it"),
        (f'{{"schema_version": {SCHEMA_VERSION + 1}}}', "update eibench-ray"),
        ('{"schema_version": "new"}', "schema version 'new'"),
        ("{}", "schema version None"),
        ("[]", "schema version None"),
        ("2", "schema version None"),
        ("", "store.json"),
        ("{", "store.json"),
    ],
)
def test_a_store_of_another_version_is_refused_in_a_paragraph(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(content)
    with pytest.raises(StoreError) as refused:
        Store(tmp_path)
    assert words in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_store_in_a_bucket_says_its_version(s3_root: str) -> None:
    store = Store(s3_root)
    store.fix_slice_rows("step", 4, {})
    assert Store(s3_root).slice_rows("step") == 4
    store.storage.remove(store.paths.version)
    with pytest.raises(StoreError, match="an earlier version"):
        Store(s3_root)


def test_stores_of_version_2_are_read(tmp_path: Path) -> None:
    """Whoever raises the version makes stores that people have unreadable; tests/goldens say when it must be."""
    (tmp_path / "store.json").write_text('{"schema_version": 2}')
    Store(tmp_path).fix_slice_rows("step", 4, {})
    assert json.loads((tmp_path / "steps/step/manifest.json").read_text())["schema_version"] == 2
