"""Counts by reference trigger how often it is named, and lists those that nobody names, over all cells of a run."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.scoring.scorer import TARGETS_HIT
from eibench_ray.storage.atomic_files import replacing

if TYPE_CHECKING:
    from eibench_ray.rows.sample import Sample
    from eibench_ray.scoring.joined_row import SaidRange

GROUP_ROWS = 16_384

SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),  # as the folders have them, and as text
        pa.field("judge", pa.string(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("emotion", pa.string()),
        pa.field("number", pa.int16(), nullable=False),
        pa.field("trigger", pa.string()),
        pa.field("judged", pa.int32(), nullable=False),
        pa.field("named", pa.int32(), nullable=False),
    ]
)


class TriggerCounts:
    """Counts, per trigger of a dataset, the verdicts that say whether it is named, and those that say it is.

    A trigger takes 8 bytes.
    """

    def __init__(self) -> None:
        self._judged = array("i")
        self._named = array("i")

    def watch(self, said: Iterable[SaidRange]) -> Iterator[SaidRange]:
        """The ranges of one cell with their scores, counted as they pass; all cells have the same samples."""
        start = 0
        for part in said:
            for sample, scores in zip(part.samples, part.scores, strict=True):
                stop = start + len(sample.targets)
                missing = stop - len(self._judged)
                if missing > 0:
                    self._judged.extend([0] * missing)
                    self._named.extend([0] * missing)
                for score in scores:
                    for place, is_named in enumerate(score.details.get(TARGETS_HIT, ()) if score else (), start):
                        self._judged[place] += 1
                        self._named[place] += is_named
                start = stop
            yield part

    def write(self, samples: Iterable[Sample], path: Path, **names: str) -> None:
        """One row per trigger, in the order of the samples that were watched; with the names of dataset and judge."""
        rows = ({**names, **row} for row in self._rows(samples))
        with replacing(path) as draft, pq.ParquetWriter(draft, SCHEMA, compression="zstd") as writer:
            while group := list(islice(rows, GROUP_ROWS)):
                writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))

    def _rows(self, samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
        counts = zip(self._judged, self._named, strict=True)
        for sample in samples:
            for number, (trigger, (judged, named)) in enumerate(zip(sample.targets, counts, strict=False), start=1):
                yield {
                    "sample_id": sample.sample_id,
                    "emotion": sample.metadata.get("emotion"),
                    "number": number,
                    "trigger": trigger,
                    "judged": judged,
                    "named": named,
                }
