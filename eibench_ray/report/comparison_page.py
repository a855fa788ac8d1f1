"""The comparisons of a run as terminal tables and as Markdown.

Terminal and Markdown show the same sections: words first, then figures, each in its metric's unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eibench_ray.report.comparison_sections import name_level, to_sections
from eibench_ray.report.comparison_values import to_json
from eibench_ray.report.judge_sections import MUTUAL
from eibench_ray.report.leaderboard_notes import SCOPE, source_notes
from eibench_ray.report.leaderboard_row import PARTIAL
from eibench_ray.report.markdown_table import as_markdown, format_table
from eibench_ray.report.pair_sections import SELF_JUDGED
from eibench_ray.report.table_section import Section
from eibench_ray.scoring.cell_columns import MIN_COVERAGE
from eibench_ray.scoring.cluster_mean import FEW_CLUSTERS
from eibench_ray.scoring.paired_tests import least_clusters
from eibench_ray.scoring.rounding import NO_VALUE
from eibench_ray.storage.atomic_files import replacing, write_json
from eibench_ray.terminal.fitting_table import Column, FittingTable
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from rich.console import Group

    from eibench_ray.scoring.calibration import LabelCounts
    from eibench_ray.scoring.cell_comparison import Comparison
    from eibench_ray.scoring.tournament import Tournament


def render_comparison(comparison: Comparison) -> Group:
    """The comparisons for a terminal, the notes below."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Text | FittingTable] = []
    for section in to_sections(comparison):
        parts += [Text(in_line(section.title), style="bold"), _render_section(section), Text()]
    return Group(*parts, *(Text(in_line(note), style="dim") for note in _notes(comparison)))


def render_comparison_markdown(comparison: Comparison) -> str:
    """The comparisons as GitHub Markdown with their notes, ending in a newline."""
    lines = ["# Comparisons", ""]
    for section in to_sections(comparison):
        head = [heading.replace("\n", " ") for heading in section.head]
        lines += [f"## {as_markdown(section.title)}", "", *format_table([head, *section.lines], section.num_words), ""]
    return "\n".join([*lines, *(f"- {note}" for note in _notes(comparison)), ""])


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """The files written: compare.md and compare.json, each whole or not at all; of several runs, compare_runs.*.

    Raises:
        StoreError: the folder cannot be written.
    """
    stem = "compare_runs" if comparison.runs else "compare"  # a run's own comparison stays
    markdown, values = folder / f"{stem}.md", folder / f"{stem}.json"
    with replacing(markdown) as draft:
        draft.write_text(render_comparison_markdown(comparison), encoding="utf-8")
    write_json(values, to_json(comparison))
    return [markdown, values]


def _render_section(section: Section) -> FittingTable:
    columns = []
    for number, heading in enumerate(section.head):
        cells = [in_line(line[number]) for line in section.lines]
        # What is said of a difference goes last: without p, its interval tells nearly the same.
        rank = {"clusters": 3, "p": 2, "n": 1}.get(heading, 0)
        columns.append(Column(heading, cells, is_name=number < section.num_words, rank=rank))
    return FittingTable(columns, strong=section.strong, elsewhere="compare.md, --json and a wider terminal have them")


def _notes(comparison: Comparison) -> list[str]:
    """Notes that a reader of these tables needs."""
    level = name_level(comparison)
    notes = ["n: samples that both sides have; no others are compared; clusters: different pictures among them"]
    if comparison.pairs:
        notes += [
            f"diff.: the first minus the second, of percentages in points; {level} interval: Student's t, clustered by "
            f"image, {SCOPE}",
            *_notes_on_tests(comparison),
        ]
    else:
        notes.append(
            "no pair is compared: it takes two models in one setting, or two settings of one model, on one dataset "
            "under one judge"
        )
    states = [comparison.states_of(pair) for pair in comparison.pairs]
    everything = [*(state for both in states for state in both), *comparison.states.values()]
    if comparison.runs:
        runs = "; ".join(f"{run.letter}: {run.sweep} ({run.id})" for run in comparison.runs)
        notes.append(f"runs: {runs}; a letter stands where a name does not mean the same in all of them")
    if any(state.is_partial for state in everything):
        notes.append(
            f"{PARTIAL}: not all samples are asked yet, or fewer than {MIN_COVERAGE:.0%} have a score; such lines "
            f"stand after the others and are never bold"
        )
    notes += source_notes((state.answer_source, state.judge_source) for state in everything)
    if any(0 < pair.paired.num_clusters < FEW_CLUSTERS for pair in comparison.pairs):
        notes.append(
            f"few clusters: some lines rest on fewer than {FEW_CLUSTERS} of them (pictures): their intervals are rough"
        )
    if any(pair.first_self_judged or pair.second_self_judged for pair in comparison.pairs):
        notes.append(f"{SELF_JUDGED}: self-judged, the model judges its own answers")
    if comparison.judges:
        notes += [
            "alpha: Krippendorff's, interval level, over samples; rho: Spearman's, of the two scores of each sample, "
            "and of the two means of each cell",
            f"bias: the first judge's score minus the second's, of percentages in points; {level} interval: "
            f"Student's t, clustered by image",
        ]
    else:
        notes.append("no two judges graded the same answers in the same metric: agreement is not known")
    if comparison.labels:
        notes += _notes_on_labels(comparison.labels, level)
    if comparison.tournaments:
        notes += _notes_on_tournaments(comparison.tournaments, level)
    if comparison.preferences:
        notes.append(
            "own family: the mean score that the judge gives its own family's answers, or its own, minus the score "
            "expected for answers as good by the other judge; expected: by the line that leads from the other judge's "
            "means of cells to this judge's, with one slope for own and others; positive where it favours its own; "
            "where own answers are better or worse than all others, the line is extended. Of these models alone: a "
            "judge may like one for another reason than kinship. p: sign-flip test, not adjusted"
        )
    if any(one.slope is None for one in comparison.preferences):
        notes.append(
            f"own family {NO_VALUE}: the slope cannot be told; it takes two cells of own or of others that differ "
            f"clearly in quality"
        )
    if any(one.is_mutual for one in comparison.preferences):
        notes.append(f"{MUTUAL}: the others are the other judge's own family, whose preference is in the figure, too")
    if comparison.noises:
        notes.append(
            "repeats: the same judge again on the same answers, with other seeds; repeated answers: the same model "
            "again on the same samples; sd: standard deviation of a cell's mean between single repeats, that of the "
            "printed mean over k repeats being sd / sqrt(k); differ: share of the answers, or samples, whose scores "
            "do; noise: share of the variance of single scores that lies within them (1 - ICC); the model's has in it "
            "what the judge adds"
        )
    return [
        *notes,
        "length: Spearman's rho of the score and the answer's number of words, its interval by Student's t on Fisher's "
        "scale, clustered by image; an answer that says more is longer, too: rho alone is no proof of a bias",
        f"{NO_VALUE}: cannot be said (no sample; fewer than two pictures, or equal differences only, for an interval; "
        "fewer than three samples or equal values only for rho; equal values only for alpha)",
    ]


