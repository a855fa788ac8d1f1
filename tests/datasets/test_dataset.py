import io
import json
import re
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


def test_a_missing_dataset_is_named_with_the_commands_that_make_it(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(str(tmp_path / "faces"))
    message = str(caught.value)
    assert "there is no prepared dataset" in message
    assert f"eibench-ray prepare jsonl FILE --images PICTURES --out {tmp_path}/faces" in message
    assert "eibench-ray prepare --help" in message


@pytest.mark.parametrize(("path", "parent"), [("nowhere/faces", "nowhere"), ("no_faces", ".")])
def test_a_missing_dataset_is_named_with_its_own_command_where_it_has_one(path: str, parent: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"prepare it with `draw --out {parent}`")):
        open_dataset(path, "draw --out {parent}")


def test_an_unknown_dataset_of_the_package_is_refused() -> None:
    with pytest.raises(DataError, match="package:demo"):
        open_dataset("package:other")


@pytest.mark.parametrize("damage", ["card", "rows", "parquet", "columns", "inputs"])
def test_a_damaged_dataset_is_refused(tmp_path: Path, damage: str) -> None:
    with DatasetWriter(tmp_path / "d", "A test") as writer:
        writer.add(Sample("a", {"question": "why?"}, target="Sun."))
    card, samples = tmp_path / "d" / "dataset.json", tmp_path / "d" / "samples.parquet"
    if damage == "card":
        card.write_text("[]")
    elif damage == "rows":
        card.write_text(json.dumps(json.loads(card.read_text()) | {"rows": 2}))
    elif damage == "parquet":
        samples.write_bytes(samples.read_bytes()[:-9])
    elif damage == "inputs":
        card.write_text(json.dumps(json.loads(card.read_text()) | {"inputs": ["question"]}))
    else:
        pq.write_table(pa.table({"sample_id": ["a"]}), samples)
    with pytest.raises(DataError, match="cannot be opened"):
        open_dataset(str(tmp_path / "d"))


@pytest.mark.parametrize("damage", ["no JSON", '"a text"', "{", "{}, {}"])
def test_a_sample_that_is_damaged_is_told(tmp_path: Path, damage: str) -> None:
    with DatasetWriter(tmp_path / "d", "A test") as writer:
        writer.add(Sample("a", {"question": "why?"}, target="Sun."))
    samples = tmp_path / "d" / "samples.parquet"
    table = pq.read_table(samples)
    place = table.schema.get_field_index("metadata")
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array([damage])), samples)
    with pytest.raises(DataError, match=r"is damaged \(.*prepare the dataset again"):
        open_dataset(str(tmp_path / "d")).samples(0, 1)


def test_a_dataset_of_another_layout_is_refused_with_the_command_that_prepares_it(tmp_path: Path) -> None:
    """The first layout's card had no version."""
    with DatasetWriter(tmp_path / "own", "A test") as writer:
        writer.add(Sample("a", {"question": "why?"}, target="Sun."))
    card = tmp_path / "own" / "dataset.json"
    card.write_text('{"name": "own", "rows": 1, "with_captions": 0, "without_captions": 1, "sources": {"": 1}}')
    with pytest.raises(
        DataError, match="another version prepared it, in layout 1, and this one reads layout 2"
    ) as caught:
        open_dataset(str(tmp_path / "own"))
    assert "eibench-ray prepare jsonl FILE" in str(caught.value)
    with DatasetWriter(tmp_path / "own", "Again") as writer:
        writer.add(Sample("a", {"question": "why?"}, target="Sun."))
    assert open_dataset(str(tmp_path / "own")).num_rows == 1


def test_the_demo_is_complete() -> None:
    demo = open_dataset("package:demo")
    samples = demo.samples(0, demo.num_rows)
    assert Counter(sample.metadata["emotion"] for sample in samples) == {
        "angry": 6,
        "happy": 6,
        "sadness": 6,
        "excitement": 6,
    }
    assert demo.inputs == {"question": 24, "caption": 24}
    assert all(2 <= len(sample.targets) <= 5 and sample.inputs["caption"] for sample in samples)
    assert len({sample.inputs["question"] for sample in samples}) == len({sample.media for sample in samples}) == 24
    images = demo.images(0, demo.num_rows, demo.index().sample_ids)
    assert len(images) == 24
    for (image,) in images.values():
        assert Image.open(io.BytesIO(image)).size == (256, 256)
    assert sum(file.stat().st_size for file in demo.path.iterdir()) < 300_000
