"""The paper's claims that a run has measured, as figures to be drawn beside each other."""

from __future__ import annotations

from collections.abc import Iterator

from eibench_ray.benchmarks.benchmark import OpenedRun
from eibench_ray.benchmarks.eibench.claim_check import verify_run
from eibench_ray.benchmarks.eibench.claims_file import PAPER_CLAIMS, read_claims
from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.report.charts.published_chart import PublishedFigure


def list_published(run: OpenedRun, margin: float) -> Iterator[PublishedFigure]:
    """The claims that the run has a figure for, in the order of their file; `margin` as `verify_run` has it."""
    for checked in verify_run(run, read_claims(PAPER_CLAIMS), margin).checked:
        claim = checked.claim
        if checked.measured is not None and checked.measured.value is not None:
            yield PublishedFigure(
                (claim.model, claim.setting, claim.dataset, claim.judge, claim.emotion),
                RECALL,
                claim.share,
                claim.samples,
                checked.measured,
                checked.status.value,
                claim.is_headline,
            )
