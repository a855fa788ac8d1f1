"""Examples that prompts show before a question: drawn by their ids' hashes, the same for all samples of a sweep."""

from __future__ import annotations

import heapq

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.datasets.row_choice import rank
from eibench_ray.errors import DataError
from eibench_ray.plan.example_set import SPARES, ExampleSet


def draw_examples(path: str, number: int, seed: int) -> ExampleSet:
    """The examples of a prepared dataset; their pictures are left out.

    Raises:
        DataError: there is no such dataset, or it has fewer samples.
    """
    dataset = open_dataset(path)
    if dataset.num_rows < number:
        raise DataError(f"dataset.examples asks for {number} samples of {path}, which has {dataset.num_rows}")
    ids = (sample_id for sample_id, _ in dataset.index().rows(0, dataset.num_rows))
    drawn = heapq.nsmallest(number + SPARES, ((rank(seed, sample_id), row) for row, sample_id in enumerate(ids)))
    return ExampleSet(number, tuple(sample for _, row in drawn for sample in dataset.samples(row, row + 1)))
