"""A run compared: the store's rows become columns, a dataset at a time, and those become comparisons."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from math import nan

import numpy as np

from eibench_ray.plan.blocked import without_blocked
from eibench_ray.plan.graph import Cell
from eibench_ray.score.clusters import ImageClusters
from eibench_ray.score.comparison import Comparison, Side, compare_cells
from eibench_ray.score.graded import GradedCell
from eibench_ray.score.interval import Resampling
from eibench_ray.score.repeats import NoiseMeter
from eibench_ray.store.slices import Store
from eibench_ray.sweep.record import RunManifest
from eibench_ray.sweep.results import Results


def compare_run(manifest: RunManifest, store: Store, sides: Sequence[Side]) -> Comparison:
    """All comparisons of a run, from its store alone; equal for equal stores. Cells that were blocked are left out.

    While a dataset is compared, each of its cells keeps 16 bytes per sample.

    Args:
        manifest: of the run.
        store: the run's.
        sides: what is compared pairwise.
    """
    results = Results(manifest.plan, store)
    resampling = Resampling(manifest.score.confidence, manifest.score.resamples)
    parts = [
        compare_cells(list(_read_cells(results, cells)), sides, resampling)
        for cells in _by_dataset(without_blocked(manifest.plan).cells)
    ]
    return Comparison(
        pairs=tuple(chain.from_iterable(part.pairs for part in parts)),
        judges=tuple(chain.from_iterable(part.judges for part in parts)),
        panels=tuple(chain.from_iterable(part.panels for part in parts)),
        lengths=tuple(chain.from_iterable(part.lengths for part in parts)),
        confidence=resampling.confidence,
        preferences=tuple(chain.from_iterable(part.preferences for part in parts)),
        noises=tuple(chain.from_iterable(part.noises for part in parts)),
    )


def _by_dataset(cells: Sequence[Cell]) -> list[list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.dataset, []).append(cell)
    return list(found.values())


def _read_cells(results: Results, cells: Sequence[Cell]) -> Iterator[GradedCell]:
    """The cells of one dataset. Their samples are the same, so the first one's clusters are those of all."""
    clusters = array("i")
    numbering = ImageClusters()
    for index, cell in enumerate(cells):
        recall, words, noise = array("d"), array("d"), NoiseMeter()
        for row in results.join(cell):
            noise.add(row.verdicts)
            text = None if row.answer is None else row.answer.text
            recall.append(nan if (value := row.recall) is None else value)
            words.append(nan if text is None else len(text.split()))
            if index == 0:
                clusters.append(numbering.code(row.sample))
        yield GradedCell(
            model=cell.model,
            setting=cell.setting,
            dataset=cell.dataset,
            judge=cell.judge,
            self_judged=cell.self_judged,
            answers=cell.answer,
            recall=np.array(recall, np.float64),
            words=np.array(words, np.float64),
            clusters=np.array(clusters, np.int32),
            family=cell.family,
            judge_family=cell.judge_family,
            noise=noise.read(),
        )
