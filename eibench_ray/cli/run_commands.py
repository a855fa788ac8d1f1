"""Commands over what was run: `status`, `report`, `rescore`, `export`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from eibench_ray.cli.benchmark_commands import opened_run
from eibench_ray.cli.choose_run import Anyway, InStore, Out, Run, Runs, check_figures, choose_run, place_for
from eibench_ray.cli.console import AsJson, open_console, say
from eibench_ray.cli.report_page import Html, PagePictures, PageSamplesShown, check_page_options, show_html, write_html
from eibench_ray.errors import ConfigError, DataError, StoreError
from eibench_ray.visible_text import count

if TYPE_CHECKING:
    from eibench_ray.runs.find_run import FoundRun

# The format of `export` that is no benchmark's.
ROWS = "rows"
INSPECT = "inspect"  # logs of inspect-ai


def status(
    run: Run = None,
    store: InStore = None,
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw it again and again until the run has ended; also of a SLURM job.")
    ] = False,
    interval_s: Annotated[
        float, typer.Option("--interval", min=0.25, help="Seconds between two looks of --watch.")
    ] = 1.0,
) -> None:
    """Show how far a run is."""
    if watch:
        from eibench_ray.cli.watch_run import watch_run

        if as_json:
            raise ConfigError("--watch draws for people, --json answers once: leave out one of them")
        found = watch_run(run, store, interval_s)
        run, store = (str(found.folder), found.store.root) if found and found.has_folder else (run, store)
    from eibench_ray.runs.run_status import describe_run
    from eibench_ray.runs.status_page import render_status
    from eibench_ray.submit.sbatch import ask_queue, describe_queue
    from eibench_ray.submit.submission import read_jobs, runs_of

    if run is not None and (jobs := read_jobs(Path(run))) and not runs_of(Path(run)):
        queue = [describe_queue(job, ask_queue(job)) for job in jobs]
        typer.echo(json.dumps({"jobs": jobs, "queue": queue})) if as_json else say("\n".join(queue))
        return
    facts = describe_run(choose_run(run, store))
    if as_json:
        typer.echo(json.dumps(facts))
        return
    console = open_console()
    for part in render_status(facts):
        console.print(part)
    say(f"Run: {facts['run_dir']}\nStore: {facts['store']}")


def report(
    runs: Runs = None,
    gantt: Annotated[
        Path | None, typer.Option("--gantt", help="Draw where the GPU time went, into this .html or .svg.")
    ] = None,
    html: Html = None,
    samples: PageSamplesShown = None,
    pictures: PagePictures = None,
    as_json: AsJson = False,
    store: InStore = None,
    out: Out = None,
    anyway: Anyway = False,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            help="A column of the samples, to score its values apart. Default: those of the dataset. The run's files "
            "stay as they are; --out writes others.",
        ),
    ] = None,
) -> None:
    """Score a run from its store again, print the leaderboard and write it into the run's folder.

    With --html, it writes a page with figures and samples as well; of several runs, only that.
    Refused where a dataset of the run was prepared anew since, or rows of it are gone: the run's own files stay.
    """
    from eibench_ray.plan.blockers import describe_blocked, without_blocked
    from eibench_ray.report.leaderboard import render_table
    from eibench_ray.report.leaderboard_files import to_json_rows, write_leaderboard
    from eibench_ray.rows.prices import format_usd
    from eibench_ray.runs.failed_cells import describe_failed
    from eibench_ray.runs.ledger_file import describe_usage
    from eibench_ray.runs.results import score_run
    from eibench_ray.runs.resume import read_costs
    from eibench_ray.runs.run_status import read_usage
    from eibench_ray.runs.status_page import render_usage

    check_page_options(html, len(runs or ()), {"--samples": samples, "--pictures": pictures})
    chosen = [choose_run(run, store) for run in runs] if runs else [choose_run(None, store)]
    found = chosen[0]
    changes = [change for one in chosen for change in check_figures(one, anyway=anyway)]
    if html is not None and len(chosen) > 1:
        show_html(write_html(chosen, html, samples, pictures, by), as_json=as_json)
        return
    manifest, opened = found.manifest, found.store
    asked = without_blocked(manifest.plan)
    usage = read_usage(found.folder, asked)
    if gantt is not None:
        from eibench_ray.report.gantt import write_gantt

        if not usage.replicas:
            raise StoreError(f"--gantt: run {manifest.id} has no ledger of replicas in {found.folder}: nothing to draw")
        write_gantt(gantt, usage, f"{manifest.plan.sweep} ({manifest.id})")
    rows = score_run(manifest, opened, found.status.failures, group_by=by)
    # Other groups than the run's are no reason to change its files.
    place = None if by and out is None else place_for(found, out, changes)
    page = None if html is None else write_html([found], html, samples, pictures, by, rows)
    paths = [*(write_leaderboard(rows, place) if place else ()), *([gantt] if gantt else [])]
    blocked = {row.cell for row in rows if row.blocked}
    gpu_time = describe_usage(usage, asked)
    costs = read_costs(manifest.plan, opened)
    if as_json:
        answer = {
            "run_dir": str(found.folder),
            "store": opened.root,
            "rows": to_json_rows(rows),
            "cost_usd": sum(costs.values()) if costs else None,
            "files": [str(path) for path in paths],
            "gpu_time": gpu_time,
            "changes": changes,
            "page": page,
        }
        typer.echo(json.dumps(answer))
        return
    console = open_console()
    console.print(render_table(rows))
    for line in describe_blocked(cell for cell in manifest.plan.cells if cell.name in blocked):
        console.print(line)
    for line in describe_failed({row.cell: row.failed for row in rows if row.failed}):
        console.print(Text(line, style="red"))
    if costs:
        console.print(f"All requests together cost ${format_usd(sum(costs.values()))}.")
    cells = zip((cell.name for cell in asked.cells), gpu_time["cells"], strict=True)
    for part in render_usage(gpu_time, dict(cells)):
        console.print(part)
    if by and out is None:
        console.print("The run's files have its own groups still; --out FOLDER writes these.")
    console.print("\n".join(str(path) for path in paths), soft_wrap=True)
    if page is not None:
        show_html(page, as_json=False)


def rescore(
    target: Annotated[
        Path, typer.Argument(help="A run's folder or id, or a JSONL file of judgements, {path: reply} per line.")
    ],
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="A benchmark's published script, by whose rules a file is read.")
    ] = None,
    subset: Annotated[
        str | None, typer.Option("--subset", help="Part of the benchmark that a file belongs to; else as it says.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option("--confidence", help="Of the interval, e.g. 0.95, for a run.")
    ] = None,
    as_json: AsJson = False,
    store: InStore = None,
    anyway: Anyway = False,
) -> None:
    """Read judges' replies again without asking any judge: a run's, or a file's by the published rules."""
    if protocol is not None and target.is_dir():
        raise DataError(
            f"--protocol {protocol} reads a JSONL file of judgements, and {target} is a folder: name such a file"
        )
    if protocol is not None or (target.suffix == ".jsonl" and not target.is_dir()):
        _rescore_file(target, protocol, subset, as_json=as_json)
        return
    from eibench_ray.report.leaderboard import render_table
    from eibench_ray.report.leaderboard_files import to_json_rows
    from eibench_ray.runs.failed_cells import describe_failed
    from eibench_ray.runs.results import score_run

    found = choose_run(target, store)
    check_figures(found, anyway=anyway)
    rows = score_run(found.manifest, found.store, found.status.failures, confidence=confidence, anew=True)
    if as_json:
        answer = {"run_dir": str(found.folder), "store": found.store.root, "rows": to_json_rows(rows)}
        typer.echo(json.dumps(answer))
        return
    console = open_console()
    console.print(render_table(rows))
    for line in describe_failed({row.cell: row.failed for row in rows if row.failed}):
        console.print(Text(line, style="red"))


