"""The promises, judged: what a chaos run came to, as one JSON object, and in words where one is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.chaos.rows import Comparison

# Work that may be done again, as a share of all requests.
MOST_RERUN = 0.15
# Of the faults that were asked for, so many have to hit: the last ones may find that everything is done.
FEWEST_FAULTS = 0.9


@dataclass(slots=True)
class Verdict:
    """Results of one or more storms over the same sweep.

    Attributes:
        wanted: faults that were to hit.
        skipped: kinds that could not come here, and why.
        sent, needed: requests that went to engines, and those that an undisturbed run sends.
        scores: differences of the leaderboards, in words.
        problems: what `fsck` found at the end.
        hangs: what did not end in time.
        unexplained: commands that failed although nothing was done to them.
        codes: exit codes of all commands.
    """

    wanted: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    sent: int = 0
    needed: int = 0
    scores: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)

    @property
    def rerun_share(self) -> float:
        """Requests that were sent beyond those that are needed, as a share of these."""
        return (self.sent - self.needed) / self.needed

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "faults": dict(sorted(self.faults.items())),
            "num_faults": self.faults.total(),
            "num_kinds": len(self.faults),
            "skipped": self.skipped,
            "rows": sum(found.num_rows for found in self.comparisons),
            "lost": sum(found.num_lost for found in self.comparisons),
            "duplicated": sum(found.num_duplicated for found in self.comparisons),
            "different": sum(found.num_different + found.num_strange for found in self.comparisons),
            "scores_equal": not self.scores,
            "orphan_processes": len(self.orphans),
            "leaked_placement_groups": len(self.groups),
            "rerun_share": round(self.rerun_share, 4),
            "hangs": len(self.hangs),
            "unexplained_exits": len(self.unexplained),
            "fsck_problems": len(self.problems),
            "exit_codes": {str(code): count for code, count in sorted(self.codes.items())},
        }

    def broken(self) -> list[str]:
        """The promises that do not hold, in words."""
        answer = self.to_json()
        limits: Mapping[str, str] = {
            "lost": "rows are lost",
            "duplicated": "rows are there twice",
            "different": "rows say something else than in the undisturbed run",
            "orphan_processes": "processes outlived their run",
            "leaked_placement_groups": "placement groups are still held",
            "hangs": "commands hung",
            "unexplained_exits": "commands failed although nothing was done to them",
            "fsck_problems": "problems are left in the store",
        }
        broken = [f"{answer[name]} {words}" for name, words in limits.items() if answer[name]]
        if self.scores:
            broken.append("the scores differ from those of the undisturbed run")
        if self.rerun_share > MOST_RERUN:
            broken.append(f"{self.rerun_share:.0%} of the requests were sent again, more than {MOST_RERUN:.0%}")
        if self.faults.total() < FEWEST_FAULTS * self.wanted:
            broken.append(f"only {self.faults.total()} of {self.wanted} faults hit: ask for more rows or more minutes")
        return broken

    def examples(self, most: int = 5) -> Sequence[str]:
        """Examples of what lies behind that, in words."""
        rows = [example for found in self.comparisons for example in found.examples]
        lists = (rows, self.scores, self.orphans, self.groups, self.problems, self.hangs, self.unexplained)
        return [example for found in lists for example in found[:most]]
