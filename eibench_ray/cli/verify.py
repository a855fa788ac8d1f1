"""The command `verify`: what a run says about published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eibench_ray.cli.choose_run import Anyway, InStore, Out, Run, check_figures, choose_run, place_for
from eibench_ray.cli.console import AsJson, show_files


def verify(
    run: Run = None,
    claims: Annotated[
        Path | None,
        typer.Option("--claims", help="A CSV file of other claims than the paper's, with the same columns."),
    ] = None,
    as_json: AsJson = False,
    store: InStore = None,
    out: Out = None,
    anyway: Anyway = False,
) -> None:
    """Compare a run with the figures that the paper published, and write the result into the run's folder."""
    from eibench_ray.benchmarks.eibench.claim_check import verify_run
    from eibench_ray.benchmarks.eibench.claim_page import render_verification, write_verification
    from eibench_ray.benchmarks.eibench.claim_report import to_json
    from eibench_ray.benchmarks.eibench.claims_file import PAPER_CLAIMS, read_claims

    published = read_claims(claims or PAPER_CLAIMS)
    found = choose_run(run, store)
    changes = check_figures(found, anyway=anyway)
    verification = verify_run(found.manifest, found.status.failures, found.store, published)
    place = place_for(found, out, changes)
    show_files(
        write_verification(verification, place) if place else [],
        render_verification(verification),
        {"run_dir": str(found.folder), "store": found.store.root} | to_json(verification),
        as_json=as_json,
    )
