"""Faults that lie in wait for the next command: damaged files, half-written ones, a clock that jumped."""

from __future__ import annotations

import secrets
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.chaos.disks import Disk
from bench.chaos.kinds import Kind, Moment, Scene


def _pick_slice(scene: Scene) -> Path | None:
    """A committed slice of some step that has rows; None where a few that are looked at have none."""
    assert isinstance(scene.place, Disk)
    steps = sorted(path for path in scene.place.steps.iterdir() if any(path.glob("slice-*.parquet")))
    for _ in range(10) if steps else ():
        slice_ = scene.random.choice(sorted(scene.random.choice(steps).glob("slice-*.parquet")))
        rows = _read(slice_.read_bytes())
        if rows is not None and rows.num_rows:
            return slice_
    return None


class _Damage(Kind):
    """A slice is spoilt while no command runs; `fsck --repair` moves it away, and its rows are asked again."""

    moment = Moment.BETWEEN

    def __init__(self) -> None:
        self._spoilt: Path | None = None

    def spoil(self, content: bytes, scene: Scene) -> bytes:
        """The content, spoilt."""
        raise NotImplementedError

    def inject(self, scene: Scene) -> bool:
        """Whether a file was spoilt."""
        self._spoilt = _pick_slice(scene)
        if self._spoilt is None:
            return False
        self._spoilt.write_bytes(self.spoil(self._spoilt.read_bytes(), scene))
        return True

    def confirm(self, scene: Scene) -> bool:
        """Whether `fsck --repair`, which ran meanwhile, has moved it away."""
        assert self._spoilt is not None
        damaged = Path(scene.place.root) / "damaged" / self._spoilt.parent.name
        return any(damaged.glob(f"{self._spoilt.stem}*"))


class Truncated(_Damage):
    """The end of a slice's file is missing."""

    name = "truncated_slice"

    def spoil(self, content: bytes, scene: Scene) -> bytes:
        """Its beginning."""
        return content[: scene.random.randrange(len(content))]


class FlippedBit(_Damage):
    """A bit in a page of a slice's file is another one."""

    name = "flipped_bit"

    def spoil(self, content: bytes, scene: Scene) -> bytes:
        """The content with one bit flipped, before the footer; one that is in use, as some statistics are not."""
        end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        rows = _read(content)
        while True:
            spoilt = bytearray(content)
            spoilt[scene.random.randrange(4, end)] ^= 1 << scene.random.randrange(8)
            if (now := _read(bytes(spoilt))) is None or not now.equals(rows):
                return bytes(spoilt)


def _read(content: bytes) -> pa.Table | None:
    """A slice's rows; None where they cannot be read."""
    try:
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
            return file.read(use_threads=False)
    except (OSError, pa.ArrowException):
        return None


class HalfWritten(Kind):
    """Remains of a write that was killed: half a file beside its final name."""

    name = "half_written_file"
    moment = Moment.BETWEEN

    def __init__(self) -> None:
        self._left: Path | None = None

    def inject(self, scene: Scene) -> bool:
        """Whether it lies there, in the step that has the fewest slices."""
        assert isinstance(scene.place, Disk)
        steps = sorted(scene.place.steps.iterdir(), key=lambda path: sum(1 for _ in path.iterdir()))
        example = _pick_slice(scene)
        if not steps or example is None:
            return False
        self._left = steps[0] / f".{example.name}.{secrets.token_hex(4)}.tmp"
        self._left.write_bytes(example.read_bytes()[: scene.random.randrange(1, 2000)])
        return True

    def confirm(self, scene: Scene) -> bool:  # noqa: ARG002
        """Whether the command has cleared it away."""
        return self._left is not None and not self._left.exists()


class ClockJump(Kind):
    """The clock of the next command's machine is hours off, those of its replicas are not."""

    name = "clock_jump"
    moment = Moment.BETWEEN
    _HOURS = (-30, -5, 5, 30)

    def inject(self, scene: Scene) -> bool:
        """Shifts it."""
        scene.clock_s = 3600.0 * scene.random.choice(self._HOURS)
        return True

    def confirm(self, scene: Scene) -> bool:
        """Whether the command's ledger is that far off."""
        assert scene.run is not None
        first = next(iter(scene.run.events), None)
        began = scene.run.folder.stat().st_ctime
        return first is not None and abs(first["time"] - began) > 3600.0
