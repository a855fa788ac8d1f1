"""Runs in folders, as commands take them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from eibench_ray.benchmarks.eibench.script_files import write_script_files
from eibench_ray.runs.export_run import export_rows
from eibench_ray.runs.find_run import find_run
from eibench_ray.runs.results import open_run
from eibench_ray.runs.run_status import describe_run
from eibench_ray.runs.send_run import Sending, send


def read_status(folder: Path) -> dict[str, Any]:
    return describe_run(find_run(str(folder)))


def export_run(folder: Path, out: Path) -> dict[str, Any]:
    """Both the joined rows and the files that EIBench's scripts read."""
    found = find_run(str(folder))
    counts = export_rows(found.manifest, found.store, out)
    write_script_files(open_run(found.manifest, found.store), out, {})
    return counts


def send_run(folder: Path, options: Mapping[str, Any], *, is_dry: bool, say: Callable[[str], None]) -> Sending:
    return send(find_run(str(folder)), options, is_dry=is_dry, say=say)
