"""Claims and the cells of a run: which cell measures which claim, and why a claim has none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from eibench_ray.benchmarks.benchmark import OpenedRun
from eibench_ray.benchmarks.eibench.claim_report import Verification
from eibench_ray.benchmarks.eibench.claim_rule import compare_claim, decide
from eibench_ray.benchmarks.eibench.claims import OVERALL, CheckedClaim, Claim, find_contradictions
from eibench_ray.config.schema import ScoreConfig
from eibench_ray.errors import ConfigError
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.scoring.cell_columns import MISSING
from eibench_ray.scoring.cell_score import CellScore

_CONFIDENCE = 0.95  # of the run's own intervals


def verify_run(run: OpenedRun, claims: Sequence[Claim], margin: float) -> Verification:
    """Checks a run against claims; cells that no claim is about are not read.

    Args:
        run: the run.
        claims: published figures.
        margin: percentage points; differences of less do not matter.

    Raises:
        ConfigError: the margin is no difference that two shares can have.
    """
    if not 0 < margin < 100:
        raise ConfigError(f"--margin {margin:g}: name the percentage points that do not matter, above 0 and below 100")
    plan = run.plan
    claimed = {_name_cell(claim) for claim in claims}
    cells = {cell.name: cell for cell in plan.cells if cell.name in claimed}
    config = ScoreConfig(confidence=_CONFIDENCE)
    scored = run.cells.score_all(list(cells.values()), config, group_by=("emotion",))
    scores = {cell.name: row.score for cell, row in scored}
    checked = []
    for claim in claims:
        name = _name_cell(claim)
        if name in cells:
            found = _check(claim, scores[name], cells[name], plan, run.failures)
            answers, verdicts = plan.answer_source(cells[name]), plan.judge_source(cells[name])
            checked.append(replace(found, answer_source=answers, judge_source=verdicts))
        else:
            checked.append(CheckedClaim(claim, _explain_absence(claim, plan.cells)))
    compared = {_name_cell(one.claim) for one in checked if one.comparison}
    remarks = _find_remarks([cell for name, cell in cells.items() if name in compared], plan)
    return Verification(tuple(decide(checked, margin)), tuple(find_contradictions(claims)), tuple(remarks), margin)


def _name_cell(claim: Claim) -> str:
    """The name of the cell that measures a claim: model/setting/dataset/judge, as `Cell.name`."""
    return f"{claim.model}/{claim.setting}/{claim.dataset}/{claim.judge}"


def _check(claim: Claim, score: CellScore, cell: Cell, plan: Plan, failures: Mapping[str, str]) -> CheckedClaim:
    measured = score.overall if claim.emotion == OVERALL else score.groups["emotion"].get(claim.emotion)
    checked = compare_claim(claim, measured, score.metric)
    rehearsal = _find_rehearsal(cell, plan)
    if checked.comparison and not rehearsal:
        return checked
    blocker = f"blocked: {cell.blocked}" if cell.blocked and MISSING in score.statuses else ""
    shortfall = checked.reason if score.overall.num_scored or not blocker else ""
    reasons = (blocker, shortfall, rehearsal, _find_failure(cell, plan, failures))
    return CheckedClaim(claim, "; ".join(filter(None, reasons)), checked.measured)


def _find_rehearsal(cell: Cell, plan: Plan) -> str:
    """The model and judge whose words are made up in this cell, so that its figures say nothing; empty where none is.

    An engine under its own kind's name takes nobody's place.
    """
    own = {plan.engines[plan.steps[step].engine].kind for step in cell.steps}
    sources = ((cell.model, plan.answer_source(cell)), (cell.judge, plan.judge_source(cell)))
    names = [name for name, source in sources if source == "made_up" and name not in own]
    return f"made up: not asked of {' and '.join(names)}" if names else ""


def _find_failure(cell: Cell, plan: Plan, failures: Mapping[str, str]) -> str:
    """The engine of the cell that was given up, with the reason; empty where none was."""
    names = [plan.engines[key].name for key in plan.engines_of(cell.steps)]
    return "; ".join(f"{name} failed: {' '.join(failures[name].split())}" for name in names if name in failures)


def _explain_absence(claim: Claim, cells: Iterable[Cell]) -> str:
    """The reason why no cell measures a claim."""
    judges = [
        cell.judge
        for cell in cells
        if (cell.model, cell.setting, cell.dataset) == (claim.model, claim.setting, claim.dataset)
    ]
    return f"the run has it judged by {', '.join(judges)} only" if judges else "not in the run"


def _find_remarks(cells: Sequence[Cell], plan: Plan) -> list[str]:
    """Differences between the compared cells and the published setup, in words."""
    reworded = [cell.name for cell in cells if not all(plan.steps[step].prompt.is_official for step in cell.verdicts)]
    return [f"judged in other words than the published judge's: {', '.join(reworded)}"] if reworded else []
