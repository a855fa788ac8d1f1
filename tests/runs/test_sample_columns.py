"""The columns that samples have in an export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.sample_table import SampleTable
from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.plan.slices import Slice
from eibench_ray.rows.sample import Media, MetadataValue, Sample
from eibench_ray.runs.sample_columns import find_columns

TEXTS = pa.list_(pa.string())


def write(folder: Path, samples: Sequence[Sample]) -> SampleTable:
    """The samples as they lie in a dataset's file; their pictures are a byte each."""
    with DatasetWriter(folder / "dataset", "Written") as writer:
        for sample in samples:
            writer.add(sample, [b"x"] * len(sample.media))
    return open_dataset(str(folder / "dataset")).table(Slice("", 0, 0, len(samples)))


@pytest.mark.parametrize(
    ("values", "kind", "column"),
    [
        ((True, False, None), pa.bool_(), [True, False, None]),
        ((1, 2, None), pa.int64(), [1, 2, None]),
        ((1, 2.5, None), pa.float64(), [1.0, 2.5, None]),
        ((("a", "b"), (), None), TEXTS, [["a", "b"], [], None]),
        (("a", "", None), pa.string(), ["a", "", None]),
        ((1, "a", None), pa.string(), ["1", "a", None]),
        ((True, 1, None), pa.string(), ["True", "1", None]),
        ((("a", "b"), "c", None), pa.string(), ["a\nb", "c", None]),
        ((2**70, 1, None), pa.string(), [str(2**70), "1", None]),
        ((None, None, None), pa.string(), [None, None, None]),
    ],
)
def test_metadata_have_a_type_that_holds_every_value(
    tmp_path: Path, values: tuple[MetadataValue, ...], kind: pa.DataType, column: list[object]
) -> None:
    found = write(tmp_path, [Sample(f"s{number}", metadata={"it": value}) for number, value in enumerate(values)])
    columns = find_columns([([], found.distinct_metadata[0])])
    array = columns.arrays(found)["metadata_it"]
    assert (array.type, array.to_pylist()) == (kind, column)


def test_names_cannot_clash_and_are_those_of_all_samples(tmp_path: Path) -> None:
    found = write(
        tmp_path,
        [
            Sample(
                "a", {"answer": "an input"}, (Media("1.png"), Media("2.png")), 42, {"answer": "metadata", "it": "a"}
            ),
            Sample("b", {"question": "Why?"}, target=("x", "y"), metadata={"it": "b"}),
            Sample("c", {"question": "How?"}, (Media("1.png"),)),
            Sample("d", {"answer": "an input"}, target=42, metadata={"answer": "metadata", "it": "a"}),
        ],
    )
    columns = find_columns([(one, ()) for one in found.inputs] + [((), found.distinct_metadata[0])])
    arrays = columns.arrays(found)
    assert [(field.name, field.type) for field in columns.fields] == [
        ("images", TEXTS),
        ("input_answer", pa.string()),
        ("input_question", pa.string()),
        ("target", TEXTS),
        ("metadata_answer", pa.string()),
        ("metadata_it", pa.string()),
    ]
    assert all(arrays[field.name].type == field.type for field in columns.fields)
    assert {name: column.to_pylist() for name, column in arrays.items()} == {
        "images": [["1.png", "2.png"], [], ["1.png"], []],
        "input_answer": ["an input", None, None, "an input"],
        "input_question": [None, "Why?", "How?", None],
        "target": [["42"], ["x", "y"], [], ["42"]],
        "metadata_answer": ["metadata", None, None, "metadata"],
        "metadata_it": ["a", "b", None, "a"],
    }
