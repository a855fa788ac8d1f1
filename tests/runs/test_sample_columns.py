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
    columns = find_columns(samples)
    schema = pa.schema(columns.fields)
    assert schema.field("metadata_it").type == kind
    table = pa.Table.from_pylist([columns.row(sample) for sample in samples], schema=schema)
    assert table["metadata_it"].to_pylist() == column


def test_names_cannot_clash_and_are_those_of_all_samples() -> None:
    first = Sample("a", {"answer": "an input"}, (Media("1.png"), Media("2.png")), 42, {"answer": "metadata"})
    other = Sample("b", {"question": "Why?"}, target=("x", "y"))
    columns = find_columns([first, other])
    assert [field.name for field in columns.fields] == [
        "images",
        "input_answer",
        "input_question",
        "target",
        "metadata_answer",
    ]
    assert columns.row(first) == {
        "images": ["1.png", "2.png"],
        "input_answer": "an input",
        "input_question": None,
        "target": ["42"],
        "metadata_answer": "metadata",
    }
    assert (columns.row(other)["target"], columns.row(other)["metadata_answer"]) == (["x", "y"], None)
