"""Runs in folders, as commands take them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from joined_lines import current_rows, is_partial, lines_of

from eibench_ray.benchmarks.eibench.script_files import write_script_files
from eibench_ray.report.cell_folders import KEYS, CellFolders
from eibench_ray.runs.export_run import export_rows
from eibench_ray.runs.find_run import FoundRun, find_run
from eibench_ray.runs.results import Results, open_run
from eibench_ray.runs.run_status import describe_run
from eibench_ray.runs.send_run import Sending, send


def read_status(folder: Path) -> dict[str, Any]:
    return describe_run(find_run(str(folder)))


def export_run(folder: Path, out: Path) -> dict[str, Any]:
    """Both the joined rows and the files that EIBench's scripts read."""
    found = find_run(str(folder))
    counts = export_rows(found.manifest, found.store, out)
    check_rows(found, out, counts)
    write_script_files(open_run(found.manifest, found.store), out, {})
    return counts


def send_run(folder: Path, options: Mapping[str, Any], *, is_dry: bool, say: Callable[[str], None]) -> Sending:
    return send(find_run(str(folder)), options, is_dry=is_dry, say=say)


def check_rows(found: FoundRun, out: Path, counts: Mapping[str, Any]) -> None:
    """Compares the rows, which were made by columns, with those that are made one by one."""
    plan, results = found.manifest.plan, Results(found.manifest.plan, found.store)
    folders = CellFolders(plan.cells)
    for cell in plan.cells:
        table = pq.read_table(folders.of(out / "rows", cell, *KEYS) / "rows.parquet", partitioning=None)
        of_sample = ("images", "target", "input_", "metadata_")
        names = [name for name in table.column_names if not name.startswith(of_sample)]
        current = current_rows(plan, found.store, cell)
        assert all(dict(row.made) == current[row.sample.sample_id] for row in results.join(cell))
        lines = lines_of(plan, results, cell)
        assert all(line.keys() == {*names} for line in lines)
        schema = pa.schema([table.schema.field(name) for name in names])
        assert table.select(names).equals(pa.Table.from_pylist(lines, schema=schema))
        samples = {sample.sample_id: sample for sample in results.samples(cell.dataset)}
        said = table.select(["sample_id", "images", "target"]).to_pylist()
        for line, sample in zip(said, [samples[line["sample_id"]] for line in said], strict=True):
            assert (line["images"], line["target"]) == ([one.path for one in sample.media], list(sample.targets))
    assert counts["cells_partial"] == [cell.name for cell in plan.cells if is_partial(results, cell)]
    rows = [row for cell in plan.cells for row in results.join(cell)]
    answers = [answer for row in rows for answer in row.answers if answer]
    assert counts["answer_truncated"] == sum(answer.is_truncated for answer in answers)
    assert counts["answer_empty"] == sum(answer.is_empty for answer in answers)
    assert counts["reply_truncated"] == sum(reply.is_truncated for row in rows for reply in row.replies if reply)
