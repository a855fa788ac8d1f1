"""Counts by reference trigger how often it is named, and lists those that nobody names, over all cells of a run."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eibench_ray.datasets.sample_table import spread_lists
from eibench_ray.scoring.scorer import TARGETS_HIT
from eibench_ray.storage.atomic_files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eibench_ray.datasets.sample_table import SampleTable
    from eibench_ray.scoring.joined_row import SaidRange
    from eibench_ray.scoring.score_column import ScoreColumn

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
            starts = np.cumsum([start, *map(len, part.targets)])
            start = int(starts[-1])
            for counts in (self._judged, self._named):
                counts.extend([0] * (start - len(counts)))
            for column in part.scores:
                self._count(column, starts[:-1])
            yield part

    def _count(self, column: ScoreColumn, starts: NDArray[np.int64]) -> None:
        if not self._judged:
            return
        judged, named = np.frombuffer(self._judged, np.int32), np.frombuffer(self._named, np.int32)
        for code, score in enumerate(column.known):
            hits = np.array(score.details.get(TARGETS_HIT, ()) if score else (), np.bool_)
            places = starts[column.codes == code, None] + np.arange(len(hits))
            judged[places] += 1
            named[places] += hits

    def write(self, tables: Iterable[SampleTable], path: Path, **names: str) -> None:
        """One row per trigger, in the order of the samples that were watched; with the names of dataset and judge."""
        start = 0
        with replacing(path) as draft, pq.ParquetWriter(draft, SCHEMA, compression="zstd") as writer:
            for samples in tables:
                triggers = spread_lists(*samples.distinct_targets)
                places = pc.list_parent_indices(triggers)  # of each trigger, that of its sample
                sizes = triggers.value_lengths().to_numpy()
                stop = start + len(places)
                metadata, metadata_codes = samples.distinct_metadata
                emotions = pa.array([one.get("emotion") for one in metadata], pa.string())
                columns = {
                    **{name: pa.repeat(value, len(places)) for name, value in names.items()},
                    "sample_id": samples.ids.take(places),
                    "emotion": emotions.take(pa.array(metadata_codes)).take(places),
                    "number": np.arange(1, len(places) + 1) - np.repeat(np.cumsum(sizes) - sizes, sizes),
                    "trigger": triggers.flatten(),
                    "judged": self._judged[start:stop],
                    "named": self._named[start:stop],
                }
                writer.write_table(pa.Table.from_pydict(columns, schema=SCHEMA))
                start = stop
