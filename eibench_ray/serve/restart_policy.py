"""How often a server that dies is started again. Pure."""

from __future__ import annotations

# Before the first, second and third start after a death.
PAUSES_S = (1.0, 5.0, 25.0)
# Who served for so long is forgiven what was before.
STEADY_S = 600.0


class RestartPolicy:
    """The deaths of a server, and what follows from them.

    Attributes:
        num_deaths: in a row.
    """

    def __init__(self) -> None:
        self.num_deaths = 0

    def died(self, served_s: float) -> float | None:
        """Seconds to wait before it is started again, now that it served for so long; None: it has died too often."""
        self.num_deaths = 1 if served_s >= STEADY_S else self.num_deaths + 1
        return PAUSES_S[self.num_deaths - 1] if self.num_deaths <= len(PAUSES_S) else None
