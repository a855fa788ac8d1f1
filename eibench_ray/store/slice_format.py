"""A slice's file: its columns, and what is read of its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eibench_ray.endings import Ending, ending_of
from eibench_ray.records import ABSENT_OUTPUT, Completion, Retry, RowErrorKind, digest_output
from eibench_ray.store.summary import Summary, find, pack, summarise, unpack

# Columns that join at the end and may be null need no other SCHEMA_VERSION: a slice without them is read as having
# nulls.
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
    ]
)

KINDS = pa.array([kind.value for kind in RowErrorKind])
# What reading a damaged file raises; ValueError: texts that are no UTF-8.
DAMAGE = (OSError, ValueError, pa.ArrowException)
# A slice's footer takes some 5 KB.
FOOTER_BYTES = 16_384

_FIELDS = [field.name for field in fields(Completion)]
_STATE_COLUMNS = ["sample_id", "input_digest", "output_digest", "error_kind", "finish_reason"]
# What later steps read of a row that a failure ended, whatever an older version stored.
_FAILED_OUTPUT = digest_output(RowErrorKind.ENGINE.value, None)


class ForeignError(Exception):
    """A file that is whole, with columns or kinds of errors that are none of this program's."""


@dataclass(frozen=True, slots=True)
class RowState:
    """What resuming needs to know of a committed row."""

    input_digest: str
    output_digest: str
    error_kind: RowErrorKind | None
    is_absent: bool
    is_doubtful: bool = False

    def is_asked_again(self, retry: Retry) -> bool:
        """Whether a run asks for the row again, although it is there."""
        if self.error_kind is None:
            return retry == "doubtful" and self.is_doubtful
        return self.error_kind.is_asked_again(retry)


def encode(rows: Sequence[Completion], num_asked: int, made_from: str | None) -> pa.Buffer:
    """A slice's file; the arguments are those of `Store.write_slice`."""
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in SCHEMA}
    summary = summarise(rows, columns["output_digest"], num_asked, made_from)
    table = pa.Table.from_pydict(columns, schema=SCHEMA.with_metadata(pack(summary)))
    sink = pa.BufferOutputStream()
    # Without checksums a flipped bit in a compressed page comes back as another answer, and nobody notices.
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def decode_rows(content: bytes) -> dict[str, Completion]:
    """The rows of a slice's file by sample id; raises what is in `DAMAGE`, or `ForeignError`.

    What an older version took for an answer although a failure ended it is read as the error that it is.
    """
    table = decode_columns(content, _FIELDS)
    columns = [table[name].to_pylist() for name in _FIELDS]
    rows = dict(zip(columns[0], map(Completion, *columns), strict=True))
    if has_failed(set(columns[_FIELDS.index("finish_reason")])):
        return {sample_id: row.as_it_ended() for sample_id, row in rows.items()}
    return rows


def has_failed(finish_reasons: Iterable[str | None]) -> bool:
    """Whether a failure ended one of the replies."""
    return any(word is not None and ending_of(word) is Ending.FAILED for word in finish_reasons)


def decode_outputs(content: bytes) -> list[str]:
    """The output digests of a slice's rows, in its file's order."""
    return [state.output_digest for _, state in _states(decode_columns(content, _STATE_COLUMNS))]


def are_endings_known(content: bytes) -> bool:
    """Whether each answer of a slice's file ended as one, as far as its words tell."""
    columns = decode_columns(content, ["finish_reason", "error_kind", "output_digest"])
    words = {
        word
        for word, kind, said in zip(*(column.to_pylist() for column in columns.columns), strict=True)
        if kind is None and said != ABSENT_OUTPUT
    }
    return all(ending_of(word).is_answer for word in words)


def decode_states(content: bytes) -> dict[str, RowState]:
    """What resuming needs of them; decodes the narrow columns only."""
    return dict(_states(decode_columns(content, _STATE_COLUMNS)))


def decode_summary(content: bytes) -> Summary | None:
    """What a slice says of itself at the end of its file; None where it says nothing."""
    return find(content) or unpack(pq.read_metadata(pa.BufferReader(content)).metadata)


def decode_columns(content: bytes, columns: list[str]) -> pa.Table:
    """Some of the columns; those that the file does not have yet are null."""
    with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
        table = _with_nulls(file.read(columns, use_threads=False), columns)
    table.validate(full=True)
    wanted = pa.schema([SCHEMA.field(name) for name in columns])
    if not table.schema.equals(wanted):
        try:
            table = table.select(columns).cast(wanted)
        except (ValueError, KeyError, pa.ArrowException) as error:
            raise ForeignError(str(error)) from None
    if (
        "error_kind" in columns
        and not pc.all(pc.is_in(kinds := table["error_kind"].drop_null(), KINDS), min_count=0).as_py()
    ):
        raise ForeignError(f"unknown kinds of errors among {', '.join(sorted(set(kinds.to_pylist())))}")
    return table


def _with_nulls(table: pa.Table, columns: Iterable[str]) -> pa.Table:
    """The table with all of the columns; what its file does not have yet is null."""
    for name in columns:
        if name not in table.column_names:
            table = table.append_column(
                SCHEMA.field(name).with_nullable(True), pa.nulls(len(table), SCHEMA.field(name).type)
            )
    return table


def _states(table: pa.Table) -> Iterator[tuple[str, RowState]]:
    columns = (table.column(name).to_pylist() for name in _STATE_COLUMNS)
    endings: dict[str | None, Ending] = {}  # a slice has few words
    for sample_id, input_digest, output_digest, error_kind, word in zip(*columns, strict=True):
        kind = None if error_kind is None else RowErrorKind(error_kind)
        is_absent = output_digest == ABSENT_OUTPUT
        if kind is not None or is_absent:
            yield sample_id, RowState(input_digest, output_digest, kind, is_absent)
            continue
        if (ending := endings.get(word)) is None:
            ending = endings[word] = ending_of(word)
        if ending is Ending.FAILED:
            yield sample_id, RowState(input_digest, _FAILED_OUTPUT, RowErrorKind.ENGINE, is_absent=False)
        else:
            is_doubtful = ending is Ending.UNKNOWN
            yield sample_id, RowState(input_digest, output_digest, None, is_absent=False, is_doubtful=is_doubtful)
