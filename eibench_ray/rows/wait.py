"""A wait of a run, in words for people."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

# What passes sooner is not worth a word.
SHOWN_AFTER_S = 2.0
# From here on hours are read more easily than seconds.
_LONG_S = 7200.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that is waited for.

    Attributes:
        about: what is the same while the reason changes, such as a text that names the row; "": the reason says it.
    """

    reason: str  # why it is not there, or what is done meanwhile: "connection refused by 127.0.0.1:1"
    waited_s: float  # seconds since the wait began
    limit_s: float | None = None  # seconds after which it is given up; None: there is no limit, or nobody knows it
    who: str = ""  # the model that waits; "": the whole run
    about: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Equal for waits that are one and the same."""
        return self.who, self.about or self.reason

    def __str__(self) -> str:
        limit = "" if self.limit_s is None or math.isinf(self.limit_s) else f" of {_duration(self.limit_s)}"
        who = f" ({self.who})" if self.who else ""
        return f"waiting: {self.reason} for {_duration(self.waited_s)}{limit}{who}"


def gather_waits(waits: Iterable[Wait]) -> tuple[Wait, ...]:
    """The waits that are worth a word, the longest first; what several replicas of a model wait for is one wait."""
    longest: dict[tuple[str, str], Wait] = {}
    for wait in waits:
        known = longest.get(wait.key)
        if wait.waited_s >= SHOWN_AFTER_S and (known is None or known.waited_s < wait.waited_s):
            longest[wait.key] = wait
    return tuple(sorted(longest.values(), key=lambda wait: -wait.waited_s))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _LONG_S else f"{seconds / 3600:.1f} h"
