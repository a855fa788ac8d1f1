"""The protocol that every engine follows: one request in, one reply out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from eibench_ray.errors import EngineError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply, Request
from eibench_ray.rows.wait import Wait

# Most replies come within it, and it leaves time to end in order (cluster.stop_timeout_s).
PAID_GRACE_S = 10.0


class RowError(Exception):
    """One request failed; the engine lives and the other rows go on."""

    def __init__(self, kind: RowErrorKind, message: str, cost_usd: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.cost_usd = cost_usd  # what it cost all the same; None where it has no price


class EngineDeadError(EngineError):
    """The engine died: nothing can be asked of it any more."""


def no_numbers(dtype: str, num_tokens: int) -> RowError:
    """The error of a row for which a model's logits were no numbers: its tokens are as good as none."""
    return RowError(
        RowErrorKind.ENGINE,
        f"the model's logits are no numbers (NaN) in dtype {dtype}, after {num_tokens} tokens: set engine.dtype of the "
        f"model to bfloat16 or float32",
    )


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """Facts that a started engine reports.

    Attributes:
        grace_s: how long rows in flight are awaited at least when a run is told to stop: they are paid for already.
        row_timeout_s: deadline of one row where the engine's own way of working needs another than the cluster's.
        is_endpoint: whether somebody else computes, unseen: only a row's own deadline tells that it takes too long.
        progress: a count that moves while it computes, also where no row ends; None: it has none but its rows.
    """

    fingerprint: str  # kind, version, device, source and revision in one line; stored with every row
    max_num_seqs: int  # requests that it works on at once
    costs_money: bool = False  # whether its rows are paid for, so that each is committed as it comes
    grace_s: float = 0.0
    row_timeout_s: float | None = None
    is_endpoint: bool = False
    progress: Callable[[], int] | None = None
    waits: Callable[[], Iterable[Wait]] | None = None  # what it waits for now, beside its own work; None: it never does


class Engine(Protocol):
    """Turns chat requests into replies. `start` comes first, `stop` last; `generate` runs many times at once."""

    async def start(self) -> EngineFacts:
        """Loads what is needed.

        Raises:
            EngineError: it cannot start, with what to do.
        """

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        """The reply to one request; `images` are the bytes of its pictures as stored, in the order of `request.images`.

        Raises:
            RowError: this request failed.
            EngineDeadError: the engine died.
            BudgetSpentError: the request may not be sent.
        """

    async def stop(self) -> None:
        """Ends the engine and what it started."""
