"""The one writer of datasets: rows stream in, a whole dataset appears, or nothing does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray import __version__
from eibench_ray.datasets.control_marks import ControlMarks
from eibench_ray.datasets.destination import open_destination
from eibench_ray.datasets.layout import (
    CARD_FILE,
    PROTOCOL_FILE,
    ROW_GROUP_BYTES,
    ROW_GROUP_PICTURES,
    ROW_GROUP_ROWS,
    SCHEMA,
    digest_bytes,
    digest_sample,
)
from eibench_ray.datasets.prompts_file import PromptSet, dump_protocol
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Sample

_COPIED_FIELDS = tuple(field.name for field in fields(Sample) if field.name != "image_path")

OnRow = Callable[[int, int | None], None]  # rows done, rows in all if known


def ignore_rows(done: int, total: int | None) -> None:
    """Nothing: for a caller that shows no progress."""
    del done, total


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """Contents of a dataset's `dataset.json`.

    Attributes:
        sources: samples per source.
        left_out: samples of the source that have no row, because their picture was not found.
        version: the project's version that prepared it.
        protocol: "official" where `protocol.yaml` lies beside it, else "own".
        samples: the file beside it that holds the rows.
    """

    name: str
    title: str
    rows: int
    with_captions: int
    without_captions: int
    sources: dict[str, int]
    left_out: int
    version: str
    protocol: str
    samples: str


@dataclass(frozen=True, slots=True)
class PreparedReport:
    """Result of a preparation: the datasets' paths with their cards, and notes for the user."""

    datasets: tuple[tuple[str, DatasetCard], ...]
    notes: tuple[str, ...] = ()


class DatasetWriter:
    """Writes a dataset, which appears at the end of the `with` block; an error leaves nothing.

    A prepared dataset that is already there is replaced; anything else that is there is an error.

    Args:
        out: a folder, or a URI (s3://, gs://).
        title: what it is, in a few words.
        protocol: the official wordings that travel with it.

    Attributes:
        left_out: samples that the caller leaves out, for the dataset's card.
    """

    def __init__(self, out: str | Path, title: str, protocol: PromptSet | None = None) -> None:
        self.left_out = 0
        self._out = open_destination(out)
        self._title = title
        self._protocol = protocol
        self._ids: set[str] = set()
        self._sources: Counter[str] = Counter()
        self._marks = ControlMarks()
        self._with_captions = 0
        self._pending: list[dict[str, Any]] = []
        self._num_pictures = self._num_bytes = 0
        self._file: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        self._out.begin()
        self._file = pq.ParquetWriter(self._out.partial / self._out.samples_file, SCHEMA, compression="zstd")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._close()
            self._out.end()

    def add(self, sample: Sample, image: bytes | None) -> None:
        """Appends a row; the sample's picture digest is computed here.

        Raises:
            DataError: a row with the same id was added before.
        """
        if sample.sample_id in self._ids:
            raise DataError(f"two samples of {self._title} have the id {sample.sample_id!r}: ids must be unique")
        self._ids.add(sample.sample_id)
        self._marks.watch(sample)
        self._sources[sample.source] += 1
        self._with_captions += sample.caption is not None
        digest = digest_bytes(image) if image is not None else None
        if digest != sample.image_digest:
            sample = replace(sample, image_digest=digest)
        self._pending.append(_to_row(sample, image))
        self._num_pictures += image is not None
        self._num_bytes += len(image or b"")
        is_full = self._num_pictures == ROW_GROUP_PICTURES or len(self._pending) == ROW_GROUP_ROWS
        if is_full or self._num_bytes >= ROW_GROUP_BYTES:
            self._flush()

    @property
    def path(self) -> str:
        """Path of the dataset to be, as it is opened."""
        return self._out.path

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the user on the rows so far."""
        return self._marks.notes

    @property
    def card(self) -> DatasetCard:
        """The dataset's card after the rows so far."""
        return DatasetCard(
            name=self._out.name,
            title=self._title,
            rows=len(self._ids),
            with_captions=self._with_captions,
            without_captions=len(self._ids) - self._with_captions,
            sources=dict(sorted(self._sources.items())),
            left_out=self.left_out,
            version=__version__,
            protocol="official" if self._protocol else "own",
            samples=self._out.samples_file,
        )

    def _flush(self) -> None:
        assert self._file is not None, "rows are added inside the `with` block"
        self._file.write_table(pa.Table.from_pylist(self._pending, schema=SCHEMA), row_group_size=ROW_GROUP_ROWS)
        self._pending.clear()
        self._num_pictures = self._num_bytes = 0

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _finish(self) -> None:
        if not self._ids:
            raise DataError(
                f"no sample of {self._title} is left to write, so {self.path} was not made: check the source"
            )
        if self._pending:
            self._flush()
        self._close()
        card = json.dumps(asdict(self.card), indent=2, ensure_ascii=False)
        (self._out.partial / CARD_FILE).write_text(card + "\n", encoding="utf-8")
        if self._protocol:
            (self._out.partial / PROTOCOL_FILE).write_text(dump_protocol(self._protocol), encoding="utf-8")
        self._out.publish()


def _to_row(sample: Sample, image: bytes | None) -> dict[str, Any]:
    row = {name: getattr(sample, name) for name in _COPIED_FIELDS}
    row["row_digest"] = digest_sample(sample)
    row["image"] = None if image is None else {"bytes": image, "path": sample.image_path}
    return row
