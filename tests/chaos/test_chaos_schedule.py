"""Which faults come, how they are counted, and what a chaos run says of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.chaos.deck import MAX_MISSES, Deck, apportion, is_due, with_share
from bench.chaos.rows import Comparison
from bench.chaos.verdict import Verdict
from bench.chaos.weights import IN_BUCKET, ON_DISK

WEIGHTS = st.dictionaries(st.text("abc", min_size=1), st.floats(0.1, 100.0), min_size=1)


@given(WEIGHTS, st.integers(1, 3000))
def test_all_faults_are_shared_out_and_each_kind_comes(weights: dict[str, float], total: int) -> None:
    counts = apportion(total, weights)
    assert sum(counts.values()) == total
    assert len(counts) == min(total, len(weights))
    assert min(counts.values()) >= 1


def test_faults_follow_their_weights() -> None:
    assert apportion(102, {"often": 3.0, "seldom": 1.0}) == {"often": 76, "seldom": 26}
    shared = with_share({"kill": 10.0, "end": 5.0, "stop": 30.0}, ["end"], 0.2)
    assert shared["end"] / sum(shared.values()) == pytest.approx(0.2)
    assert (shared["kill"], shared["stop"]) == (10.0, 30.0)


def test_kinds_have_names_of_their_own() -> None:
    for kinds in (*ON_DISK.values(), IN_BUCKET):
        assert len({kind.name for kind in kinds}) == len(kinds)
    assert len({kind.name for kind in [*ON_DISK["echo"], *IN_BUCKET]}) >= 12


def test_the_same_seed_deals_the_same_faults() -> None:
    counts = {"kill": 5, "stop": 5, "fill": 2}
    dealt = [Deck(counts, Random(seed)).draw(12) for seed in (1, 1, 2)]
    assert dealt[0] == dealt[1] != dealt[2]
    assert Counter(dealt[0]) == counts


def test_a_fault_that_missed_comes_again_and_one_that_always_misses_is_given_up() -> None:
    deck = Deck({"kill": 3, "never": 2}, Random(0))
    drawn: Counter[str] = Counter()
    while deck:
        (kind,) = deck.draw(1)
        drawn[kind] += 1
        deck.settle(kind, is_hit=kind == "kill")
    assert deck.hits == {"kill": 3}
    assert deck.given_up == {"never"}
    assert drawn["never"] == MAX_MISSES


def test_faults_are_spread_over_the_work() -> None:
    assert is_due(0, 10, 0.0)
    assert not is_due(5, 10, 0.39)
    assert is_due(5, 10, 0.4)
    assert is_due(9, 10, 0.72)


def whole(**changes: object) -> Verdict:
    verdict = Verdict(wanted=2, faults=Counter(kill=2), sent=110, needed=100)
    verdict.comparisons = [Comparison(100, 0, 0, 0, 0, ())]
    for name, value in changes.items():
        setattr(verdict, name, value)
    return verdict


def test_promises_that_hold_are_not_called_broken() -> None:
    assert whole().broken() == []
    answer = whole().to_json()
    assert (answer["rows"], answer["lost"], answer["rerun_share"], answer["scores_equal"]) == (100, 0, 0.1, True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"comparisons": [Comparison(100, 1, 0, 0, 0, ("lost: a",))]}, "1 rows are lost"),
        ({"comparisons": [Comparison(100, 0, 2, 0, 0, ())]}, "2 rows are there twice"),
        ({"comparisons": [Comparison(100, 0, 0, 3, 1, ())]}, "4 rows say something else"),
        ({"scores": ["recall is 1 instead of 2"]}, "the scores differ"),
        ({"orphans": ["1 python"]}, "1 processes outlived"),
        ({"groups": ["eibench_ray x"]}, "1 placement groups"),
        ({"hangs": ["run 1"]}, "1 commands hung"),
        ({"unexplained": ["run 1"]}, "1 commands failed although"),
        ({"problems": ["slice"]}, "1 problems are left"),
        ({"sent": 116}, "16% of the requests"),
        ({"faults": Counter(kill=1)}, "only 1 of 2 faults"),
    ],
)
def test_each_broken_promise_is_named(changes: dict[str, object], words: str) -> None:
    (broken,) = whole(**changes).broken()
    assert broken.startswith(words)


def test_each_request_is_counted_even_by_a_process_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, signal\n"
        "from eibench_ray.engines.echo import EchoSection\n"
        "from eibench_ray.ratelimit.admission import LocalRateLimiter\n"
        "from eibench_ray.engines.registry import create_engine\n"
        "from eibench_ray.engines.registry import engine_spec\n"
        "from eibench_ray.plan.engine_traits import Expectation\n"
        "from eibench_ray.rows.request import Request, Sampling\n"
        "import time; assert time.time() > 4e9\n"
        "config = EchoSection(kind='echo')\n"
        "spec = engine_spec('key', 'echo', config, 'cpu', None, 0, Expectation())\n"
        "engine = create_engine(spec, LocalRateLimiter(), None, None)\n"
        "request = Request('s', 'ab12', None, 'why?', (), Sampling(0.0, 1.0, 8), 0)\n"
        "async def ask():\n"
        "    for _ in range(3): await engine.generate(request, ())\n"
        "asyncio.run(ask())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    hook = Path(__file__).parents[2] / "bench" / "chaos" / "hook"
    path = os.pathsep.join([str(hook), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "CHAOS_SENT": str(tmp_path / "sent"), "CHAOS_CLOCK_S": "4e9"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert (tmp_path / "sent").read_bytes() == b"..."
