"""The columns that samples have in an export."""

from __future__ import annotations

import pyarrow as pa
import pytest

from eibench_ray.rows.sample import Media, MetadataValue, Sample
from eibench_ray.runs.sample_columns import find_columns

TEXTS = pa.list_(pa.string())


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
    values: tuple[MetadataValue, ...], kind: pa.DataType, column: list[object]
) -> None:
    samples = [Sample(f"s{number}", metadata={"it": value}) for number, value in enumerate(values)]
    columns = find_columns((sample.inputs, sample.metadata) for sample in samples)
    found = columns.arrays(samples)["metadata_it"]
    assert (found.type, found.to_pylist()) == (kind, column)


def test_names_cannot_clash_and_are_those_of_all_samples() -> None:
    first = Sample("a", {"answer": "an input"}, (Media("1.png"), Media("2.png")), 42, {"answer": "metadata"})
    other = Sample("b", {"question": "Why?"}, target=("x", "y"))
    columns = find_columns((sample.inputs, sample.metadata) for sample in (first, other))
    assert [field.name for field in columns.fields] == [
        "images",
        "input_answer",
        "input_question",
        "target",
        "metadata_answer",
    ]
    assert {name: column.to_pylist() for name, column in columns.arrays([first, other]).items()} == {
        "images": [["1.png", "2.png"], []],
        "input_answer": ["an input", None],
        "input_question": [None, "Why?"],
        "target": [["42"], ["x", "y"]],
        "metadata_answer": ["metadata", None],
    }
