"""Private folders in places where all users may write: whose they are, how short they are, and when they go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eibench_ray.errors import ClusterError
from eibench_ray.storage.scratch_folders import (
    KEEP_VARIABLE,
    LOCK_FILE,
    MAX_BASE_BYTES,
    PREFIX,
    Base,
    NotOwnError,
    clear_dead,
    find_base,
    is_trusted_tree,
    own_folder,
    scratch_folder,
)

HOLD = """
import os, sys
from eibench_ray.storage.scratch_folders import scratch_folder
with scratch_folder(os.environ) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""
NOBODY = 65534


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for temporary folders, under a short name."""
    monkeypatch.setattr("eibench_ray.storage.scratch_folders.MAX_BASE_BYTES", 300)
    return tmp_path


def hold(base: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a folder there until its input ends."""
    short = f"import eibench_ray.storage.scratch_folders as s; s.MAX_BASE_BYTES = 300\n{HOLD}"
    process = subprocess.Popen(
        [sys.executable, "-c", short],
        env=os.environ | {"RAY_TMPDIR": str(base)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_private_and_goes_whatever_ends_the_block(base: Path) -> None:
    def work() -> None:
        with scratch_folder({"RAY_TMPDIR": str(base)}) as folder:
            assert folder.parent == base
            assert folder.stat().st_mode & 0o777 == 0o700
            (folder / "session" / "logs").mkdir(parents=True)
            (folder / "session" / "latest").symlink_to(folder / "session")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert list(base.iterdir()) == []


def test_what_a_killed_run_left_goes_when_the_next_one_starts_and_what_a_living_one_has_stays(base: Path) -> None:
    living, kept = hold(base)
    killed, left = hold(base)
    killed.kill()
    killed.communicate()
    assert left.is_dir()
    with scratch_folder({"RAY_TMPDIR": str(base)}):
        assert not left.exists()
        assert kept.is_dir()
    living.communicate("")
    assert list(base.iterdir()) == []


def test_what_is_not_provably_dead_stays(base: Path) -> None:
    for name, host in (("no-host", ""), ("elsewhere", "another-machine")):
        (base / f"{PREFIX}{name}").mkdir(mode=0o700)
        (base / f"{PREFIX}{name}" / LOCK_FILE).write_text(host)
    (base / f"{PREFIX}no-lock").mkdir(mode=0o700)
    used = base / f"{PREFIX}used"
    used.mkdir(mode=0o700)
    (used / LOCK_FILE).write_text(os.uname().nodename)
    user = subprocess.Popen(["sleep", "60"], env={"TMPDIR": str(used), "PATH": os.environ["PATH"]})
    try:
        clear_dead(base)
        assert len(list(base.iterdir())) == 4
    finally:
        user.kill()
        user.wait()
    clear_dead(base)
    assert not used.exists()


def test_a_link_is_neither_followed_nor_removed(base: Path) -> None:
    mine = base / "mine"
    mine.mkdir()
    (mine / LOCK_FILE).write_text(os.uname().nodename)
    (base / f"{PREFIX}link").symlink_to(mine)
    clear_dead(base)
    assert mine.is_dir()
    with pytest.raises(NotOwnError, match="is a link, not a folder of uid"):
        own_folder(base / f"{PREFIX}link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to another user")
def test_what_another_user_has_made_is_not_used(base: Path) -> None:
    theirs = base / "theirs"
    theirs.mkdir()
    (theirs / "weights").write_text("")
    assert is_trusted_tree(theirs)
    os.chown(theirs / "weights", NOBODY, NOBODY)
    assert not is_trusted_tree(theirs)
    os.chown(theirs, NOBODY, NOBODY)
    with pytest.raises(NotOwnError, match=rf"{theirs} is uid {NOBODY}'s, not a folder of uid 0"):
        own_folder(theirs)
    with pytest.raises(ClusterError, match=r"RAY_TMPDIR=.*theirs cannot be used: it belongs to another user"):
        find_base({"RAY_TMPDIR": str(theirs)})


def test_an_own_folder_that_others_may_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    assert own_folder(tmp_path / "open").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("x" * MAX_BASE_BYTES, 0o700, "bytes, and the path of Ray's sockets below it leaves room for 27"),
        ("a b", 0o700, "has blanks or other characters"),
        ("it's", 0o700, "has blanks or other characters"),
        ("o", 0o777, "all users may exchange what is in it"),
    ],
)
def test_a_tmpdir_that_ray_cannot_use_is_named_and_another_taken(name: str, mode: int, reason: str) -> None:
    folder = Path(f"/tmp/t{os.getpid()}{name}")
    folder.mkdir()
    folder.chmod(mode)
    try:
        found = find_base({"TMPDIR": str(folder)})
        assert found.path == Path("/tmp")
        assert found.passed_over.startswith(f"TMPDIR={folder} is not used for Ray (")
        assert reason in found.passed_over
        with pytest.raises(ClusterError) as caught:
            find_base({"RAY_TMPDIR": str(folder)})
        assert f"RAY_TMPDIR={folder} cannot be used: " in str(caught.value)
        assert "export RAY_TMPDIR=/tmp" in str(caught.value)
    finally:
        folder.rmdir()


def test_a_tmpdir_that_is_not_there_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with scratch_folder({"TMPDIR": "/no/such"}) as folder:
        assert folder.parent == Path("/tmp")
    assert "TMPDIR=/no/such is not used for Ray (No such file or directory): using /tmp; RAY_TMPDIR=" in caplog.text
    assert find_base({}) == Base(Path("/tmp"))


def test_it_stays_where_somebody_wants_to_look_into_it(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    with scratch_folder({"RAY_TMPDIR": str(base), KEEP_VARIABLE: "1"}) as kept:
        (kept / "log").write_text("")
    clear_dead(base)
    assert (kept / "log").exists()
    assert f"what is in {kept} stays there until you remove it" in caplog.text
