"""Joined rows by columns are those that are made one by one, whatever a slice says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from read_back import check_rows

from eibench_ray.benchmarks.eibench.script_files import write_script_files
from eibench_ray.engines.echo import EchoEngine, EchoSection
from eibench_ray.report.cell_folders import names_of
from eibench_ray.rows.request import Reply, Request
from eibench_ray.runs.cell_scorer import score_cells
from eibench_ray.runs.export_run import export_rows
from eibench_ray.runs.find_run import find_run
from eibench_ray.runs.results import Results, open_run
from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest
from eibench_ray.runs.score_reader import make_reader
from eibench_ray.storage.path_names import path_names
from eibench_ray.store.slice_store import Store

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.rows.completion import Completion
    from eibench_ray.runs.planning import PlannedSweep


class Odd(EchoEngine):
    """Every other answer is cut off, refused, empty, thinking alone or of odd characters; all have logprobs."""

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        reply = replace(
            await super().generate(request, images), mean_logprob=-0.25, thinking="Hm.\u2028", thinking_tokens=3
        )
        if request.json_schema is not None:
            return reply
        changes: list[dict[str, str]] = [
            {},
            {"finish_reason": "length"},
            {"finish_reason": "content_filter"},
            {"text": " \n"},
            {"text": "", "finish_reason": "length"},
            {"text": 'She won.\u2028Then:\x85 "yes", \n\u00e9\U0001f382'},
        ]
        return replace(reply, **changes[int(request.sample_id[1:]) % len(changes)])  # type: ignore[arg-type]


def ask(sweeps: Sweeps) -> PlannedSweep:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("noted"), sweeps.config("plain", "official"))
    sweeps.ask(sweep, Odd(EchoSection(kind="echo")))
    return sweep


def compare(sweep: PlannedSweep, folder: Path) -> None:
    """Compares exported rows and columns of scores with what follows from the rows looked at one by one."""
    manifest = new_manifest(sweep.plan, folder / "run", sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(folder / "run")
    found = find_run(str(folder / "run"))
    check_rows(found, folder / "out", export_rows(found.manifest, found.store, folder / "out"))
    results = Results(sweep.plan, Store(sweep.store.root))
    write_script_files(open_run(found.manifest, found.store), folder / "out", {})
    for cell in sweep.plan.cells:
        stem = path_names(map(names_of, sweep.plan.cells))[names_of(cell)]
        for kind, steps in (("answers", cell.answers), ("judgements", cell.verdicts)):
            lines = ((row.sample, row.made[steps[0]].text) for row in results.join(cell) if steps[0] in row.made)
            assert (folder / "out" / "eibench" / f"{stem}.{kind}.jsonl").read_text(encoding="utf-8") == "".join(
                json.dumps({(sample.media[0].path if sample.media else sample.sample_id): text}, ensure_ascii=False)
                + "\n"
                for sample, text in lines
                if text is not None
            )
    for cell in sweep.plan.cells:
        reader = make_reader(cell)
        (scored,) = score_cells(sweep.plan, sweep.store, results.dataset(cell.dataset), [cell], [reader])
        rows = list(results.join(cell))
        assert [None if value != value else value for value in scored.columns.headline.values.tolist()] == [
            row.value for row in rows
        ]
        answers = [answer for row in rows for answer in row.answers if answer]
        assert scored.counts.answers.num_truncated == sum(answer.is_truncated for answer in answers)
        assert scored.counts.answers.num_errors == sum(answer.error_kind is not None for answer in answers)
        assert scored.counts.num_cut_while_thinking == sum(answer.is_cut_while_thinking for answer in answers)
        assert scored.counts.num_refused == sum(answer.is_refused for answer in answers)
        assert scored.counts.num_logprobs == sum(answer.mean_logprob is not None for answer in answers)


def test_whole_slices(sweeps: Sweeps, tmp_path: Path) -> None:
    compare(ask(sweeps), tmp_path)


def test_several_ranges(sweeps: Sweeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cell_scorer", "export_run", "results"):
        monkeypatch.setattr(f"eibench_ray.runs.{module}.COLUMN_ROWS", 3)
    compare(ask(sweeps), tmp_path)


def rewrite(sweep: PlannedSweep, step: str, index: int, change: Callable[[list[Completion]], list[Completion]]) -> None:
    sweep.store.write_slice(step, index, change(list(sweep.store.read_slice(step, index).values())))


def fail_first(rows: list[Completion]) -> list[Completion]:
    return [replace(rows[0], text=None, error_kind="prompt", error="too long"), *rows[1:]]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows: rows[:-1], id="a row is missing"),
        pytest.param(lambda rows: rows[::-1], id="another order"),
        pytest.param(fail_first, id="another answer: what was said of it is out of date"),
        pytest.param(lambda rows: [replace(rows[0], cost_usd=0.5), *rows[1:]], id="a price"),
        pytest.param(lambda rows: [replace(row, input_digest="0" * 16) for row in rows], id="made from something else"),
    ],
)
@pytest.mark.parametrize("is_verdict", [False, True])
def test_slices_of_which_rows_are_out_of_date(
    sweeps: Sweeps, tmp_path: Path, change: Callable[[list[Completion]], list[Completion]], is_verdict: bool
) -> None:
    sweep = ask(sweeps)
    cell = sweep.plan.cells[0]
    rewrite(sweep, cell.verdicts[0] if is_verdict else cell.answer, 1, change)
    compare(sweep, tmp_path)


def test_a_step_without_a_slice_and_one_that_lacks_some(sweeps: Sweeps, tmp_path: Path) -> None:
    sweep = ask(sweeps)
    first, other = sweep.plan.cells
    sweep.store.storage.remove(sweep.store.paths.slice(first.verdicts[0], 0))
    for index in sweep.store.list_slices(other.answer):
        sweep.store.storage.remove(sweep.store.paths.slice(other.answer, index))
    compare(sweep, tmp_path)


def test_a_judge_with_slices_of_another_length(sweeps: Sweeps, tmp_path: Path) -> None:
    sweep = ask(sweeps)
    step = sweep.plan.cells[0].verdicts[0]
    rows = [row for index in sweep.store.list_slices(step) for row in sweep.store.read_slice(step, index).values()]
    root = Path(sweep.store.root)
    for file in sweep.store.paths.step(step).iterdir():
        Path(file).unlink()
    store = Store(root)
    store.fix_slice_rows(step, 3, {})
    for index in range(4):
        store.write_slice(step, index, rows[3 * index : 3 * index + 3], num_asked=3)
    compare(replace(sweep, store=store), tmp_path)
