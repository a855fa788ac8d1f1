"""Text and tables in GitHub's Markdown, in which a name is shown as it is, whatever it is made of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eibench_ray.visible_text import in_line

# Characters that mean something wherever they stand. An underscore within a word, a "<" before a figure or a last
# asterisk alone means nothing, and most names have one: they stay as they are, so that the file is read as text, too.
_MARKS = re.compile(
    r"[\\`\[\]|~]|\$(?=.*\$)|\*(?!\Z)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|<(?=[A-Za-z/!?])|&(?=#|[A-Za-z])"
)
# GitHub makes addresses into links without being told.
_LINKS = re.compile(r"(?<=[A-Za-z]):(?=//)|(?<=www)\.", re.IGNORECASE)


def as_markdown(text: str) -> str:
    r"""The text for a line of Markdown: `as_markdown("a|b")` is `a\|b`, which reads `a|b`."""
    return _LINKS.sub(_escape, _MARKS.sub(_escape, in_line(text)))


def format_table(lines: Sequence[Sequence[str]], num_names: int) -> list[str]:
    """The lines of a table whose first line is its head; the first columns are names and stand left."""
    columns = []
    for i, cells in enumerate(zip(*lines, strict=True)):
        safe = [as_markdown(cell) for cell in cells]
        width = max(2, *map(len, safe))
        head, *body = [cell.ljust(width) if i < num_names else cell.rjust(width) for cell in safe]
        columns.append([head, "-" * width if i < num_names else "-" * (width - 1) + ":", *body])
    return [f"| {' | '.join(line)} |" for line in zip(*columns, strict=True)]


def _escape(found: re.Match[str]) -> str:
    return f"\\{found.group()}"
