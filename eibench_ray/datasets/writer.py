"""The one writer of datasets: rows stream in, a whole dataset appears, or nothing does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.datasets.control_marks import ControlMarks
from eibench_ray.datasets.destination import open_destination
from eibench_ray.datasets.layout import (
    CARD_FILE,
    JSON_COLUMNS,
    LAYOUT,
    PROTOCOL_FILE,
    ROW_GROUP_BYTES,
    ROW_GROUP_PICTURES,
    ROW_GROUP_ROWS,
    SCHEMA,
    digest_bytes,
    digest_sample,
    encode,
)
from eibench_ray.datasets.prompts_file import PromptSet, dump_protocol
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Sample
from eibench_ray.versions import __version__

OnRow = Callable[[int, int | None], None]  # rows done, rows in all if known


def ignore_rows(done: int, total: int | None) -> None:
    """Nothing: for a caller that shows no progress."""
    del done, total


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """Contents of a dataset's `dataset.json`.

    Attributes:
        inputs, metadata: samples that have it, by name.
    """

    name: str
    title: str
    rows: int
    inputs: dict[str, int]
    targets: int  # samples that have one
    metadata: dict[str, int]
    media: int  # pictures in all
    most_media: int  # pictures of one sample at most
    left_out: int  # samples of the source that have no row, because a picture of theirs was not found
    version: str  # the project's version that prepared it
    protocol: str  # "official" where `protocol.yaml` lies beside it, else "own"
    samples: str  # the file beside it that holds the rows
    layout: int = LAYOUT  # the version of the dataset's layout


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
        protocol: the official prompts that travel with it.
    """

    def __init__(self, out: str | Path, title: str, protocol: PromptSet | None = None) -> None:
        self.left_out = 0  # samples that the caller leaves out, for the dataset's card
        self._out = open_destination(out)
        self._title = title
        self._protocol = protocol
        self._ids: set[str] = set()
        self._inputs: Counter[str] = Counter()
        self._metadata: Counter[str] = Counter()
        self._num_targets = self._num_media = self._most_media = 0
        self._marks = ControlMarks()
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

    def add(self, sample: Sample, images: Sequence[bytes] = ()) -> None:
        """Appends a row; the digests of its pictures are computed here.

        Raises:
            DataError: a row with the same id was added before.
        """
        if sample.sample_id in self._ids:
            raise DataError(f"two samples of {self._title} have the id {sample.sample_id!r}: ids must be unique")
        self._ids.add(sample.sample_id)
        self._marks.watch(sample)
        self._inputs.update(sample.inputs.keys())
        self._metadata.update(name for name, value in sample.metadata.items() if value is not None)
        self._num_targets += sample.target is not None
        self._num_media += len(images)
        self._most_media = max(self._most_media, len(images))
        if images:
            media = zip(sample.media, images, strict=True)
            sample = replace(sample, media=tuple(replace(one, digest=digest_bytes(image)) for one, image in media))
        self._pending.append(_to_row(sample, images))
        self._num_pictures += len(images)
        self._num_bytes += sum(map(len, images))
        is_full = self._num_pictures >= ROW_GROUP_PICTURES or len(self._pending) == ROW_GROUP_ROWS
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
            inputs=dict(self._inputs),
            targets=self._num_targets,
            metadata=dict(self._metadata),
            media=self._num_media,
            most_media=self._most_media,
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


def _to_row(sample: Sample, images: Sequence[bytes]) -> dict[str, Any]:
    media = [asdict(one) | {"bytes": image} for one, image in zip(sample.media, images, strict=True)]
    row = {"sample_id": sample.sample_id, "media": media, "row_digest": digest_sample(sample)}
    return row | {name: encode(getattr(sample, name)) for name in JSON_COLUMNS}
