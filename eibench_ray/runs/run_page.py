"""Writes the page of a run, or of several: collects its values from records and stores, and says what it holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from eibench_ray.config.report_section import ReportConfig
from eibench_ray.errors import EibenchError
from eibench_ray.plan.blockers import without_blocked
from eibench_ray.plan.step_names import name_steps
from eibench_ray.report.charts.chart import Chart
from eibench_ray.report.charts.vega_bundle import read_bundle
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.report.page.page_board import make_board
from eibench_ray.report.page.page_file import MOST_INLINE, drafting, write_page
from eibench_ray.runs.cell_names import RunCell, tell_apart
from eibench_ray.runs.compare_run import compare_runs
from eibench_ray.runs.find_run import FoundRun
from eibench_ray.runs.page_facts import make_head
from eibench_ray.runs.page_samples import PageCell, PageSamples
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_status import read_usage
from eibench_ray.schedule.gpu_usage import GpuUsage
from eibench_ray.scoring.cell_comparison import SIDES, Comparison
from eibench_ray.scoring.rank_range import rank_cells
from eibench_ray.visible_text import count

log = logging.getLogger(__name__)

PAGE_FILE = "report.html"


@dataclass(frozen=True, slots=True)
class WrittenPage:
    """A page that was written."""

    path: Path
    data: Path  # where its data lie: the page itself, or a folder beside it
    contents: str  # whose texts and pictures it holds


def options_of(run: FoundRun) -> ReportConfig:
    """The section `report` of a run, as its plan keeps it; a run of an earlier version had none."""
    return ReportConfig.model_validate(run.manifest.plan.cells[0].config.get("report") or {})


def write_report(
    runs: Sequence[FoundRun],
    path: Path,
    options: ReportConfig,
    rows: Sequence[LeaderboardRow] | None = None,
    group_by: Sequence[str] | None = None,
) -> WrittenPage:
    """Writes the page of some runs.

    Args:
        runs: at least one; the first says the confidence of intervals.
        path: of the page.
        options: what it holds.
        rows: their leaderboard, where it is known already.
        group_by: columns of the samples, by which scores are given; None: those of the datasets.

    Raises:
        StoreError: a store cannot be read, or the page not written.
    """
    opened = [Results(run.manifest.plan, run.store) for run in runs]
    cells = tell_apart([(run.manifest, run.store.root) for run in runs])
    if rows is None:
        rows = _score(runs, opened, cells, group_by)
    comparison, troubles = _compare(runs)
    usages = [read_usage(run.folder, without_blocked(run.manifest.plan)) for run in runs]
    charts = _draw(runs, rows, comparison, usages, cells, troubles)
    with drafting(path) as draft:
        samples = PageSamples(
            list(_page_cells(runs, opened, cells)),
            options,
            group_by,
            draft.add,
        )
        frame = samples.write() if options.samples else {"sets": [], "cells": []}
        contents = _describe_contents(samples, options)
        ranks = rank_cells(comparison) if comparison else {}
        numbers = {_name(one): number for number, one in enumerate(cells)} if options.samples else {}
        draft.add(
            "page",
            {
                "head": asdict(make_head(runs, rows, usages, contents, troubles)),
                "board": make_board(rows, ranks, numbers),
                "charts": [asdict(chart) for chart in charts],
                **frame,
            },
        )
        title = f"{' and '.join(dict.fromkeys(run.manifest.plan.sweep for run in runs))} ({runs[0].manifest.id})"
        data = write_page(path, title, draft, [read_bundle()] if charts else [], MOST_INLINE)
    return WrittenPage(path, data, contents)


def write_run_page(run: FoundRun, options: ReportConfig, rows: Sequence[LeaderboardRow]) -> WrittenPage | None:
    """Writes the page of a run that ends; None, and a warning, where that cannot be done: the run is none the worse."""
    try:
        return write_report([run], run.folder / PAGE_FILE, options, rows)
    except Exception as error:  # the run has its answers and its figures: the page can be made again
        reason = str(error) if isinstance(error, EibenchError) else _name_error(error)
        log.warning("%s was not written: %s; make it with `eibench-ray report %s`", PAGE_FILE, reason, run.manifest.id)
        log.debug("writing the page", exc_info=True)
        return None


def _score(
    runs: Sequence[FoundRun], opened: Sequence[Results], cells: Sequence[RunCell], group_by: Sequence[str] | None
) -> list[LeaderboardRow]:
    """The leaderboard of all runs, the cells that are blocked included."""
    config = runs[0].manifest.score
    blocked = [
        RunCell(number, cell, "")
        for number, run in enumerate(runs)
        for cell in run.manifest.plan.cells
        if cell.blockers
    ]
    scored = {
        number: opened[number].score_all(
            [one.cell for one in [*cells, *blocked] if one.run == number], config, run.status.failures, group_by
        )
        for number, run in enumerate(runs)
    }
    return [next(scored[one.run])[1] for one in [*cells, *blocked]]


def _compare(runs: Sequence[FoundRun]) -> tuple[Comparison | None, list[str]]:
    """All comparisons; None, with the reason, where they cannot be made."""
    try:
        return compare_runs([(run.manifest, run.store) for run in runs], SIDES), []
    except EibenchError as error:
        return None, [f"no comparisons, so no ranks: {error}"]


def _draw(
    runs: Sequence[FoundRun],
    rows: Sequence[LeaderboardRow],
    comparison: Comparison | None,
    usages: Sequence[GpuUsage],
    cells: Sequence[RunCell],
    troubles: list[str],
) -> list[Chart]:
    """The pictures; none, and a line in `troubles`, where their figures cannot be had."""
    # Altair takes half a second to import, which a run need not wait for before it begins.
    from eibench_ray.report.charts.page_charts import draw_charts
    from eibench_ray.runs.chart_figures import collect_figures

    try:
        return draw_charts(collect_figures(runs, rows, comparison, usages, cells))
    except Exception as error:  # a benchmark's own code may have any
        log.debug("drawing the pictures", exc_info=True)
        troubles.append(f"no pictures: {error if isinstance(error, EibenchError) else _name_error(error)}")
        return []


def _name_error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _page_cells(runs: Sequence[FoundRun], opened: Sequence[Results], cells: Sequence[RunCell]) -> Iterator[PageCell]:
    names = [name_steps(run.manifest.plan) for run in runs]
    for one in cells:
        manifest, dataset = runs[one.run].manifest, one.cell.dataset
        # The same digest of ids and rows: the same samples in the same order, whichever run asked them.
        samples = f"{dataset}/{manifest.pins.get(dataset, manifest.id)}"
        yield PageCell(
            one.cell, opened[one.run], manifest.plan, runs[one.run].store, names[one.run], one.answers, samples
        )


def _name(one: RunCell) -> tuple[str, str, str, str]:
    return one.cell.model, one.cell.setting, one.cell.dataset, one.cell.judge


def _describe_contents(samples: PageSamples, options: ReportConfig) -> str:
    """Whose texts and pictures the page holds."""
    if not options.samples:
        return "This page holds figures only: no sample's texts, no pictures (report.samples=0)."
    texts = f"This page holds the texts of {count(samples.num_samples, 'sample')}"
    if samples.num_unshown:
        texts += f" ({samples.num_unshown:,} more are left out: report.samples={options.samples})"
    if options.pictures == "none":
        return f"{texts}, and no pictures (report.pictures=none)."
    pictures = count(samples.num_pictures, "thumbnail")
    return f"{texts}, and {pictures} of their pictures (report.pictures=none leaves them out)."
