"""Facts about datasets on which a plan rests, read from their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eibench_ray.config.schema import DatasetConfig
from eibench_ray.datasets.prompts_file import PromptSet
from eibench_ray.errors import DataError
from eibench_ray.plan.example_set import ExampleSet


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """Facts about a dataset for the planner."""

    rows: Sequence[int]  # numbers of the rows that the sweep asks: a range where they are the first
    protocol: PromptSet | None  # None where the dataset carries none
    is_prepared: bool
    words: frozenset[str] | None = None  # inputs and metadata that prompts may read; None where it is not prepared
    whole: frozenset[str] = frozenset()  # those of them that every sample has
    most_media: int = 1  # pictures of one sample at most
    choice: str = ""  # how the rows were chosen, in words; empty where they are the first
    examples: ExampleSet | None = None  # for its prompts; None: there are none

    @property
    def num_rows(self) -> int:
        """Rows that the sweep asks."""
        return len(self.rows)


def read_dataset_facts(config: DatasetConfig, *, must_exist: bool, seed: int = 0) -> DatasetFacts:
    """Reads a dataset's facts from its folder, or from the configuration where it is not prepared yet.

    Args:
        config: the dataset's section.
        must_exist: whether it must be prepared.
        seed: the sweep's, for a sample without a seed of its own.

    Raises:
        DataError: it must exist and does not, or the configuration does not say how many rows to expect; or its rows
            cannot be chosen as configured.
    """
    from eibench_ray.datasets.dataset import open_dataset, open_place
    from eibench_ray.datasets.few_shot import draw_examples
    from eibench_ray.datasets.row_choice import RowChoice, choose_rows

    try:
        dataset = open_dataset(config.path, config.prepare)
    except DataError:
        if must_exist or config.expect_rows is None:
            raise
        storage, folder = open_place(config.path)
        if storage.list(folder):
            raise
        rows = min(config.expect_rows, config.limit or config.expect_rows)
        return DatasetFacts(range(rows), protocol=None, is_prepared=False)
    choice = RowChoice(
        config.limit,
        config.sample,
        seed if config.sample_seed is None else config.sample_seed,
        tuple(config.stratify_by or config.group_by),
        {name: tuple(values) for name, values in (config.filter or {}).items()},
    )
    few = config.examples
    has = {**dataset.metadata, **dataset.inputs}
    return DatasetFacts(
        choose_rows(dataset, choice),
        dataset.protocol,
        is_prepared=True,
        words=frozenset(has),
        whole=frozenset(name for name, count in has.items() if count == dataset.num_rows),
        most_media=dataset.most_media,
        choice=str(choice),
        examples=draw_examples(few.path, few.number, seed if few.seed is None else few.seed) if few else None,
    )
