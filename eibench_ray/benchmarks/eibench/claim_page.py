"""A verification to read: in the terminal, and as files in the run's folder.

Files have a line per figure. The terminal leaves out the emotions of cells in which nothing could be compared: the
reason, which they share, stands beside the overall figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from eibench_ray.benchmarks.eibench.claim_report import (
    Verification,
    count_outcomes,
    count_statuses,
    name_claim,
    to_frame,
)
from eibench_ray.benchmarks.eibench.claim_rule import explain_alarms, explain_error, explain_rule
from eibench_ray.benchmarks.eibench.claims import MAX_GAP, OVERALL, CheckedClaim, ClaimOutcome, ClaimStatus
from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.plan.step_names import MADE_UP, RECORDED, with_mark
from eibench_ray.report.markdown_table import as_markdown, format_table
from eibench_ray.report.spreadsheet import write_csv
from eibench_ray.report.table_section import show_p_value
from eibench_ray.scoring.cluster_mean import FEW_CLUSTERS
from eibench_ray.scoring.equivalence import LEVEL
from eibench_ray.scoring.rounding import NO_VALUE, digits_for, show_interval
from eibench_ray.storage.atomic_files import replacing
from eibench_ray.terminal.fitting_table import Column, FittingTable
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from rich.console import Group

_STYLES = {ClaimStatus.VERIFIED: "green", ClaimStatus.NOT_REPRODUCED: "red", ClaimStatus.UNVERIFIED: "dim"}
# Figures of a claim, and how soon a terminal leaves them out.
_FIGURES = {
    "claimed %": 0,
    "measured %": 0,
    "diff.": 1,
    f"{1 - 2 * LEVEL:.0%} interval of diff.": 0,
    "p (Holm)": 2,
    "scored": 3,
    "clusters": 4,
}


def render_verification(verification: Verification) -> Group:
    """The claims for a terminal: a part per dataset and setting, counts and notes below."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Text | FittingTable] = []
    for (dataset, setting), figures in _split(verification.checked):
        suffix = " (headline)" if any(one.claim.is_headline for one in figures) else ""
        heading = Text.assemble((in_line(dataset), "bold"), " asked by ", (in_line(setting), "bold"), suffix)
        parts += [heading, _render_part(figures, verification.margin), Text()]
    parts += [Text(line) for line in _summarize(verification)]
    parts += [Text(in_line(note), style="dim") for note in _notes(verification)]
    return Group(*parts)


def render_markdown(verification: Verification) -> str:
    """All claims as two tables, the headline and the others, with counts and notes, ending in a newline."""
    others = [one for one in verification.checked if not one.claim.is_headline]
    lines = ["# Claims", "", *(f"- {line}" for line in _summarize(verification)), ""]
    for heading, figures in (("Headline", verification.headline), ("The other figures", others)):
        if figures:
            lines += [f"## {heading}", "", *_tabulate(figures, verification.margin), ""]
    return "\n".join([*lines, "## Notes", "", *(f"- {as_markdown(note)}" for note in _notes(verification)), ""])


def write_verification(verification: Verification, folder: Path) -> list[Path]:
    """The files written: verify.md and verify.csv, each whole or not at all.

    Raises:
        StoreError: the folder cannot be written.
    """
    markdown, table = folder / "verify.md", folder / "verify.csv"
    with replacing(markdown) as draft:
        draft.write_text(render_markdown(verification), encoding="utf-8")
    with replacing(table) as draft:
        write_csv(to_frame(verification), draft)
    return [markdown, table]


def _split(checked: Iterable[CheckedClaim]) -> list[tuple[tuple[str, str], list[CheckedClaim]]]:
    """The claims by dataset and setting, those with a headline first."""
    parts: dict[tuple[str, str], list[CheckedClaim]] = {}
    for one in checked:
        parts.setdefault((one.claim.dataset, one.claim.setting), []).append(one)
    return sorted(parts.items(), key=lambda part: not any(one.claim.is_headline for one in part[1]))


def _render_part(figures: Sequence[CheckedClaim], margin: float) -> FittingTable:
    from rich.text import Text

    chosen = _choose(figures)
    names = [[in_line(name) for name in _names(one)] for one in chosen]
    numbers = _write_figures(chosen)
    statuses = [Text(in_line(_status(one, margin)), style=_STYLES[one.status]) for one in chosen]
    columns = [
        Column(name, [row[at] for row in names], is_name=True) for at, name in enumerate(("model", "judge", "of"))
    ]
    for at, (name, rank) in enumerate(_FIGURES.items()):
        columns.append(Column(fill(name, 8), [row[at] for row in numbers], rank=rank))
    columns.append(Column("status", statuses, is_name=True, least=len(ClaimStatus.NOT_REPRODUCED) + 1))
    return FittingTable(columns, elsewhere="verify.md and .csv, --json and a wider terminal have them")


