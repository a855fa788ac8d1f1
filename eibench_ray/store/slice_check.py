"""Checks the content of one slice's file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eibench_ray.rows.completion import ABSENT, ABSENT_OUTPUT, digest_output
from eibench_ray.rows.endings import ending_of
from eibench_ray.store.slice_format import DAMAGE, KINDS, LATER_COLUMNS, SCHEMA
from eibench_ray.store.slice_summary import digest_column, unpack


@dataclass(frozen=True, slots=True)
class CheckedSlice:
    """Contents of a slice's file, and what is wrong with it."""

    num_rows: int
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_unreadable: bool = False  # whether its rows cannot be read at all
    remedy: str = "another program wrote it: restore it, or move it away, and its rows are asked again"


def check_slice(content: bytes, slice_rows: int) -> CheckedSlice:
    """Checks a slice's file."""
    try:
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True, pre_buffer=False) as file:
            # As it is in the file, and not as an encoding of Arrow's might call it.
            table, metadata = file.read(use_threads=False), file.metadata.metadata
        table.validate(full=True)
    except DAMAGE as error:
        return CheckedSlice(0, (f"cannot be read ({' '.join(str(error).split())})",), is_unreadable=True)
    if problems := _check_schema(table.schema):
        return CheckedSlice(len(table), tuple(problems))
    problems = [*_check_rows(table), *_check_summary(table, metadata)]
    num_extra = len(table) - slice_rows
    note = f"{num_extra} rows of samples that have left this slice: its dataset lost or gained rows"
    notes = (note,) if num_extra > 0 else ()
    return CheckedSlice(len(table), tuple(problems), notes)


def _check_schema(schema: pa.Schema) -> list[str]:
    """Columns that are missing, of another type, or unknown."""
    problems = []
    for wanted in SCHEMA:
        place = schema.get_field_index(wanted.name)
        if place < 0:
            problems += [f"has no column {wanted.name}"] if wanted.name not in LATER_COLUMNS else []
        elif schema.field(place).type != wanted.type:
            problems.append(f"column {wanted.name} is {schema.field(place).type}, not {wanted.type}")
    problems += [f"has an unknown column {name}" for name in schema.names if name not in SCHEMA.names]
    return problems


def _check_rows(table: pa.Table) -> list[str]:
    problems = []
    if nulls := [field.name for field in SCHEMA if not field.nullable and table[field.name].null_count]:
        return [f"rows without {', '.join(nulls)}"]
    if (num_twice := len(table) - pc.count_distinct(table["sample_id"]).as_py()) > 0:
        problems.append(f"{num_twice} rows of samples that have another row")
    kinds = table["error_kind"]
    if unknown := pc.unique(kinds.filter(pc.invert(pc.is_in(kinds, KINDS))).drop_null()).to_pylist():
        problems.append(f"unknown kinds of errors: {', '.join(unknown)}")
    is_answer = pc.is_valid(table["text"])
    is_absent = pc.fill_null(pc.equal(table["finish_reason"], ABSENT), False)
    said = [column.cast(pa.int8()) for column in (is_answer, pc.is_valid(kinds), is_absent)]
    # A slice that was interrupted before its first row has none; the sum of nothing would be null.
    if num_other := len(table) - pc.sum(pc.equal(reduce(pc.add, said), 1), min_count=0).as_py():
        problems.append(f"{num_other} rows that are not one of an answer, an error, and absent")
    if num_bare := pc.sum(pc.and_(is_answer, pc.equal(table["request_digest"], ""))).as_py():
        problems.append(f"{num_bare} answers without the digest of their request")
    requests = table["request_digest"].filter(is_answer)
    if num_equal := len(requests) - pc.count_distinct(requests).as_py():
        problems.append(f"{num_equal} answers with the request digest of another row")
    rows = zip(kinds.to_pylist(), table["text"].to_pylist(), table["output_digest"].to_pylist(), strict=True)
    if num_other := sum(digest_output(kind, text) != said for kind, text, said in rows):
        problems.append(f"{num_other} rows whose text is not what its digest says")
    words = [word for word in table["finish_reason"].filter(is_answer).to_pylist() if not ending_of(word).is_answer]
    if words:
        problems.append(f"{len(words)} answers that ended with {', '.join(sorted({str(word) for word in words}))}")
    return problems


def _check_summary(table: pa.Table, metadata: dict[bytes, bytes] | None) -> list[str]:
    """Differences between the footer and the rows."""
    summary = unpack(metadata)
    if summary is None:
        return ["its footer says nothing of its rows"]
    if summary.made_from is None:
        return []
    asked = table.slice(0, summary.num_rows)
    kinds, outputs = asked["error_kind"], asked["output_digest"].to_pylist()
    said = (summary.outputs, summary.num_errors, summary.num_absent)
    is_theirs = said == (digest_column(outputs), len(kinds) - kinds.null_count, outputs.count(ABSENT_OUTPUT))
    return [] if is_theirs else ["its summary is of other rows"]
