"""A run's folder is its own: of several runs that want it each gets another, and what is there is not touched."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eibench_ray.errors import StoreError
from eibench_ray.store.run_folder import RECORDS, RUN_FILE, take_folder


def test_a_free_folder_is_made_with_its_record(tmp_path: Path) -> None:
    claimed = take_folder(tmp_path / "multirun/day/time", b"first")
    assert (claimed.path, claimed.is_other) == (tmp_path / "multirun/day/time", False)
    assert (claimed.path / RUN_FILE).read_bytes() == b"first"
    assert [path.name for path in claimed.path.iterdir()] == [RUN_FILE]
    assert claimed.made == tuple(tmp_path / name for name in ("multirun/day/time", "multirun/day", "multirun"))


@pytest.mark.parametrize("record", RECORDS)
def test_a_folder_with_any_record_of_a_run_is_left_as_it_is(tmp_path: Path, record: str) -> None:
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / record).write_text("an earlier run's")
    claimed = take_folder(tmp_path / "paper", b"mine")
    assert (claimed.path, claimed.is_other) == (tmp_path / "paper-2", True)
    assert take_folder(tmp_path / "paper", b"mine").path == tmp_path / "paper-3"
    assert [path.name for path in (tmp_path / "paper").iterdir()] == [record]
    assert (tmp_path / "paper" / record).read_text() == "an earlier run's"


def test_a_folder_with_other_files_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "job-12.log").write_text("SLURM's")
    assert take_folder(tmp_path, b"mine").path == tmp_path


def test_of_many_at_the_same_moment_each_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """In processes of their own, as runs are, and in threads."""
    line = (
        "import sys; from pathlib import Path; from eibench_ray.store.run_folder import take_folder\n"
        "sys.stdin.readline(); print(take_folder(Path(sys.argv[1]), sys.argv[2].encode()).path)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", line, tmp_path / "same", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    with ThreadPoolExecutor(16) as pool:
        claimed = list(pool.map(lambda number: take_folder(tmp_path / "same", str(number).encode()), range(4, 36)))
    paths = {int((one.path / RUN_FILE).read_bytes()): one.path for one in claimed}
    for number, process in enumerate(processes):
        paths[number] = Path(process.communicate()[0].strip())
        assert (paths[number] / RUN_FILE).read_text() == str(number)
    assert set(paths) == set(range(36))
    assert {path.name for path in paths.values()} == {"same", *(f"same-{number}" for number in range(2, 37))}
    assert not list(tmp_path.rglob(".*")), "no draft is left"


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    assert take_folder(tmp_path / "paper", b"one").path == tmp_path / "paper"
    assert take_folder(tmp_path / "paper", b"two").path == tmp_path / "paper-2"
    assert (tmp_path / "paper" / RUN_FILE).read_bytes() == b"one"


def test_without_hard_links_too_a_folder_that_is_taken_at_the_same_moment_is_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path, target: Path) -> None:
        if target.parent.name == "paper":
            target.write_bytes(b"another's")
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    assert take_folder(tmp_path / "paper", b"mine").path == tmp_path / "paper-2"
    assert (tmp_path / "paper" / RUN_FILE).read_bytes() == b"another's"


def test_over_nfs_a_link_that_was_made_may_be_said_not_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def lose_the_answer(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError

    monkeypatch.setattr(os, "link", lose_the_answer)
    assert take_folder(tmp_path / "paper", b"one").path == tmp_path / "paper"


def test_what_was_made_for_a_run_that_is_refused_is_removed_and_nothing_else(tmp_path: Path) -> None:
    claimed = take_folder(tmp_path / "multirun/day/time", b"mine")
    (claimed.path / ".hydra").mkdir()
    claimed.withdraw(".hydra")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "paper").mkdir()
    for name in ("notes.md", "multirun.yaml"):
        (tmp_path / "paper" / name).write_text("the user's")
    claimed = take_folder(tmp_path / "paper", b"mine")
    (claimed.path / ".hydra").mkdir()
    (claimed.path / "run.log").write_text("refused")
    claimed.withdraw(".hydra")
    assert {path.name for path in (tmp_path / "paper").iterdir()} == {"notes.md", "multirun.yaml"}


def test_a_folder_that_cannot_be_made_is_one_paragraph_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/run cannot be written \(Not a directory\)"):
        take_folder(tmp_path / "file" / "run", b"mine")
    with pytest.raises(StoreError, match=r"file cannot be written .*is a file"):
        take_folder(tmp_path / "file", b"mine")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
