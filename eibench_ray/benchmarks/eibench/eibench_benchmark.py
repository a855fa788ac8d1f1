"""EIBench ("Why We Feel", arXiv 2504.07521): its files, its published figures and its scripts' own rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eibench_ray.benchmarks.benchmark import Benchmark, CheckedRun, Exported, FileScores, OpenedRun
from eibench_ray.errors import ConfigError

if TYPE_CHECKING:
    from eibench_ray.datasets.writer import OnRow, PreparedReport
    from eibench_ray.report.charts.published_chart import PublishedFigure


MARGIN = 5.0  # percentage points that do not matter, where nobody says otherwise


class SubsetName(StrEnum):
    """Subsets that can be prepared."""

    BASIC = "basic"
    COMPLEX = "complex"
    BOTH = "both"


def prepare(
    source: Annotated[Path, typer.Option("--source", help="A clone of EIBench.")],
    images: Annotated[
        list[Path],
        typer.Option("--images", help="Folder that holds CAER-S and EmoSet-118k, or one of them; may be repeated."),
    ],
    out: Annotated[str, typer.Option("--out", help="Folder, s3:// or gs:// for eibench_basic and eibench_complex.")],
    subset: Annotated[SubsetName, typer.Option("--subset", help="Which subset to prepare.")] = SubsetName.BOTH,
    allow_missing_images: Annotated[
        bool,
        typer.Option("--allow-missing-images", help="Leave out samples whose picture is not found, and count them."),
    ] = False,
    *,
    on_row: OnRow,
) -> PreparedReport:
    """Prepare EIBench from a clone and the pictures of EmoSet-118K and CAER-S."""
    from eibench_ray.benchmarks.eibench.importer import prepare_eibench

    return prepare_eibench(source, images, out, subset.value, allow_missing_images, on_row)


def verify(
    run: OpenedRun,
    claims: Annotated[
        Path | None,
        typer.Option("--claims", help="A CSV file of other claims than the paper's, with the same columns."),
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", help="Differences of fewer percentage points than this do not matter.")
    ] = MARGIN,
) -> CheckedRun:
    """Compare a run with the figures that the paper published, and write the result into the run's folder."""
    from functools import partial

    from eibench_ray.benchmarks.eibench.claim_check import verify_run
    from eibench_ray.benchmarks.eibench.claim_page import render_verification, write_verification
    from eibench_ray.benchmarks.eibench.claim_report import to_json
    from eibench_ray.benchmarks.eibench.claims_file import PAPER_CLAIMS, read_claims

    verification = verify_run(run, read_claims(claims or PAPER_CLAIMS), margin)
    return CheckedRun(
        render_verification(verification), to_json(verification), partial(write_verification, verification)
    )


def export_ground_truth(run: OpenedRun, out: Path, chosen: Mapping[str, str | None]) -> Exported:
    """Writes answers as the files of annotations that `prepare eibench` reads."""
    from eibench_ray.benchmarks.eibench.ground_truth import write_ground_truth

    counts = write_ground_truth(run, out, chosen)
    left_out = "".join(f", {count} {reason}" for reason, count in counts["left_out"].items())
    text = f"{counts['labelled']} samples labelled{left_out}. `eibench-ray prepare eibench --source {out}` reads them."
    return Exported(counts, text)


def export_files(run: OpenedRun, out: Path, chosen: Mapping[str, str | None]) -> Exported:
    """Writes the answers and judgements that the published scripts read, and how often each trigger is named."""
    from eibench_ray.benchmarks.eibench.script_files import write_script_files

    counts = write_script_files(run, out, chosen)
    return Exported(counts, f"{counts['cells']} cells: {out / 'eibench'} (JSONL), {out / 'triggers'} (Parquet)")


def score_file(path: Path, subset: str | None) -> FileScores:
    """Scores a file of judgements as the published script does, digit by digit."""
    from eibench_ray.benchmarks.eibench.official_scorer import find_subset, read_judgements, score_official

    if subset not in (None, "auto", "basic", "complex"):
        raise ConfigError(f"--subset {subset}: EIBench has the subsets basic and complex; auto: as pictures' paths say")
    judgements = list(read_judgements(path))
    chosen: Literal["basic", "complex"] = "complex" if subset == "complex" else "basic"
    if subset in (None, "auto"):
        chosen = find_subset(judgement.path for judgement in judgements)
    scores = score_official(judgements, chosen)
    names = ("happy", "angry", "sad", "excit", "average") if chosen == "basic" else ("average",)
    return FileScores(scores.text(), {name: round(getattr(scores, name), 5) for name in names})


def list_published(run: OpenedRun) -> Iterable[PublishedFigure]:
    """The paper's claims that the run has a figure for."""
    from eibench_ray.benchmarks.eibench import claim_chart

    return claim_chart.list_published(run, MARGIN)


BENCHMARK = Benchmark(
    prepare=prepare,
    checks={"verify": verify},
    exports={"ground-truth": export_ground_truth, "eibench": export_files},
    scripts={"official": score_file},
    published=list_published,
)
