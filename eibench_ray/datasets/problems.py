"""Collects what is wrong with a source, so that the user sees all of it at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Sample
from eibench_ray.visible_text import shorten

SHOWN_PER_KIND = 20


class ProblemKind(StrEnum):
    """A kind of problem; the value is how the message calls it."""

    MALFORMED = "malformed"
    DUPLICATE = "named twice"
    NO_TARGET = "sample without target"
    ESCAPED = "path that leaves the picture folders"
    MISSING = "picture not found"


REMEDIES = {
    ProblemKind.MALFORMED: "correct the malformed rows",
    ProblemKind.DUPLICATE: "keep one of each that is named twice",
    ProblemKind.NO_TARGET: "add the targets (jsonl, parquet and hf do without them: --unlabelled)",
    ProblemKind.ESCAPED: "write paths that stay in an --images folder; a link's target can be one itself",
    ProblemKind.MISSING: "pass the folders with the pictures as --images, or --allow-missing-images to leave these out",
}


class Problems:
    """Problems by kind, in the order in which they were met."""

    def __init__(self) -> None:
        self._found: dict[ProblemKind, list[str]] = {kind: [] for kind in ProblemKind}
        self._counts: Counter[ProblemKind] = Counter()

    def add(self, kind: ProblemKind, where: str) -> None:
        """Notes one problem; `where` names the place and the value."""
        self._counts[kind] += 1
        if self._counts[kind] <= SHOWN_PER_KIND:
            self._found[kind].append(shorten(where))

    def count(self, kind: ProblemKind) -> int:
        """Number of problems of a kind."""
        return self._counts[kind]

    def raise_any(self, source: object, ignore: Iterable[ProblemKind] = ()) -> None:
        """Nothing, if there is no problem of a kind that is not ignored.

        Raises:
            DataError: one paragraph with every kind, its count, and the first 20 of each.
        """
        met = [kind for kind in ProblemKind if self._counts[kind] and kind not in ignore]
        if not met:
            return
        parts = "; ".join(
            f"{kind}, {self.count(kind)}: {_enumerate(self._found[kind], self.count(kind))}" for kind in met
        )
        remedies = ", ".join(REMEDIES[kind] for kind in met)
        raise DataError(f"nothing was prepared from {source}: {parts}. To do: {remedies}.")


class SampleCheck:
    """Tells which samples of one source can be used, and notes why the others cannot.

    Args:
        problems: where it is noted.
        needs_target: False where samples are still to be labelled.
    """

    def __init__(self, problems: Problems, *, needs_target: bool = True) -> None:
        self.asked = "question"  # the input that every sample must have
        self._problems = problems
        self._needs_target = needs_target
        self._places: dict[str, str] = {}

    def accept(self, where: str, sample: Sample) -> bool:
        """Whether a sample is whole and the first with its id; `where` is its place in the source."""
        seen = self._places.setdefault(sample.sample_id, where)
        named = f"{where} ({shorten(sample.sample_id)})"
        if not sample.inputs.get(self.asked, "").strip():
            self._problems.add(ProblemKind.MALFORMED, f"{named}: the {self.asked} is not there, empty, or no text")
        elif not _is_unicode(sample):
            self._problems.add(ProblemKind.MALFORMED, f"{named}: its texts cannot be written in UTF-8")
        elif seen != where:
            self._problems.add(ProblemKind.DUPLICATE, f"{named}, as in {seen}")
        elif self._needs_target and sample.target is None:
            self._problems.add(ProblemKind.NO_TARGET, named)
        else:
            return True
        return False


def _is_unicode(sample: Sample) -> bool:
    """Whether every text can be stored: JSON lets half of a surrogate pair through, UTF-8 does not."""
    paths = (media.path for media in sample.media)
    try:
        "".join((sample.sample_id, *sample.inputs.values(), *sample.targets, *paths, str(sample.metadata))).encode()
    except UnicodeEncodeError:
        return False
    return True


def _enumerate(places: list[str], count: int) -> str:
    rest, shown = count - len(places), ", ".join(places)
    return f"{shown}, and {rest} more" if rest > 0 else shown