def _notes_on_labels(labels: LabelCounts, level: str) -> list[str]:
    """Notes on people's labels: what is compared, and which labels are not."""
    notes = [
        f"labels: {labels.num_labels:,} of {labels.path}; accuracy: share of the labelled answers to which the judge "
        f"gives the same, where both say 0 or 1; alpha: Krippendorff's, interval level; bias: the judge's score minus "
        f"the label; {level} intervals, clustered by image; n: labelled answers for which the judge has a score"
    ]
    if labels.num_unmatched:
        notes.append(
            f"{labels.num_unmatched:,} of {labels.num_labels:,} labels are of no answer of these runs, the first: "
            f"{labels.unmatched}"
        )
    if labels.num_empty:
        notes.append(f"lines of {labels.path} without a label: {labels.num_empty:,}")
    return notes


def _notes_on_tournaments(tournaments: Sequence[Tournament], level: str) -> list[str]:
    """Notes on strengths, and on those who have none."""
    notes = [
        f"rating: strength by Bradley and Terry's model, ties as half a win, on Elo's scale: 400 points more are odds "
        f"of 10 to 1, and 1000 is the mean of the table; {level} intervals, clustered by image over all comparisons (n)"
    ]
    for one in tournaments:
        standings, where = one.standings, f"{one.dataset} judged by {one.judge}"
        notes += [
            f"{where}: {', '.join(won)} won every comparison with {', '.join(lost)}, so no finite rating tells how "
            f"much better"
            for won, lost in standings.won_all
        ]
        if len(standings.apart) > 1:
            parts = " | ".join(", ".join(part) for part in standings.apart)
            notes.append(
                f"{where}: no comparison, directly or through others, connects {parts}: ratings hold within each"
            )
        if standings.centre:
            notes.append(
                f"{where}: all are compared with {standings.centre} alone, so ratings say what the win rates say; for "
                f"all pairs sweep the baseline, too: -m model=A,B,C model@judge.baseline=A,B,C"
            )
    return notes


def _notes_on_tests(comparison: Comparison) -> list[str]:
    """Notes on p and its adjustment: over which lines, and with how few pictures they can say nothing."""
    confidence = comparison.confidence
    alpha = f"{1 - confidence:.2g}"
    of_all = comparison.family == "all"
    tested = [pair for pair in comparison.pairs if pair.p_holm is not None]
    sizes = Counter(() if of_all else pair.table for pair in tested)
    lines = f"all {len(tested)} lines of all tables of pairs" if of_all else "the lines of its table, not of all tables"
    notes = [
        f"p: sign-flip test, exact, clustered by image; p (Holm): adjusted for {lines}, so that the chance of any of "
        f"them below {alpha} (bold) without a true difference is at most that"
    ]
    few = min((pair.paired.num_clusters for pair in tested), default=0)
    if tested and few < least_clusters(confidence):
        notes.append(
            f"with fewer than {least_clusters(confidence)} pictures p cannot be below {alpha}: it is at least 2 / 2^n"
        )
    most = max(sizes.values(), default=1)
    if most > 1 and few < (needed := least_clusters(confidence, most)):
        notes.append(
            f"with fewer than {needed} pictures p (Holm) cannot be below {alpha} if all {most} lines that it is "
            f"adjusted for have as few"
        )
    return notes
