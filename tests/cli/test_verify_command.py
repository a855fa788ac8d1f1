"""`verify` on a real sweep of the engine that costs nothing, as a user calls it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

HEAD = "dataset,setting,model,judge,emotion,recall_percent,samples,label,source\n"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, run_here: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """A run of one cell, and what it says about itself."""
    cell = ("model=echo", "judge=echo", "dataset=demo", "tracking=none")
    return run_here(tmp_path_factory.mktemp("working"), *cell)


@pytest.fixture
def claims(ran: dict[str, Any], tmp_path: Path) -> Path:
    """Claims about that run: one that is too near to tell, one that is off, and three that it says nothing about."""
    (row,) = ran["rows"]
    figures = [
        ("demo", "user_question", "echo", "echo", "overall", f"{100 * row['value']:.2f}", "24"),
        ("demo", "user_question", "echo", "echo", "happy", "101.00", "6"),
        ("demo", "user_question", "echo", "echo", "angry", "50.00", "600"),
        ("demo", "user_question", "echo", "llama3_8b", "overall", "50.00", "24"),
        ("demo", "user_question_cot", "echo", "echo", "overall", "50.00", "24"),
    ]
    path = tmp_path / "claims.csv"
    path.write_text(HEAD + "".join(",".join([*figure, "Echo", "a test"]) + "\n" for figure in figures))
    return path


STATUSES = ["unverified", "not reproduced", "unverified", "unverified", "unverified"]
REASONS = [
    "",
    "",
    "6 of 600 samples scored, 95% are needed",
    "the run has it judged by echo only",
    "not in the run",
]


def test_programs_read_a_status_per_claim(ran: dict[str, Any], claims: Path, command: Command) -> None:
    called = command("verify", ran["run_dir"], "--claims", claims, "--json")
    assert called.code == 0
    said = called.json
    assert [claim["status"] for claim in said["claims"]] == STATUSES
    assert [claim["outcome"] for claim in said["claims"]] == ["inconclusive", "differs", None, None, None]
    assert [claim["reason"] for claim in said["claims"]] == REASONS
    assert said["counts"] == {"verified": 0, "not reproduced": 1, "unverified": 4}
    (row,) = ran["rows"]
    assert (said["claims"][0]["measured"], said["claims"][0]["interval"]) == (row["value"], row["ci95"])
    assert (said["run_dir"], said["store"]) == (ran["run_dir"], ran["store"])


def test_people_read_the_table_the_rule_and_where_the_files_are(
    ran: dict[str, Any], claims: Path, command: Command
) -> None:
    called = command("verify", ran["run_dir"], "--claims", claims)
    assert called.code == 0
    assert "not reproduced:" in called.out
    assert "verified: the 90% interval of measured minus claimed lies within 5 points" in " ".join(called.out.split())
    assert "false alarms: 2 compared" in called.out
    assert "judged in other words than the published judge's" in called.out
    assert str(Path(ran["run_dir"]) / "verify.csv") in called.out


def test_a_wide_margin_makes_a_wide_interval_agree(ran: dict[str, Any], claims: Path, command: Command) -> None:
    called = command("verify", ran["run_dir"], "--claims", claims, "--margin", "60", "--json")
    assert (called.code, called.json["margin"]) == (0, 0.6)
    first, second, *_ = called.json["claims"]
    assert (first["status"], first["outcome"]) == ("verified", "agrees")
    assert (second["status"], second["outcome"]) == ("not reproduced", "differs")


@pytest.mark.parametrize("margin", ["0", "-1", "100", "nan"])
def test_a_margin_that_is_none_is_refused(ran: dict[str, Any], margin: str, command: Command) -> None:
    called = command("verify", ran["run_dir"], f"--margin={margin}")
    assert called.code == 2
    assert f"--margin {margin}: name the percentage points that do not matter, above 0 and below 100" in called.err


def test_the_files_lie_beside_the_leaderboards(ran: dict[str, Any], claims: Path, command: Command) -> None:
    command("verify", ran["run_dir"], "--claims", claims)
    folder = Path(ran["run_dir"])
    assert {path.name for path in folder.iterdir()} >= {"leaderboard.md", "verify.md", "verify.csv"}
    with (folder / "verify.csv").open() as file:
        assert [line["status"] for line in csv.DictReader(file)] == STATUSES


def test_the_latest_run_is_compared_with_the_paper_where_nothing_is_named(
    ran: dict[str, Any], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(ran["run_dir"]).parents[2])
    called = command("verify", "--json")
    assert called.code == 0
    said = called.json
    assert Path(said["run_dir"]).absolute() == Path(ran["run_dir"])
    assert said["counts"] == {"verified": 0, "not reproduced": 0, "unverified": 336}
    assert said["headline"] == {"rows": 26, "counts": {"verified": 0, "not reproduced": 0, "unverified": 52}}
    assert [one["model"] for one in said["contradictions"]] == ["chatgpt_4v"]


def test_without_a_run_or_without_claims_there_is_an_explanation(
    ran: dict[str, Any], command: Command, tmp_path: Path
) -> None:
    called = command("verify")
    assert (called.code, called.out) == (2, "")
    assert "there is no run below ./multirun or ./outputs" in called.err
    (tmp_path / "empty.csv").write_text(HEAD)
    called = command("verify", ran["run_dir"], "--claims", tmp_path / "empty.csv")
    assert called.code == 2
    assert "claims nothing" in called.err
    assert "Traceback" not in called.err
