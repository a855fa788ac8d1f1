"""Claims and the cells of a run: matched by name, with a reason where there is nothing to compare."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.benchmarks.eibench.claim_check import verify_run
from eibench_ray.benchmarks.eibench.claim_report import Verification
from eibench_ray.benchmarks.eibench.claims import Claim, ClaimStatus
from eibench_ray.runs.results import open_run
from eibench_ray.runs.run_record import new_manifest

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep

NUM_SAMPLES = 10


@pytest.fixture
def asked(sweeps: Sweeps) -> PlannedSweep:
    """One model in two settings under two judges, asked but for the second judge of one setting."""
    sweeps.write_dataset(emotions={0: "angry", 1: "angry"})
    cells = [sweeps.config(judge="echo"), sweeps.config("brief", judge="echo"), sweeps.config(judge="official")]
    sweeps.ask(sweeps.plan(*cells))
    return sweeps.plan(*cells, sweeps.config("brief", judge="official"))


def claim(percent: str = "50.00", emotion: str = "overall", samples: int = NUM_SAMPLES, **names: str) -> Claim:
    chosen = {"dataset": "faces", "setting": "plain", "model": "echo", "judge": "echo"} | names
    return Claim(**chosen, emotion=emotion, percent=Decimal(percent), samples=samples, label="Echo", source="a test")


def verify(
    sweep: PlannedSweep, *claims: Claim, failures: dict[str, str] | None = None, margin: float = 5.0
) -> Verification:
    manifest = new_manifest(sweep.plan, Path("run"), sweep.config.store, sweep.config.score)
    return verify_run(open_run(manifest, sweep.store, failures or {}), claims, margin)


def test_a_claim_is_compared_with_the_cell_of_its_names(asked: PlannedSweep) -> None:
    (probe,) = verify(asked, claim()).checked
    assert probe.measured is not None
    assert probe.measured.value is not None
    right, wrong = f"{100 * probe.measured.value:.2f}", "130.00"
    checked = verify(asked, claim(right), claim(wrong, setting="brief"), margin=45).checked
    assert [one.status for one in checked] == [ClaimStatus.VERIFIED, ClaimStatus.NOT_REPRODUCED]
    assert all(one.measured is not None and one.measured.n == NUM_SAMPLES for one in checked)


def test_emotions_are_compared_with_their_own_samples(asked: PlannedSweep) -> None:
    angry, fear = verify(asked, claim(emotion="angry", samples=2), claim(emotion="fear", samples=2)).checked
    assert angry.measured is not None
    assert angry.measured.n == 2
    assert (fear.status, fear.reason) == (ClaimStatus.UNVERIFIED, "the run's dataset has no sample of fear")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({"model": "llava"}, "not in the run"),
        ({"setting": "cfsa"}, "not in the run"),
        ({"dataset": "other"}, "not in the run"),
        ({"judge": "gpt"}, "the run has it judged by echo, official only"),
        (
            {"judge": "official", "setting": "brief"},
            "no verdict that counts; made up: not asked of official",
        ),
    ],
)
def test_a_claim_without_a_measurement_says_why(asked: PlannedSweep, names: dict[str, str], reason: str) -> None:
    (checked,) = verify(asked, claim(**names)).checked
    assert (checked.status, checked.reason) == (ClaimStatus.UNVERIFIED, reason)


def test_an_engine_that_was_given_up_is_named(asked: PlannedSweep) -> None:
    failures = {"echo": "it did not start\n  in 600 s", "bystander": "no matter"}
    whole, short = verify(asked, claim(), claim(samples=100), failures=failures).checked
    assert whole.comparison is not None
    assert short.reason == "10 of 100 samples scored, 95% are needed; echo failed: it did not start in 600 s"


def test_the_interval_is_the_rules_whatever_the_run_was_configured_for(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    wide, narrow = (sweeps.plan(sweeps.config(judge="echo", score={"confidence": level})) for level in (0.99, 0.5))
    sweeps.ask(wide)
    assert verify(wide, claim()).checked == verify(narrow, claim()).checked


def test_cells_that_no_claim_is_about_are_not_read(asked: PlannedSweep) -> None:
    for cell in asked.plan.cells:
        if cell.setting == "brief":
            asked.store.paths.slice(cell.answer, 0).write_bytes(b"damaged")
    assert len(verify(asked, claim()).checked) == 1


def test_what_the_echo_engine_makes_up_in_anothers_name_is_no_measurement(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(judge="llama3_8b", model={"name": "llava"}))
    sweeps.ask(sweep)
    (checked,) = verify(sweep, claim(model="llava", judge="llama3_8b")).checked
    assert checked.status is ClaimStatus.UNVERIFIED
    assert checked.reason == "made up: not asked of llava and llama3_8b"
    assert checked.measured is not None


def test_other_words_than_the_published_judges_are_remarked_for_compared_cells(asked: PlannedSweep) -> None:
    (remark,) = verify(asked, claim(), claim(judge="official"), claim(model="llava")).remarks
    assert remark == "judged in other words than the published judge's: echo/plain/faces/echo"
    assert verify(asked, claim(model="llava")).remarks == ()


def test_the_claims_are_checked_against_themselves(asked: PlannedSweep) -> None:
    parts = [claim("20.00", "angry", 2), claim("40.00", "happy", 8)]
    assert verify(asked, *parts, claim("36.00")).contradictions == ()
    (found,) = verify(asked, *parts, claim("40.00")).contradictions
    assert found.expected == Decimal("36")
