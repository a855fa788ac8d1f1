"""The command `verify`: what a run says about published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eibench_ray.cli.console import show_files
from eibench_ray.cli.records import AsJson, Run, run_folder


def verify(
    run: Run = None,
    claims: Annotated[
        Path | None,
        typer.Option("--claims", help="A CSV file of other claims than the paper's, with the same columns."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a run with the figures that the paper published, and write the result into the run's folder."""
    from eibench_ray.report.claims_file import PAPER_CLAIMS, read_claims
    from eibench_ray.report.verification import to_json
    from eibench_ray.report.verification_page import render_verification, write_verification
    from eibench_ray.sweep.claims import verify_run
    from eibench_ray.sweep.record import read_run

    published = read_claims(claims or PAPER_CLAIMS)
    folder = run_folder(run)
    manifest, status, store = read_run(folder)
    verification = verify_run(manifest, status.failures, store, published)
    paths = write_verification(verification, folder if folder.is_dir() else folder.parent)
    show_files(
        paths,
        render_verification(verification),
        {"run_dir": str(folder), "store": store.root} | to_json(verification),
        as_json=as_json,
    )
