"""Writes a stand-in picture for every picture that EIBench's annotations name.

EIBench's pictures are licensed on their own (EmoSet-118K, CAER-S). With these stand-ins, all of its samples can be
prepared and run without them: `python scripts/standin_images.py --source CLONE --out DIR`, then
`eibench-ray prepare eibench --source CLONE --images DIR --out DATA`. The answers mean nothing, the load is real.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from PIL import Image, ImageDraw

from eibench_ray.benchmarks.eibench.annotation_files import read_basic, read_complex
from eibench_ray.datasets.picture_files import split_path
from eibench_ray.datasets.problems import Problems


def draw_standin(path: str, size: int) -> Image.Image:
    """A picture in colours that follow from its path, so that two of them differ."""
    seed = hashlib.blake2b(path.encode(), digest_size=16).digest()
    image = Image.new("RGB", (size, size), (seed[0], seed[1], seed[2]))
    draw = ImageDraw.Draw(image)
    for corner in range(3, 12, 3):
        x, y = seed[corner] * size // 256, seed[corner + 1] * size // 256
        draw.ellipse(
            (x - size // 6, y - size // 6, x + size // 6, y + size // 6), (seed[corner + 2], seed[15], seed[corner])
        )
    return image


def write_standins(source: Path, out: Path, size: int) -> int:
    """Writes pictures below `out` and returns their number; those that are there already stay."""
    problems = Problems()
    samples = [*read_basic(source, problems), *read_complex(source, problems)]
    problems.raise_any(source)
    num_written = 0
    for path in sorted({media.path for sample in samples for media in sample.media}):
        file = out.joinpath(*split_path(path))
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            draw_standin(path, size).save(file)  # the format follows from the name
            num_written += 1
    return num_written


def main() -> None:
    """Writes as the command line says."""
    parser = argparse.ArgumentParser(description="Write stand-in pictures for EIBench's annotations.")
    parser.add_argument("--source", type=Path, required=True, help="a clone of EIBench")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--size", type=int, default=96, help="width and height in pixels (default: 96)")
    args = parser.parse_args()
    print(f"{write_standins(args.source, args.out, args.size)} pictures written to {args.out}")


if __name__ == "__main__":
    main()
