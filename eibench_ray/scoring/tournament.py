"""Tournaments: who is better, from all cells of a dataset whose judge compared answers of two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eibench_ray.scoring.bradley_terry import Duel, Standings, fit_strengths
from eibench_ray.scoring.scored_cell import ScoredCell

_FEWEST_PLAYERS = 3  # of two, the win rate says it all


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model in a setting, whose answers were compared.

    Attributes:
        judges: of the cells that hold its answers against others', by the names that they have there.
    """

    model: str
    setting: str
    judges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tournament:
    """The standings of all whom one judge compared on a dataset.

    Attributes:
        contestants: by their names in the standings: the model, with its setting where there are several.
    """

    dataset: str
    judge: str  # its name without a baseline's
    contestants: dict[str, Contestant]
    standings: Standings


def find_tournaments(cells: Sequence[ScoredCell], confidence: float) -> list[Tournament]:
    """The tournament of each judge that compared at least three, in the order of the cells.

    Two cells that are each other's baseline have the same verdicts, which count once.
    """
    judges = dict.fromkeys(cell.contest.judge for cell in cells if cell.contest)
    found = (
        _hold([cell for cell in cells if cell.contest and cell.contest.judge == judge], confidence) for judge in judges
    )
    return [one for one in found if one is not None]


def _hold(cells: Sequence[ScoredCell], confidence: float) -> Tournament | None:
    known: dict[str, Contestant] = {}
    for cell in cells:
        judges = known[cell.answers].judges if cell.answers in known else ()
        known[cell.answers] = Contestant(cell.model, cell.setting, (*judges, cell.judge))
    for cell in cells:
        if (contest := cell.contest) and contest.answers not in known:
            known[contest.answers] = Contestant(contest.model, contest.setting, ())
    if len(known) < _FEWEST_PLAYERS:
        return None
    has_settings = len({one.setting for one in known.values()}) > 1
    names = {key: f"{one.model} ({one.setting})" if has_settings else one.model for key, one in known.items()}
    contests = {cell.contest.verdicts: cell for cell in reversed(cells) if cell.contest}
    duels = []
    for cell in reversed(contests.values()):
        is_scored = ~np.isnan(cell.values)
        other = names[cell.contest.answers] if cell.contest else ""
        duels.append(Duel(names[cell.answers], other, cell.values[is_scored], cell.clusters[is_scored]))
    first = cells[0]
    return Tournament(
        first.dataset,
        first.contest.judge if first.contest else first.judge,
        {names[key]: one for key, one in known.items()},
        fit_strengths(duels, confidence),
    )
