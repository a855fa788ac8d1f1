"""A slice's file while a task works on it: what somebody else commits there meanwhile is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from eibench_ray.rows.completion import Completion
from eibench_ray.store.slice_store import Store


class SliceFile:
    """One slice's file. Nobody else should write it: a lease sees to that, as far as leases go (`store.leases`).

    Attributes:
        rows: what it holds as far as is known, by sample id.
    """

    def __init__(self, store: Store, step_id: str, index: int) -> None:
        self._store = store
        self._place = (step_id, index)
        self._stamp = store.stamp(step_id, index)
        self.rows: Mapping[str, Completion] = store.read_slice(step_id, index)

    def read_news(self) -> dict[str, Completion]:
        """The rows that somebody else has committed since; in nearly all cases one look at the file's stamp."""
        if (stamp := self._store.stamp(*self._place)) == self._stamp:
            return {}
        self._stamp = stamp
        before, self.rows = self.rows, self._store.read_slice(*self._place)
        return {sample_id: row for sample_id, row in self.rows.items() if row != before.get(sample_id)}

    def write(self, rows: Sequence[Completion], *, num_asked: int, made_from: str | None) -> None:
        """Commits rows, as `Store.write_slice` does."""
        self._stamp = self._store.write_slice(*self._place, rows, num_asked=num_asked, made_from=made_from)
        self.rows = {row.sample_id: row for row in rows}


def settle(mine: Completion, other: Completion) -> Completion:
    """Of two rows of a sample that were made at the same time, the one that stands; it carries what both have cost."""
    stands = other if _doubt(other) < _doubt(mine) else mine
    costs = [row.cost_usd for row in (mine, other) if row.cost_usd is not None]
    return replace(stands, cost_usd=sum(costs) if costs else None)


def _doubt(row: Completion) -> int:
    """Rank of a row's doubt: an answer is worth more than its engine's death, and that more than a passing error."""
    return 2 if row.is_transient_error else int(row.is_quarantined)
