"""CSV files that a spreadsheet opens as data: no text in them is a formula, and none acts on a terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    import polars as pl

# Where a spreadsheet begins to compute: at the start of a cell, past spaces and marks of quotation, in full width too;
# and behind a semicolon, which separates cells where the comma separates decimals.
_FORMULA = re.compile(r"""(?:^|(?<=;))(?=[\s"']*[=+\-@\uff1d\uff0b\uff0d\uff20])""")


def as_cell(text: str) -> str:
    """The text of a cell: an apostrophe before what would be a formula has spreadsheets show it as it is."""
    return _FORMULA.sub("'", in_line(text))


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """Writes the frame, its texts as cells that are no formulas; the Parquet file beside it has them as they are."""
    import polars as pl

    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    shown = frame.with_columns(pl.col(name).map_elements(as_cell, return_dtype=pl.String) for name in texts)
    shown.write_csv(path)
