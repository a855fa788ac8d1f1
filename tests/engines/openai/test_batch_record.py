"""The records of what was sent: what a run finds of an earlier one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eibench_ray.engines.openai.batch_record import KEPT_S, BatchFolder
from eibench_ray.errors import StoreError


def test_what_may_have_been_sent_is_found_again_oldest_first(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path / "engine")
    assert folder.load(0.0) == []
    late = replace(folder.new(("a", "b")), file_id="file-2", batch_id="batch-2", created_at=20.0)
    early = replace(folder.new(("c",)), file_id="file-1", created_at=10.0)
    for record in (late, early):
        folder.write(record)
    assert BatchFolder(tmp_path / "engine").load(30.0) == [early, late]


def test_an_intent_is_dropped_as_nothing_of_it_can_have_been_executed(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path)
    record = folder.new(("a",))
    assert [path.name for path in tmp_path.iterdir()] == [f"{record.name}.json"]
    assert folder.load(record.created_at) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("age_s", "num_left"), [(KEPT_S - 1, 1), (KEPT_S + 1, 0)])
def test_a_record_goes_when_the_provider_has_forgotten_the_batch(tmp_path: Path, age_s: float, num_left: int) -> None:
    folder = BatchFolder(tmp_path)
    record = replace(folder.new(("a",)), file_id="file", batch_id="batch")
    folder.write(record)
    assert len(folder.load(record.created_at + age_s)) == num_left
    assert len(list(tmp_path.iterdir())) == num_left


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "is not JSON"), ("[]", "is no record of a batch"), ('{"name": 1}', "is no record of")]
)
def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "some.json").write_text(text)
    with pytest.raises(StoreError, match=rf"some\.json {reason}"):
        BatchFolder(tmp_path).load(0.0)
