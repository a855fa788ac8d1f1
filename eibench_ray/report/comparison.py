"""The comparisons of a run as terminal tables and as Markdown.

Terminal and Markdown show the same sections: words first, then figures, in percent and points where they are recalls.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eibench_ray.report.comparison_sections import MUTUAL, NO_VALUE, SELF_JUDGED, Section, name_level, to_sections
from eibench_ray.report.comparison_values import to_json
from eibench_ray.report.markdown import as_markdown, format_table
from eibench_ray.store.files import replacing, write_json
from eibench_ray.visible import in_line

if TYPE_CHECKING:
    from rich.table import Table

    from eibench_ray.score.comparison import Comparison


def render_comparison(comparison: Comparison) -> Table:
    """The comparisons for a terminal of 110 columns or more, the notes below."""
    from rich.table import Table
    from rich.text import Text

    page = Table.grid()
    for section in to_sections(comparison):
        page.add_row(Text(in_line(section.title), style="bold"))
        page.add_row(_render_section(section))
        page.add_row()
    for note in _notes(comparison):
        page.add_row(Text(note, style="dim"))
    return page


def render_comparison_markdown(comparison: Comparison) -> str:
    """The comparisons as GitHub Markdown with their notes, ending in a newline."""
    lines = ["# Comparisons", ""]
    for section in to_sections(comparison):
        head = [heading.replace("\n", " ") for heading in section.head]
        lines += [f"## {as_markdown(section.title)}", "", *format_table([head, *section.lines], section.num_words), ""]
    return "\n".join([*lines, *(f"- {note}" for note in _notes(comparison)), ""])


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """The files written: compare.md and compare.json, each whole or not at all.

    Raises:
        StoreError: the folder cannot be written.
    """
    markdown, values = folder / "compare.md", folder / "compare.json"
    with replacing(markdown) as draft:
        draft.write_text(render_comparison_markdown(comparison), encoding="utf-8")
    write_json(values, to_json(comparison))
    return [markdown, values]


def _render_section(section: Section) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(section.head):
        is_word = number < section.num_words
        table.add_column(Text(heading), justify="left" if is_word else "right", overflow="fold", no_wrap=not is_word)
    for number, line in enumerate(section.lines):
        table.add_row(*(Text(in_line(cell)) for cell in line), style="bold" if number in section.strong else "")
    return table


def _notes(comparison: Comparison) -> list[str]:
    """What a reader of these tables must know."""
    level = name_level(comparison)
    notes = ["n: samples that both sides have; no others are compared"]
    if comparison.pairs:
        notes += [
            f"diff.: recall of the first minus that of the second, in points; {level} bootstrap interval, clustered by "
            f"image",
            "p: sign-flip test, clustered by image; p (Holm): adjusted for all lines of its table, so that the chance "
            f"of any line below {1 - comparison.confidence:.2g} (bold) without a true difference is at most that",
        ]
    else:
        notes.append(
            "no pair is compared: it takes two models in one setting, or two settings of one model, on one dataset "
            "under one judge"
        )
    if any(pair.first_self_judged or pair.second_self_judged for pair in comparison.pairs):
        notes.append(f"{SELF_JUDGED}: self-judged, the model judges its own answers")
    if comparison.judges:
        notes += [
            "alpha: Krippendorff's, interval level, over samples; rho: Spearman's, of the two recalls of each sample, "
            "and of the two means of each cell",
            f"bias: recall by the first judge minus that by the second, in points; {level} interval, clustered by "
            f"image",
        ]
    else:
        notes.append("no two judges graded the same answers: agreement is not known")
    if comparison.preferences:
        notes.append(
            "own family: bias against the other judge on the answers of the judge's own family, or of itself, minus "
            "that on others' answers; positive where it favours its own; p: sign-flip test, not adjusted"
        )
    if any(one.is_mutual for one in comparison.preferences):
        notes.append(f"{MUTUAL}: the others are the other judge's own family, whose preference is in the figure, too")
    if comparison.noises:
        notes.append(
            "repeats: the same judge again, with other seeds; sd: standard deviation of the mean recall between "
            "repeats, in points; differ: share of the samples whose verdicts do; noise: share of the variance of "
            "single verdicts that lies within samples (1 - ICC)"
        )
    return [
        *notes,
        "length: Spearman's rho of recall and the answer's number of words, clustered by image; an answer that names "
        "more causes is longer, too: rho alone is no proof of a bias",
        f"{NO_VALUE}: cannot be said (no sample; fewer than two pictures for an interval; fewer than three samples or "
        "equal values only for rho; equal values only for alpha)",
    ]