def export(
    run: Run = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("export"),
    as_: Annotated[
        str,
        typer.Option("--as", help="rows: Parquet; inspect: logs for `inspect view`; or a benchmark's own format."),
    ] = ROWS,
    model: Annotated[str | None, typer.Option("--model", help="Of which model, for a benchmark's format.")] = None,
    setting: Annotated[str | None, typer.Option("--setting", help="In which setting.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="On which dataset.")] = None,
    as_json: AsJson = False,
    store: InStore = None,
    anyway: Anyway = False,
) -> None:
    """Write a run's joined rows (Hive-partitioned Parquet), or what a benchmark's own format makes of it."""
    from eibench_ray.runs.export_run import export_rows

    chosen = {"model": model, "setting": setting, "dataset": dataset}
    if as_ not in (ROWS, INSPECT):
        if as_ not in (formats := _exports()):
            raise ConfigError(f"--as {as_}: there is no such format; there are {', '.join([ROWS, INSPECT, *formats])}")
        found = choose_run(run, store)
        check_figures(found, anyway=anyway)
        _export_as(as_, found, out, chosen, as_json=as_json)
        return
    if given := [f"--{name}" for name, value in chosen.items() if value is not None]:
        names = " or ".join(_exports())
        raise ConfigError(
            f"{', '.join(given)} chooses for a benchmark's format: add --as {names}; rows are written of all"
        )
    found = choose_run(run, store)
    check_figures(found, anyway=anyway)
    if as_ == INSPECT:
        _export_logs(found, out, as_json=as_json)
        return
    exported = export_rows(found.manifest, found.store, out)
    if as_json:
        typer.echo(json.dumps({"run_dir": str(found.folder), "out": str(out.absolute()), **exported}))
        return
    blocked = f", {exported['cells_blocked']} of them blocked" if exported["cells_blocked"] else ""
    say(f"{count(exported['rows'], 'row')} of {count(exported['cells'], 'cell')}{blocked}: {out / 'rows'} (Parquet)")
    for name, words in _TOLD.items():
        if told := exported[name]:
            say(f"{words}: {told if isinstance(told, int) else len(told):,}")


# What is told of exported rows beside their number, by its key.
_TOLD = {
    "answer_truncated": "answers cut off at their limit of tokens (column answer_truncated)",
    "answer_empty": "empty answers (column answer_empty)",
    "reply_truncated": "replies of the judge that were cut off (column reply_truncated)",
    "cells_partial": "partial cells (not all of their samples are asked, or fewer than 95% have a verdict)",
    "cells_made_up": "cells that rest on words that no model said (columns answer_source and judge_source)",
    "cells_recorded": "cells that rest on recorded answers (column answer_source)",
}


def _export_logs(found: FoundRun, out: Path, *, as_json: bool) -> None:
    """Writes a run as logs of Inspect."""
    from eibench_ray.runs.inspect_logs import export_inspect

    counts = export_inspect(found.manifest, found.store, out)
    if as_json:
        typer.echo(json.dumps({"run_dir": str(found.folder), "out": str(out.absolute()), **counts}))
    else:
        logs, samples = count(counts["cells"], "log"), count(counts["samples"], "sample")
        say(f"{logs} with {samples}: {out} (`inspect view --log-dir {out}`)")


def _export_as(name: str, found: FoundRun, out: Path, chosen: Mapping[str, str | None], *, as_json: bool) -> None:
    """Writes a run in a format that a benchmark brings."""
    exported = _exports()[name](opened_run(found), out, chosen)
    if as_json:
        typer.echo(json.dumps({"run_dir": str(found.folder), "out": str(out.absolute()), **exported.counts}))
    else:
        say(exported.text)


def _exports() -> Mapping[str, Any]:
    from eibench_ray.benchmarks.benchmark_registry import gather

    return gather(lambda one: one.exports, "format of --as")


def _rescore_file(path: Path, protocol: str | None, subset: str | None, *, as_json: bool) -> None:
    """The figures of a published script, digit by digit."""
    from eibench_ray.benchmarks.benchmark_registry import gather

    scripts = gather(lambda one: one.scripts, "protocol")
    names = ", ".join(scripts)
    if protocol is None and len(scripts) > 1:
        raise ConfigError(f"{path} can be read by several protocols ({names}): name one with --protocol")
    if (script := scripts.get(protocol or names)) is None:
        raise ConfigError(f"--protocol {protocol}: there is no such protocol; there are {names}")
    scores = script(path, subset)
    typer.echo(json.dumps(dict(scores.figures)) if as_json else scores.text, nl=as_json)