def _names(checked: CheckedClaim) -> tuple[str, str, str]:
    """The model and the judge, marked where the run has others in their place, and what the figure is of."""
    claim = checked.claim
    model, judge = with_mark(claim.model, checked.answer_source), with_mark(claim.judge, checked.judge_source)
    return model, judge, claim.emotion


def _choose(figures: Sequence[CheckedClaim]) -> list[CheckedClaim]:
    """The figures cell by cell, overall first; where nothing of a cell was compared, that one alone."""
    cells: dict[tuple[str, str], list[CheckedClaim]] = {}
    for one in figures:
        cells.setdefault((one.claim.model, one.claim.judge), []).append(one)
    chosen = []
    for cell in cells.values():
        cell.sort(key=lambda one: one.claim.emotion != OVERALL)
        first = cell[0]
        is_told_by_first = first.reason and first.claim.emotion == OVERALL
        chosen += [first] if is_told_by_first and {one.reason for one in cell} == {first.reason} else cell
    return chosen


def _tabulate(figures: Sequence[CheckedClaim], margin: float) -> list[str]:
    names = ["dataset", "setting", "model", "judge", "of", "status"]
    lines = [[*names, *_FIGURES]]
    for one, numbers in zip(figures, _write_figures(figures), strict=True):
        lines.append([one.claim.dataset, one.claim.setting, *_names(one), _status(one, margin), *numbers])
    return format_table(lines, num_names=len(names))


def _status(checked: CheckedClaim, margin: float) -> str:
    """The word, and what it rests on."""
    outcome = str(checked.outcome or checked.reason)
    if checked.is_within_margin:
        outcome += f"{', by less than' if checked.outcome is ClaimOutcome.DIFFERS else ' within'} {margin:g} points"
    return f"{checked.status}: {outcome}"


def _write_figures(figures: Sequence[CheckedClaim]) -> list[list[str]]:
    """Of each claim the cells under _FIGURES, in percent and points; those of a dataset with the same digits."""
    intervals: dict[str, list[tuple[float | None, float | None]]] = {}
    for one in figures:
        if one.measured:
            intervals.setdefault(one.claim.dataset, []).append((one.measured.ci_low, one.measured.ci_high))
    return [_write(one, digits_for(RECALL, intervals.get(one.claim.dataset, ()))) for one in figures]


def _write(checked: CheckedClaim, digits: int) -> list[str]:
    measured, found = checked.measured, checked.comparison
    value = measured.value if measured else None
    return [
        str(checked.claim.percent),
        NO_VALUE if value is None else RECALL.show(value, digits=digits),
        NO_VALUE if checked.difference is None else RECALL.show(checked.difference, "+", digits),
        show_interval(RECALL, found.low, found.high, "+", digits) if found else NO_VALUE,
        show_p_value(checked.p_holm),
        f"{measured.num_scored:,}" if measured else NO_VALUE,
        f"{measured.num_clusters:,}" if measured else NO_VALUE,
    ]


def _summarize(verification: Verification) -> list[str]:
    lines = []
    if headline := verification.headline:
        lines.append(f"Headline: {verification.num_headline_rows} rows (model x dataset), {_count(headline)}")
    return [*lines, f"All: {_count(verification.checked)}"]


def _count(checked: Sequence[CheckedClaim]) -> str:
    counts, outcomes = count_statuses(checked), count_outcomes(checked)
    statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
    inconclusive = outcomes[ClaimOutcome.INCONCLUSIVE.value]
    return f"{len(checked)} figures: {statuses} ({inconclusive} inconclusive, {outcomes['not compared']} not compared)"


def _notes(verification: Verification) -> list[str]:
    margin, number = verification.margin, verification.num_compared
    notes = [explain_rule(margin)]
    notes += [explain_error(), explain_alarms(number, margin)] if number else []
    if any(
        one.comparison and one.measured and one.measured.num_clusters < FEW_CLUSTERS for one in verification.checked
    ):
        notes.append(f"few clusters: figures of fewer than {FEW_CLUSTERS} of them (pictures) have rough intervals")
    notes += verification.remarks
    if any("made_up" in (one.answer_source, one.judge_source) for one in verification.checked):
        notes.append(f"{MADE_UP}: words that no model said, to try a sweep out; such figures verify nothing")
    if any("recorded" in (one.answer_source, one.judge_source) for one in verification.checked):
        notes.append(f"{RECORDED}: answers from a file, which no model was asked for here")
    for one in verification.contradictions:
        names = "/".join(list(name_claim(one.claim).values())[:-1])
        notes.append(
            f"the published figures contradict each other: {names} has {one.claim.percent} overall, but its emotions, "
            f"weighted by their samples, have a mean of {one.expected:.2f}"
        )
    if not verification.contradictions:
        notes.append(
            f"the published figures agree: each overall is the weighted mean of its emotions, within {MAX_GAP} points"
        )
    return notes
