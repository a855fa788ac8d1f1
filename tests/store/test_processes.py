"""Whether a process lives: what cannot be seen is not dead. With a `/proc` that really hides what is another user's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eibench_ray.store.processes import Life, _judge, find_life, this_kernel, this_process
from eibench_ray.store.slice_store import Store

HOLDER = """
import sys, time
from eibench_ray.store.held_lease import hold
from eibench_ray.store.slice_store import Store
with hold(Store(sys.argv[1]), "first", ["a"], renew_s=float(sys.argv[2])):
    print("held", flush=True)
    time.sleep(120)
"""
# The other user's run, behind a /proc that hides the first one's process: what becomes of its claim.
RIVAL = """
import os, sys
from eibench_ray.errors import StoreError
from eibench_ray.store.held_lease import hold
from eibench_ray.store.leases import LeaseFolder
from eibench_ray.store.slice_store import Store
store = Store(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
(lease,) = LeaseFolder(store).read()
print(os.path.exists(f"/proc/{lease.pid}"), lease.life, flush=True)
try:
    with hold(store, "second", ["a"], expire_s=float(sys.argv[2])):
        print("took over")
except StoreError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize(
    ("exists", "seen", "life"),
    [
        (False, None, Life.DEAD),
        (False, 7, Life.DEAD),
        (True, 7, Life.ALIVE),
        (True, 8, Life.DEAD),
        (True, -1, Life.DEAD),
        (True, None, Life.UNKNOWN),
    ],
    ids=["gone", "gone since it was seen", "itself", "its number reused", "a zombie", "hidden"],
)
def test_what_the_kernel_and_proc_say_of_a_process(exists: bool, seen: int | None, life: Life) -> None:
    process = replace(this_process(), started=7)
    assert _judge(process, lambda _: exists, lambda _: seen) is life


def test_this_process_lives_and_one_of_elsewhere_is_unknown() -> None:
    own = this_process()
    assert find_life(own) is Life.ALIVE
    assert find_life(replace(own, started=own.started + 1)) is Life.DEAD
    for elsewhere in ({"kernel": "another boot"}, {"kernel": ""}, {"pid": 0}, {"pid": -1}):
        assert find_life(replace(own, **elsewhere)) is Life.UNKNOWN


def test_a_kernel_is_its_boot_and_the_namespaces_in_which_processes_count() -> None:
    boot, *spaces = this_kernel().split()
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    there = [name for name in ("pid", "time") if Path(f"/proc/self/ns/{name}").exists()]
    assert spaces == [str(Path(f"/proc/self/ns/{name}").readlink()) for name in there]
    assert spaces[0].startswith("pid:[")


def test_a_child_that_has_ended_is_dead_before_and_after_it_is_waited_for() -> None:
    line = "from eibench_ray.store.processes import this_process as t; p = t(); print(p.pid, p.started, flush=True)"
    with subprocess.Popen([sys.executable, "-c", line], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        pid, started = map(int, child.stdout.readline().split())
        there = replace(this_process(), pid=pid, started=started)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert find_life(there) is Life.DEAD
    assert find_life(there) is Life.DEAD


@pytest.fixture
def shared_store() -> Iterator[Store]:
    """A store that another user can write, too."""
    folder = Path("/tmp") / f"eibench-store-{os.getpid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    yield Store(folder)
    shutil.rmtree(folder)


def behind_hidepid(script: str, *arguments: object) -> str:
    """Output of a script, as another user, where /proc hides this one's processes."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can mount a /proc that hides processes")
    # A /proc of its own: to mount this one again with other options would change it for the whole machine.
    mount = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    line = ["unshare", "-m", "--propagation", "private", "sh", "-c", mount, "sh", sys.executable, "-c", script]
    done = subprocess.run([*line, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode and "mount" in done.stderr:
        pytest.skip(f"/proc cannot be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("is_renewed", [True, False])
def test_a_run_of_another_user_that_proc_hides_is_watched(shared_store: Store, is_renewed: bool) -> None:
    renew_s = 0.1 if is_renewed else 1000
    before = os.umask(0)
    try:
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, shared_store.root, str(renew_s)], stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            try:
                told = behind_hidepid(RIVAL, shared_store.root, 3 if is_renewed else 0.5)
            finally:
                holder.kill()
    finally:
        os.umask(before)
    seen, outcome = told.splitlines()
    assert seen == "False unknown"
    assert outcome.startswith("refused:" if is_renewed else "took over"), outcome
