"""A slice's file: its columns, and what is read of its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.rows.completion import ABSENT, ABSENT_OUTPUT, Completion, Retry, RowErrorKind
from eibench_ray.store.slice_summary import Summary, find, pack, summarise, unpack

SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("request_digest", pa.string(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("error_kind", pa.string()),
        pa.field("error", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("prompt_tokens", pa.int32(), nullable=False),
        pa.field("completion_tokens", pa.int32(), nullable=False),
        pa.field("cached_tokens", pa.int32(), nullable=False),
        pa.field("attempt", pa.int16(), nullable=False),
        pa.field("latency_s", pa.float32(), nullable=False),
        pa.field("finished_at", pa.float64(), nullable=False),
        pa.field("engine", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("input_digest", pa.string(), nullable=False),
        pa.field("output_digest", pa.string(), nullable=False),
        pa.field("cost_usd", pa.float64()),
        pa.field("mean_logprob", pa.float32()),
        pa.field("thinking", pa.string()),
        pa.field("thinking_tokens", pa.int32()),
        pa.field("likelihoods", pa.string()),
    ]
)
# Columns that files of earlier versions lack; their rows have nothing there.
LATER_COLUMNS = ("thinking", "thinking_tokens", "likelihoods")

KINDS = pa.array([kind.value for kind in RowErrorKind])
_KINDS_OR_NONE = frozenset({None, *KINDS.to_pylist()})
# What reading a damaged file raises; ValueError: texts that are no UTF-8.
DAMAGE = (OSError, ValueError, pa.ArrowException)
# A slice's footer takes some 2 KB; one with statistics, as earlier versions wrote them, 5 KB.
FOOTER_BYTES = 16_384

_FIELDS = [field.name for field in fields(Completion)]
_STATE_COLUMNS = ["sample_id", "input_digest", "output_digest", "error_kind"]


class ForeignError(Exception):
    """A file that is whole, with columns, kinds of errors or a footer that are none of this program's."""


@dataclass(frozen=True, slots=True)
class RowState:
    """State of a committed row that resuming needs."""

    input_digest: str
    output_digest: str
    error_kind: RowErrorKind | None
    is_absent: bool

    def is_asked_again(self, retry: Retry) -> bool:
        """Whether a run asks for the row again, although it is there."""
        return self.error_kind is not None and self.error_kind.is_asked_again(retry)


def encode(rows: Sequence[Completion], num_asked: int, made_from: str | None) -> pa.Buffer:
    """A slice's file; the arguments are those of `Store.write_slice`."""
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in SCHEMA}
    summary = summarise(rows, columns["output_digest"], num_asked, made_from)
    return encode_table(pa.Table.from_pydict(columns, schema=SCHEMA), summary)


def encode_table(rows: pa.Table, summary: Summary) -> pa.Buffer:
    """The same of rows as columns, which are those of `SCHEMA`."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        SCHEMA,
        compression="zstd",
        # Without checksums a flipped bit in a compressed page comes back as another answer, and nobody notices.
        write_page_checksum=True,
        # Nobody asks for these three. With them 64 rows are 14.5 KB instead of 9.5 and take 210 us to read instead of
        # 150, 256 rows 33 KB instead of 26 and 240 us instead of 175; writing takes a fifth longer.
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
    ) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata(pack(summary))
    return sink.getvalue()


def decode_rows(content: bytes) -> dict[str, Completion]:
    """The rows of a slice's file by sample id; raises what is in `DAMAGE`, or `ForeignError`."""
    table = decode_columns(content, _FIELDS)
    columns = [table[name].to_pylist() for name in _FIELDS]
    return dict(zip(columns[0], map(Completion, *columns), strict=True))


def decode_outputs(content: bytes) -> list[str]:
    """The output digests of a slice's rows, in its file's order."""
    outputs: list[str] = decode_columns(content, ["output_digest"])["output_digest"].to_pylist()
    return outputs


def decode_states(content: bytes) -> dict[str, RowState]:
    """Decodes the row states that resuming needs, from the narrow columns only."""
    return dict(_states(decode_columns(content, _STATE_COLUMNS)))


def decode_unanswered(content: bytes) -> dict[str, str]:
    """The samples without an answer, with the kind of the error or `ABSENT`; decodes no row where there are none."""
    footer = pq.read_metadata(pa.BufferReader(content))
    summary = unpack(footer.metadata)
    if summary and summary.num_rows == footer.num_rows and not summary.num_errors + summary.num_absent:
        return {}
    return {
        sample_id: ABSENT if state.error_kind is None else state.error_kind.value
        for sample_id, state in decode_states(content).items()
        if state.error_kind or state.is_absent
    }


def decode_summary(content: bytes) -> Summary:
    """Decodes the summary at the end of a slice's file; raises what is in `DAMAGE`, or `ForeignError`."""
    if summary := find(content) or unpack(pq.read_metadata(pa.BufferReader(content)).metadata):
        return summary
    raise ForeignError("its footer says nothing of its rows")


def decode_columns(content: bytes, columns: list[str]) -> pa.Table:
    """Some of the columns; raises what is in `DAMAGE`, or `ForeignError`."""
    with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True, pre_buffer=False) as file:
        table = file.read(columns, use_threads=False)
    table.validate(full=True)
    wanted = pa.schema([SCHEMA.field(name) for name in columns])
    for name in LATER_COLUMNS:
        if name in columns and name not in table.column_names:
            table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), SCHEMA.field(name).type))
    if not table.schema.equals(wanted):
        try:
            table = table.select(columns).cast(wanted)
        except (ValueError, KeyError, pa.ArrowException) as error:
            raise ForeignError(str(error)) from None
    if "error_kind" in columns and not _KINDS_OR_NONE.issuperset(kinds := table["error_kind"].unique().to_pylist()):
        raise ForeignError(f"unknown kinds of errors among {', '.join(sorted(filter(None, kinds)))}")
    return table


def _states(table: pa.Table) -> Iterator[tuple[str, RowState]]:
    columns = (table.column(name).to_pylist() for name in _STATE_COLUMNS)
    for sample_id, input_digest, output_digest, error_kind in zip(*columns, strict=True):
        kind = None if error_kind is None else RowErrorKind(error_kind)
        yield sample_id, RowState(input_digest, output_digest, kind, output_digest == ABSENT_OUTPUT)
