"""Which fault comes when: so many of each kind, shuffled by a seed. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from random import Random

# A kind that misses this often in a row is left out from then on.
MAX_MISSES = 8


def apportion(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Number of faults of each kind that make up the total, by weights; at least one of each, as far as it goes."""
    kinds = list(weights)[:total]
    left = total - len(kinds)
    whole = sum(weights[kind] for kind in kinds)
    exact = {kind: left * weights[kind] / whole for kind in kinds}
    counts = {kind: 1 + math.floor(share) for kind, share in exact.items()}
    by_remainder = sorted(kinds, key=lambda kind: math.floor(exact[kind]) - exact[kind])
    for kind in by_remainder[: total - sum(counts.values())]:
        counts[kind] += 1
    return counts


def with_share(weights: Mapping[str, float], chosen: Collection[str], share: float) -> dict[str, float]:
    """The weights, with those of the chosen kinds changed so that they are such a share of all."""
    theirs = sum(weight for kind, weight in weights.items() if kind in chosen)
    others = sum(weights.values()) - theirs
    factor = share / (1 - share) * others / theirs if theirs else 1.0
    return {kind: weight * (factor if kind in chosen else 1.0) for kind, weight in weights.items()}


class Deck:
    """Kinds of faults that are still to come, of one moment; what missed goes back.

    Attributes:
        hits: how often each kind has hit.
        given_up: kinds that missed too often.
    """

    def __init__(self, counts: Mapping[str, int], random: Random) -> None:
        self._cards = [kind for kind, count in counts.items() for _ in range(count)]
        self._random = random
        random.shuffle(self._cards)
        self._misses: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.given_up: set[str] = set()

    def __len__(self) -> int:
        return len(self._cards)

    def draw(self, most: int) -> Sequence[str]:
        """The next ones, taken out."""
        drawn, self._cards = self._cards[:most], self._cards[most:]
        return drawn

    def settle(self, kind: str, *, is_hit: bool) -> None:
        """Notes what became of one that was drawn; one that missed comes again later."""
        if is_hit:
            self.hits[kind] += 1
            self._misses[kind] = 0
            return
        self._misses[kind] += 1
        if self._misses[kind] >= MAX_MISSES:
            self.given_up.add(kind)
            self._cards = [card for card in self._cards if card != kind]
        else:
            self._cards.insert(self._random.randint(0, len(self._cards)), kind)

    def put_back(self, kind: str) -> None:
        """Returns one that was drawn and not tried."""
        self._cards.insert(0, kind)


def is_due(num_hits: int, num_faults: int, share_done: float, until: float = 0.8) -> bool:
    """Whether the next fault may come: faults are spread over the work, so that some of it lies between them.

    Args:
        num_hits: faults so far.
        num_faults: all.
        share_done: of the work, in [0, 1].
        until: the share of the work by which the last one comes.
    """
    return share_done >= until * num_hits / num_faults
