"""A verification to read: in the terminal, and as files in the run's folder.

Files have a line per figure. The terminal leaves out the emotions of cells in which nothing could be compared: the
reason, which they share, stands beside the overall figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eibench_ray.report.markdown import as_markdown, format_table
from eibench_ray.report.spreadsheet import write_csv
from eibench_ray.report.verification import Verification, count_statuses, name_claim, to_frame
from eibench_ray.score.claims import CONFIDENCE, MAX_GAP, OVERALL, RULE, CheckedClaim, ClaimStatus
from eibench_ray.store.files import replacing
from eibench_ray.visible import in_line

if TYPE_CHECKING:
    from rich.table import Table

_NO_VALUE = "-"
_STYLES = {ClaimStatus.VERIFIED: "green", ClaimStatus.NOT_REPRODUCED: "red", ClaimStatus.UNVERIFIED: "dim"}
_INTERVAL = f"{CONFIDENCE:.0%} interval"
_CHANCE = (
    f"by chance up to {1 - CONFIDENCE:.0%} of the claims that hold lie outside of their interval, more where repeated "
    f"answers vary more than samples do; and the wider an interval is, the less it says that a claim lies in it"
)


def render_verification(verification: Verification) -> Table:
    """The claims for a terminal of 100 columns or more: a part per dataset and setting, counts and notes below."""
    from rich.table import Table
    from rich.text import Text

    page = Table.grid()
    for (dataset, setting), figures in _split(verification.checked):
        suffix = " (headline)" if any(one.claim.is_headline for one in figures) else ""
        page.add_row(Text.assemble((in_line(dataset), "bold"), " asked by ", (in_line(setting), "bold"), suffix))
        page.add_row(_render_part(figures))
    for line in _summarize(verification):
        page.add_row(Text(line))
    for note in _notes(verification):
        page.add_row(Text(in_line(note), style="dim"))
    return page


def render_markdown(verification: Verification) -> str:
    """All claims as two tables, the headline and the others, with counts and notes, ending in a newline."""
    others = [one for one in verification.checked if not one.claim.is_headline]
    lines = ["# Claims", "", *(f"- {line}" for line in _summarize(verification)), ""]
    for heading, figures in (("Headline", verification.headline), ("The other figures", others)):
        if figures:
            lines += [f"## {heading}", "", *_tabulate(figures), ""]
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


def _render_part(figures: Sequence[CheckedClaim]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    part = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("model", "judge", "of"):
        part.add_column(name, overflow="fold", no_wrap=True)
    for name in ("claimed %", "measured %", _INTERVAL, "n"):
        part.add_column(name, justify="right", overflow="fold", no_wrap=True)
    part.add_column("status", overflow="fold", min_width=len(ClaimStatus.NOT_REPRODUCED))
    for checked in _choose(figures):
        claim, style = checked.claim, _STYLES[checked.status]
        names = map(in_line, (claim.model, claim.judge, claim.emotion))
        part.add_row(*map(Text, (*names, *_figures(checked))), Text(in_line(_status(checked)), style=style))
    return part


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


def _tabulate(figures: Sequence[CheckedClaim]) -> list[str]:
    names = ["dataset", "setting", "model", "judge", "of", "status"]
    lines = [[*names, "claimed %", "measured %", _INTERVAL, "n"]]
    lines += [[*name_claim(one.claim).values(), _status(one), *_figures(one)] for one in figures]
    return format_table(lines, num_names=len(names))


def _status(checked: CheckedClaim) -> str:
    return f"{checked.status}: {checked.reason}" if checked.reason else checked.status.value


def _figures(checked: CheckedClaim) -> tuple[str, str, str, str]:
    """Claimed, measured, interval, n: in percent, with the claim's digits."""
    claim, measured = checked.claim, checked.measured
    digits = max(0, -int(claim.percent.as_tuple().exponent))
    if measured is None:
        return str(claim.percent), _NO_VALUE, _NO_VALUE, _NO_VALUE
    n = f"{measured.num_scored:,}"
    if measured.recall is None or measured.ci_low is None or measured.ci_high is None:
        return str(claim.percent), _NO_VALUE, _NO_VALUE, n
    low, middle, high = (f"{100 * share:.{digits}f}" for share in (measured.ci_low, measured.recall, measured.ci_high))
    return str(claim.percent), middle, f"{low}-{high}", n


def _summarize(verification: Verification) -> list[str]:
    lines = []
    if headline := verification.headline:
        lines.append(f"Headline: {verification.num_headline_rows} rows (model x dataset), {_count(headline)}")
    return [*lines, f"All: {_count(verification.checked)}"]


def _count(checked: Sequence[CheckedClaim]) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in count_statuses(checked).items())
    return f"{len(checked)} figures: {counts}"


def _notes(verification: Verification) -> list[str]:
    notes = [RULE, _CHANCE, *verification.remarks]
    for one in verification.contradictions:
        names = "/".join(list(name_claim(one.claim).values())[:-1])
        notes.append(
            f"the claims against themselves: {names} has {one.claim.percent} overall, but its emotions, weighted by "
            f"their samples, have a mean of {one.expected:.2f}"
        )
    if not verification.contradictions:
        notes.append(f"the claims against themselves: each overall is its emotions' weighted mean to {MAX_GAP} points")
    return notes
