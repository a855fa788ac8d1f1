"""Tables in GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def format_table(lines: Sequence[Sequence[str]], num_names: int) -> list[str]:
    """The lines of a table whose first line is its head; the first columns are names and stand left."""
    columns = []
    for i, cells in enumerate(zip(*lines, strict=True)):
        safe = [cell.replace("|", r"\|") for cell in cells]
        width = max(2, *map(len, safe))
        head, *body = [cell.ljust(width) if i < num_names else cell.rjust(width) for cell in safe]
        columns.append([head, "-" * width if i < num_names else "-" * (width - 1) + ":", *body])
    return [f"| {' | '.join(line)} |" for line in zip(*columns, strict=True)]
