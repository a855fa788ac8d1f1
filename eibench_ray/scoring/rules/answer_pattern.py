"""Users' regular expressions: what one takes from an answer, within a limit of time."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from eibench_ray.errors import ScoreError

# CPU seconds for one answer; sound patterns take microseconds.
LIMIT_S = 1.0


@lru_cache(maxsize=1024)  # targets can be patterns, too
def compile_pattern(pattern: str, *, ignore_case: bool = False) -> Any:
    """The compiled pattern.

    Raises:
        ValueError: it is no regular expression.
    """
    import regex

    try:
        return regex.compile(pattern, regex.IGNORECASE if ignore_case else 0)
    except regex.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from None


def find_taken(pattern: str, text: str, *, ignore_case: bool = False) -> list[str]:
    """Text that a pattern takes at each place where it matches: its first group that took part, else the whole match.

    Raises:
        ScoreError: it takes longer than `LIMIT_S`.
    """
    try:
        matches = list(compile_pattern(pattern, ignore_case=ignore_case).finditer(text, timeout=LIMIT_S))
    except TimeoutError:
        raise ScoreError(
            f"the pattern {pattern!r} takes more than {LIMIT_S:g} s on a text of {len(text)} characters that begins "
            f"{text[:40]!r}, as nested repeats do: write it without them, and run again: no answer is asked for twice"
        ) from None
    return [next((group for group in found.groups() if group is not None), found[0]) for found in matches]
