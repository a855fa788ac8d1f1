import io
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Sample


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("eibench_basic", "eibench-ray prepare eibench --source EIBENCH_CLONE --images PICTURES --out {parent}"),
        ("faces", "eibench-ray prepare jsonl FILE --images PICTURES --out {parent}/faces"),
    ],
)
def test_a_missing_dataset_is_named_with_the_command_that_makes_it(tmp_path: Path, name: str, remedy: str) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(str(tmp_path / name))
    message = str(caught.value)
    assert "there is no prepared dataset" in message
    assert remedy.format(parent=tmp_path) in message


def test_an_unknown_dataset_of_the_package_is_refused() -> None:
    with pytest.raises(DataError, match="package:demo"):
        open_dataset("package:other")


@pytest.mark.parametrize("damage", ["card", "rows", "parquet", "columns"])
def test_a_damaged_dataset_is_refused(tmp_path: Path, damage: str) -> None:
    with DatasetWriter(tmp_path / "d", "A test") as writer:
        writer.add(Sample("a", "why?", "happy", "1. Sun.", ("Sun.",)), None)
    card, samples = tmp_path / "d" / "dataset.json", tmp_path / "d" / "samples.parquet"
    if damage == "card":
        card.write_text("[]")
    elif damage == "rows":
        card.write_text(json.dumps(json.loads(card.read_text()) | {"rows": 2}))
    elif damage == "parquet":
        samples.write_bytes(samples.read_bytes()[:-9])
    else:
        pq.write_table(pa.table({"sample_id": ["a"]}), samples)
    with pytest.raises(DataError, match="cannot be opened"):
        open_dataset(str(tmp_path / "d"))


def test_the_demo_is_complete() -> None:
    demo = open_dataset("package:demo")
    samples = demo.samples(0, demo.num_rows)
    assert Counter(sample.emotion for sample in samples) == {"angry": 6, "happy": 6, "sadness": 6, "excitement": 6}
    assert demo.has_captions
    assert all(2 <= len(sample.triggers) <= 5 and sample.caption for sample in samples)
    assert len({sample.question for sample in samples}) == len({sample.image_digest for sample in samples}) == 24
    images = demo.images(0, demo.num_rows, demo.index().sample_ids)
    assert len(images) == 24
    for image in images.values():
        assert Image.open(io.BytesIO(image)).size == (256, 256)
    assert sum(file.stat().st_size for file in demo.path.iterdir()) < 300_000
