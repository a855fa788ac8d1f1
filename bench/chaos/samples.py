"""The dataset of a chaos run: made up from numbers, with a small picture each where the engine looks at them."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.rows.sample import Media, Sample

_TRIGGERS = ("The train left without him.", "Nobody answers.", "It has begun to rain.")
_EMOTIONS = ("happy", "sadness", "angry", "excitement")


def write_samples(folder: Path, num_samples: int, *, has_pictures: bool) -> None:
    """Writes the dataset."""
    with DatasetWriter(folder, "Made up for a chaos run") as writer:
        for number in range(num_samples):
            triggers = _TRIGGERS[: 2 + number % 2]
            sample = Sample(
                f"chaos/{number:07d}",
                {"question": f"Person {number} looks along the rails. Why?"},
                (Media(f"chaos/{number}.png"),) if has_pictures else (),
                triggers,
                {"emotion": _EMOTIONS[number % len(_EMOTIONS)], "source": "chaos"},
            )
            writer.add(sample, [_draw(number)] if has_pictures else ())


def _draw(number: int) -> bytes:
    """A picture of one colour, which few others have."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), (number * 37 % 256, number * 59 % 256, number * 83 % 256)).save(buffer, "PNG")
    return buffer.getvalue()
