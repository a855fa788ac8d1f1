"""Runs compared: the store's rows become columns, a dataset at a time, and those become comparisons."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from math import nan

import numpy as np
from numpy.typing import NDArray

from eibench_ray.errors import ConfigError
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.rows.sample import Sample
from eibench_ray.runs.cell_names import RunCell, letter_of, tell_apart
from eibench_ray.runs.label_file import Labels
from eibench_ray.runs.results import Results, check_columns
from eibench_ray.runs.run_record import RunManifest
from eibench_ray.scoring.cell_columns import MIN_COVERAGE
from eibench_ray.scoring.cell_comparison import (
    CellState,
    Comparison,
    Family,
    NamedRun,
    Side,
    adjust_pairs,
    compare_cells,
)
from eibench_ray.scoring.clusters import Clusters, name_pictures
from eibench_ray.scoring.sample_groups import MOST_GROUPS, order_groups, read_column
from eibench_ray.scoring.scored_cell import ScoredCell
from eibench_ray.scoring.scorer import Metric
from eibench_ray.store.slice_store import Store


def compare_runs(
    runs: Sequence[tuple[RunManifest, Store]],
    sides: Sequence[Side],
    group_by: Sequence[str] = (),
    family: Family = "table",
    labels: Labels | None = None,
) -> Comparison:
    """All comparisons of some runs, from their stores alone; equal for equal stores. Blocked cells are left out.

    Samples are the same in two runs where their questions, references and pictures are. While a dataset is compared,
    each of its cells keeps 16 bytes per sample, with labels 24.

    Args:
        runs: their manifests and stores; the first says the confidence of intervals.
        sides: what is compared pairwise.
        group_by: columns of the samples: the samples of each of their values are compared, too, as a dataset of their
            own, `NAME (COLUMN=VALUE)`.
        family: tests over which p-values are adjusted.
        labels: people's, against which judges are held; None: none.

    Raises:
        ConfigError: no dataset has such a column, or it has too many values; or it is not clear of which answers the
            labels are.
    """
    results = [Results(manifest.plan, store) for manifest, store in runs]
    plans = [manifest.plan for manifest, _ in runs]
    check_columns(results[0], plans[0], group_by)
    confidence = runs[0][0].score.confidence
    states: dict[tuple[str, str, str, str], CellState] = {}
    parts = []
    everything = tell_apart([(manifest, store.root) for manifest, store in runs])
    if labels:
        labels.bind([(one.cell, results[one.run].metrics(one.cell)[0]) for one in everything])
    for cells in _by_dataset(everything):
        places = _Places(group_by, is_shared=len({one.run for one in cells}) > 1)
        # All samples of all runs first: columns are as long as there are samples, and clusters are of all of them.
        name = cells[0].cell.dataset
        of_run = {run: places.of(results[run].samples(name)) for run in dict.fromkeys(one.run for one in cells)}
        clusters = np.array(places.clusters, np.int32)
        graded = list(_read_cells(results, plans, cells, states, of_run, clusters, labels))
        parts.append(compare_cells(graded, sides, confidence))
        for group, is_in in places.groups():
            part = [_restrict(cell, group, is_in) for cell in graded]
            for one, old, new in zip(cells, graded, part, strict=True):
                asked = np.asarray(of_run[one.run])
                states[_names(new)] = _state_within(states[_names(old)], old.values[asked[is_in[asked]]])
            parts.append(compare_cells(part, sides, confidence))
    return Comparison(
        pairs=adjust_pairs(chain.from_iterable(part.pairs for part in parts), family),
        judges=tuple(chain.from_iterable(part.judges for part in parts)),
        panels=tuple(chain.from_iterable(part.panels for part in parts)),
        lengths=tuple(chain.from_iterable(part.lengths for part in parts)),
        confidence=confidence,
        family=family,
        preferences=tuple(chain.from_iterable(part.preferences for part in parts)),
        noises=tuple(chain.from_iterable(part.noises for part in parts)),
        states=states,
        tournaments=tuple(chain.from_iterable(part.tournaments for part in parts)),
        calibrations=tuple(chain.from_iterable(part.calibrations for part in parts)),
        labels=labels.count() if labels else None,
        runs=tuple(
            NamedRun(letter_of(number), manifest.id, manifest.plan.sweep, manifest.folder)
            for number, (manifest, _) in enumerate(runs)
            if len(runs) > 1
        ),
    )


def _by_dataset(cells: Sequence[RunCell]) -> list[list[RunCell]]:
    found: dict[str, list[RunCell]] = {}
    for one in cells:
        found.setdefault(one.cell.dataset, []).append(one)
    return list(found.values())


def _read_cells(
    results: Sequence[Results],
    plans: Sequence[Plan],
    cells: Sequence[RunCell],
    states: dict[tuple[str, str, str, str], CellState],
    of_run: Mapping[int, array[int]],
    clusters: NDArray[np.int32],
    labels: Labels | None,
) -> Iterator[ScoredCell]:
    """The cells of one dataset, their samples at the same places; `states` is told how far each can be trusted."""
    read = {
        number: results[number].columns([one.cell for one in cells if one.run == number])
        for number in dict.fromkeys(one.run for one in cells)
    }
    for one in cells:
        _, scored = next(read[one.run])
        columns, places = scored.columns, np.asarray(of_run[one.run])
        metric = columns.headline.metric
        values, words = (
            _spread(columns.headline.values, places, len(clusters)),
            _spread(scored.words, places, len(clusters)),
        )
        given = _read_labels(one.cell, metric, labels, results[one.run], places, len(clusters)) if labels else None
        cell, plan = one.cell, plans[one.run]
        states[cell.model, cell.setting, cell.dataset, cell.judge] = CellState(
            columns.is_partial, plan.answer_source(cell), plan.judge_source(cell)
        )
        yield ScoredCell(
            model=cell.model,
            setting=cell.setting,
            dataset=cell.dataset,
            judge=cell.judge,
            self_judged=cell.self_judged,
            answers=one.answers,
            metric=metric,
            values=values,
            words=words,
            clusters=clusters,
            family=cell.family,
            judge_family=cell.judge_family,
            labels=given,
            noise=columns.noise,
            model_noise=columns.model_noise,
            contest=one.contest,
        )


def _spread(column: NDArray[np.float64], places: NDArray[np.intp], size: int) -> NDArray[np.float64]:
    """A column of a run's samples at the places that all runs' samples have."""
    found = np.full(size, nan)
    found[places] = column
    return found


def _read_labels(
    cell: Cell, metric: Metric, labels: Labels, results: Results, places: NDArray[np.intp], size: int
) -> NDArray[np.float64]:
    found = np.full(size, nan)
    for place, sample in zip(places.tolist(), results.samples(cell.dataset), strict=True):
        found[place] = labels.find(cell, metric, sample.sample_id)
    return found


def _restrict(cell: ScoredCell, name: str, is_in: NDArray[np.bool_]) -> ScoredCell:
    """A cell over some of its samples."""
    return replace(
        cell,
        dataset=f"{cell.dataset} ({name})",
        values=cell.values[is_in],
        words=cell.words[is_in],
        clusters=cell.clusters[is_in],
        labels=None if cell.labels is None else cell.labels[is_in],
        noise=None,
        model_noise=None,
    )


def _state_within(state: CellState, values: NDArray[np.float64]) -> CellState:
    """The state of a cell over some of the samples that it was asked about, given their values: few may have one."""
    num_scored = int(np.count_nonzero(~np.isnan(values)))
    return replace(state, is_partial=state.is_partial or 0 < num_scored < MIN_COVERAGE * len(values))


def _names(cell: ScoredCell) -> tuple[str, str, str, str]:
    return cell.model, cell.setting, cell.dataset, cell.judge


class _Places:
    """Positions of a dataset's samples in all columns, whichever run asked them.

    Args:
        group_by: columns whose values are kept.
        is_shared: whether several runs did.
    """

    def __init__(self, group_by: Sequence[str], *, is_shared: bool) -> None:
        self._columns: dict[str, list[str | None]] = {column: [] for column in group_by}
        self.clusters = array("i")  # the code of each sample's picture
        self._is_shared = is_shared
        self._numbering = Clusters()
        self._known: dict[int, int] = {}

    def of(self, samples: Iterator[Sample]) -> array[int]:
        """The places of a run's samples, in the run's order."""
        found = array("i")
        for sample in samples:
            place = len(self.clusters)
            if self._is_shared:
                what = hash((sample.sample_id, *sample.inputs.items(), sample.target, sample.media))
                place = self._known.setdefault(what, place)
            if place == len(self.clusters):
                self.clusters.append(self._numbering.code(name_pictures(sample)))
                for column, values in self._columns.items():
                    values.append(read_column(sample.metadata, column))
            found.append(place)
        return found

    def groups(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Yields `COLUMN=VALUE` and which samples have it, for each value of each column.

        Raises:
            ConfigError: a column has too many values.
        """
        for column, values in self._columns.items():
            names = {value for value in values if value is not None}
            if len(names) > MOST_GROUPS:
                raise ConfigError(
                    f"--by {column}: the samples have {len(names)} values there, at most {MOST_GROUPS} are compared"
                )
            for name in order_groups(names):
                yield f"{column}={name}", np.array([value == name for value in values])
