"""A cell's scores from samples and their scores, as the store's columns give them."""

from collections.abc import Sequence

import numpy as np

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.cell_columns import CellMeter
from eibench_ray.scoring.cell_score import CellScore, score_cell
from eibench_ray.scoring.clusters import name_pictures
from eibench_ray.scoring.sample_groups import SampleOutlines, find_groups
from eibench_ray.scoring.scorer import Metric, Score


def outline(samples: Sequence[Sample]) -> SampleOutlines:
    """The outlines of samples, as a dataset gives them."""
    metadata = [sample.metadata for sample in samples]
    return SampleOutlines(list(map(name_pictures, samples)), metadata, np.arange(len(samples)))


def score_rows(
    rows: Sequence[tuple[Sample, Sequence[Score | None]]],
    metrics: Sequence[Metric],
    confidence: float,
    group_by: Sequence[str] = (),
    num_answers: int = 1,
) -> CellScore:
    """The scores of a cell with these samples."""
    meter = CellMeter(metrics, num_answers)
    for _, scores in rows:
        meter.add(scores)
    return score_cell(meter.read(), find_groups([outline([sample for sample, _ in rows])], group_by), confidence)
