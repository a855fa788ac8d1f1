"""A store on a small disk of its own, which can be full, and can refuse writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench.chaos.errors import ChaosError
from bench.chaos.kinds import Kind, Moment, Place, Scene

_MOUNT_TIMEOUT_S = 20.0


class Disk(Place):
    """A folder; where this process may mount, it is a file system in memory.

    Attributes:
        lacks: why it cannot be mounted; None where it is.
    """

    def __init__(self, folder: Path, size_mb: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._size = f"size={size_mb}m"
        self.root = str(folder / "store")
        self.lacks = self._mount(self._size)

    @property
    def steps(self) -> Path:
        """The folder of the steps' folders."""
        return Path(self.root) / "steps"

    def count_slices(self) -> int:
        """Committed slices of all steps."""
        count = 0
        for step in self.steps.iterdir() if self.steps.exists() else ():
            with os.scandir(step) as files:
                count += sum(file.name.startswith("slice-") for file in files)
        return count

    def fetch(self, folder: Path) -> Path:  # noqa: ARG002
        """The store itself."""
        return Path(self.root)

    def fill(self) -> None:
        """Leaves no room for another file."""
        self._until_mounted(lambda: f"remount,size={self._used()}")

    def refuse_writes(self) -> None:
        """Makes it read-only."""
        self._until_mounted(lambda: "remount,ro")

    def restore(self) -> None:
        """As it was at first."""
        self._until_mounted(lambda: f"remount,rw,{self._size}")

    def close(self, keep: Path | None = None) -> None:
        """Takes the file system away; its store is copied before, if it is to be kept."""
        if self.lacks is None:
            if keep is not None:
                shutil.copytree(self.root, keep, dirs_exist_ok=True)
            subprocess.run(["umount", "-l", str(self._folder)], check=False, capture_output=True)

    def _used(self) -> int:
        status = os.statvfs(self._folder)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def _mount(self, options: str) -> str | None:
        """Why it is not mounted; None where it is."""
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return f"{command[0]}: {error.strerror}"
        return done.stderr.strip() or "mount failed" if done.returncode else None

    def _until_mounted(self, options: Callable[[], str]) -> None:
        """Mounts it anew; while somebody writes, that may take a few attempts."""
        deadline = time.monotonic() + _MOUNT_TIMEOUT_S
        while (reason := self._mount(options())) is not None:
            if time.monotonic() > deadline:
                raise ChaosError(f"{self._folder} cannot be mounted anew: {reason}")
            time.sleep(0.02)


class DiskFull(Kind):
    """The store's disk is full until the command has ended."""

    name = "disk_full"
    moment = Moment.ENDING

    def inject(self, scene: Scene) -> bool:
        """Whether the command ended and said why."""
        assert scene.run is not None
        assert isinstance(scene.place, Disk)
        scene.place.fill()
        try:
            code = scene.await_end("the disk was full")
        finally:
            scene.place.restore()
        return code not in (0, None) and "No space left on device" in scene.run.last_words


class ReadOnly(Kind):
    """The store's disk takes no writes until the command has ended."""

    name = "read_only"
    moment = Moment.ENDING

    def inject(self, scene: Scene) -> bool:
        """Whether the command ended and said why."""
        assert scene.run is not None
        assert isinstance(scene.place, Disk)
        scene.place.refuse_writes()
        try:
            code = scene.await_end("the disk was read-only")
        finally:
            scene.place.restore()
        return code not in (0, None) and "Read-only file system" in scene.run.last_words
