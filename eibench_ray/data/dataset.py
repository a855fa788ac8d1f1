"""A prepared dataset, read: its index for the planner, its rows and pictures for those who send them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.data.layout import CARD_FILE, PROTOCOL_FILE, SAMPLES_FILE, SCHEMA
from eibench_ray.data.protocol import Protocol, load_protocol
from eibench_ray.errors import DataError
from eibench_ray.records import Sample

PACKAGE_PREFIX = "package:"
_ROW_COLUMNS = [name for name in SCHEMA.names if name != "image"] + ["image.path"]


@dataclass(frozen=True, slots=True)
class DatasetIndex:
    """What the planner needs of a dataset: ids and digests, in the dataset's order."""

    sample_ids: tuple[str, ...]
    row_digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A prepared dataset on disk.

    Attributes:
        has_captions: whether every sample came with a caption.
        protocol: the official wordings that were found when it was prepared; None: the project's own serve.
    """

    path: Path
    num_rows: int
    has_captions: bool
    protocol: Protocol | None

    def index(self, limit: int | None = None) -> DatasetIndex:
        """The ids and digests of the first `limit` samples; no other column is read."""
        table = pq.read_table(self.path / SAMPLES_FILE, columns=["sample_id", "row_digest"]).slice(0, limit)
        return DatasetIndex(tuple(table["sample_id"].to_pylist()), tuple(table["row_digest"].to_pylist()))

    def samples(self, start: int, stop: int) -> list[Sample]:
        """The samples of rows [start, stop), without their pictures."""
        return [_to_sample(row) for _, table in self._groups(start, stop, _ROW_COLUMNS) for row in table.to_pylist()]

    def images(self, start: int, stop: int, wanted: Collection[str]) -> dict[str, bytes]:
        """The pictures' bytes of the wanted samples in rows [start, stop), by sample id; text-only samples have none.

        Only row groups with a wanted sample are read, one at a time.
        """
        wanted = frozenset(wanted)
        found: dict[str, bytes] = {}
        for group_start, ids in self._groups(start, stop, ["sample_id"]):
            if wanted.isdisjoint(ids["sample_id"].to_pylist()):
                continue
            last = group_start + ids.num_rows
            for _, table in self._groups(group_start, last, ["sample_id", "image.bytes"]):
                for sample_id, image in zip(table["sample_id"], table["image"], strict=True):
                    if sample_id.as_py() in wanted and image["bytes"].is_valid:
                        found[sample_id.as_py()] = image["bytes"].as_py()
        return found

    def _groups(self, start: int, stop: int, columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        """Per row group that [start, stop) touches: its first row that is in the range, and the rows in the range."""
        with pq.ParquetFile(self.path / SAMPLES_FILE) as file:
            first = 0
            for group in range(file.num_row_groups):
                last = first + file.metadata.row_group(group).num_rows
                low, high = max(first, start), min(last, stop)
                if low < high:
                    yield low, file.read_row_group(group, columns=columns).slice(low - first, high - low)
                first = last


def open_dataset(path: str) -> Dataset:
    """The dataset in a folder, or the one inside the package for `package:demo`.

    Raises:
        DataError: there is none, or the folder holds something else.
    """
    folder = Path(path)
    if path.startswith(PACKAGE_PREFIX):
        folder = Path(__file__).parent / path.removeprefix(PACKAGE_PREFIX)
    try:
        card: dict[str, Any] = json.loads((folder / CARD_FILE).read_bytes())
        num_rows, has_captions = int(card["rows"]), card["without_captions"] == 0
        metadata = pq.read_metadata(folder / SAMPLES_FILE)
    except FileNotFoundError:
        _refuse(path, "there is no prepared dataset there")
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowInvalid) as error:
        _refuse(path, f"what lies there is not a prepared dataset ({type(error).__name__}: {error})")
    if not metadata.schema.to_arrow_schema().equals(SCHEMA):
        _refuse(path, f"{SAMPLES_FILE} has other columns than a prepared dataset")
    if metadata.num_rows != num_rows:
        _refuse(path, f"{SAMPLES_FILE} has {metadata.num_rows} rows and {CARD_FILE} says {num_rows}")
    protocol_file = folder / PROTOCOL_FILE
    return Dataset(folder, num_rows, has_captions, load_protocol(protocol_file) if protocol_file.exists() else None)


def _refuse(path: str, reason: str) -> NoReturn:
    if path.startswith(PACKAGE_PREFIX):
        remedy = "the dataset inside the package is package:demo"
    elif Path(path).name.startswith("eibench_"):
        remedy = (
            f"prepare it with `eibench-ray prepare eibench --source EIBENCH_CLONE --images PICTURES "
            f"--out {Path(path).parent}`"
        )
    else:
        remedy = f"prepare it, e.g. with `eibench-ray prepare jsonl FILE --images PICTURES --out {path}`"
    raise DataError(f"the dataset {path} cannot be opened: {reason}; {remedy}")


def _to_sample(row: dict[str, Any]) -> Sample:
    image = row["image"] or {}
    return Sample(
        sample_id=row["sample_id"],
        question=row["question"],
        emotion=row["emotion"],
        reference=row["reference"],
        triggers=tuple(row["triggers"]),
        image_path=image.get("path"),
        image_digest=row["image_digest"],
        caption=row["caption"],
        source=row["source"],
    )
