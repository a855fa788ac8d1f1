"""Facts about datasets on which a plan rests, read from their folders."""

from __future__ import annotations

from dataclasses import dataclass

from eibench_ray.config.schema import DatasetConfig
from eibench_ray.datasets.prompts_file import PromptSet
from eibench_ray.errors import DataError


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """Facts about a dataset for the planner."""

    num_rows: int
    protocol: PromptSet | None  # None where the dataset carries none
    is_prepared: bool
    words: frozenset[str] | None = None  # inputs and metadata that prompts may read; None where it is not prepared
    whole: frozenset[str] = frozenset()  # those of them that every sample has
    most_media: int = 1  # pictures of one sample at most


def read_dataset_facts(config: DatasetConfig, *, must_exist: bool) -> DatasetFacts:
    """Reads a dataset's facts from its folder, or from the configuration where it is not prepared yet.

    Raises:
        DataError: it must exist and does not, or the configuration does not say how many rows to expect.
    """
    from eibench_ray.datasets.dataset import open_dataset, open_place

    try:
        dataset = open_dataset(config.path, config.prepare)
    except DataError:
        if must_exist or config.expect_rows is None:
            raise
        storage, folder = open_place(config.path)
        if storage.list(folder):
            raise
        rows = min(config.expect_rows, config.limit or config.expect_rows)
        return DatasetFacts(rows, protocol=None, is_prepared=False)
    rows = min(dataset.num_rows, config.limit or dataset.num_rows)
    has = {**dataset.metadata, **dataset.inputs}
    return DatasetFacts(
        rows,
        dataset.protocol,
        is_prepared=True,
        words=frozenset(has),
        whole=frozenset(name for name, count in has.items() if count == dataset.num_rows),
        most_media=dataset.most_media,
    )
