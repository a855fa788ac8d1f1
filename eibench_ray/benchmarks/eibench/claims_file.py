"""The file of claims: figures as they were published, one a line, under the names of the options that ask for them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

from eibench_ray.benchmarks.eibench.claims import Claim
from eibench_ray.errors import DataError

# The figures of "Why We Feel" (arXiv 2504.07521), as the README of github.com/Lum1104/EIBench has them.
PAPER_CLAIMS = Path(__file__).with_name("claims.csv")

_NAMES = ("dataset", "setting", "model", "judge", "emotion", "label", "source")
_COLUMNS = ("dataset", "setting", "model", "judge", "emotion", "recall_percent", "samples", "label", "source")


def read_claims(path: Path = PAPER_CLAIMS) -> list[Claim]:
    """The claims of a CSV file in its order; columns beyond those needed are ignored.

    Raises:
        DataError: it cannot be read, lacks a column, has a line that is no claim or one that was there before, or is
            empty.
    """
    claims: dict[tuple[str, ...], Claim] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            if missing := [name for name in _COLUMNS if name not in (lines.fieldnames or ())]:
                raise DataError(
                    f"{path}: no column {', '.join(missing)}: a file of claims has the columns {', '.join(_COLUMNS)}"
                )
            for line in lines:
                claim = _read_line(line, f"{path}, line {lines.line_num}")
                key = (claim.dataset, claim.setting, claim.model, claim.judge, claim.emotion)
                if claims.setdefault(key, claim) is not claim:
                    raise DataError(f"{path}, line {lines.line_num}: {'/'.join(key)} was claimed before: keep one line")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}): name a CSV file of claims") from error
    if not claims:
        raise DataError(f"{path} claims nothing: name a CSV file with a line per figure")
    return list(claims.values())


def _read_line(line: Mapping[str, str | None], where: str) -> Claim:
    texts = {name: (line[name] or "").strip() for name in _COLUMNS}
    if empty := [name for name in _COLUMNS if not texts[name]]:
        raise DataError(f"{where}: {', '.join(empty)} is empty: fill every column")
    try:
        percent, samples = Decimal(texts["recall_percent"]), int(texts["samples"])
    except (InvalidOperation, ValueError):
        percent, samples = Decimal("NaN"), 0
    if not percent.is_finite() or percent < 0 or samples < 1:
        raise DataError(
            f"{where}: recall_percent {texts['recall_percent']!r} and samples {texts['samples']!r} are no figure: "
            f"write a percentage like 32.09, and the number of samples that it is the mean of"
        )
    return Claim(**{name: texts[name] for name in _NAMES}, percent=percent, samples=samples)
