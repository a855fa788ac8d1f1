"""EIBench's two subsets as datasets: annotations from a clone, pictures from the folders of EmoSet-118K and CAER-S."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from eibench_ray.benchmarks.eibench.annotation_files import read_basic, read_complex
from eibench_ray.benchmarks.eibench.published_prompts import read_official
from eibench_ray.datasets.picture_files import EscapedPathError, PictureFolders, read_picture
from eibench_ray.datasets.problems import ProblemKind, Problems
from eibench_ray.datasets.writer import DatasetWriter, OnRow, PreparedReport, ignore_rows
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Sample

Subset = Literal["basic", "complex", "both"]

_READERS = {"basic": read_basic, "complex": read_complex}


def prepare_eibench(
    source: Path,
    images: Sequence[Path],
    out: str | Path,
    subset: Subset = "both",
    allow_missing_images: bool = False,
    on_row: OnRow = ignore_rows,
) -> PreparedReport:
    """Writes OUT/eibench_basic and OUT/eibench_complex, or one of them, and reports what was written.

    Everything is checked before anything is written, and each dataset appears whole or not at all.

    `source` is a clone of EIBench, a folder above one, or a folder with the annotation files side by side. Pictures are
    looked up under `images` in their order; with `allow_missing_images`, samples without one are left out and counted.

    Raises:
        DataError: the source or a picture folder is not there, or rows cannot be used: all of them in one message.
    """
    if not source.is_dir():
        raise DataError(f"--source {source} is not a folder: pass a clone of EIBench")
    folders = PictureFolders(images)
    problems = Problems()
    names = [name for name in _READERS if subset in (name, "both")]
    samples = {name: _READERS[name](source, problems) for name in names}
    located = {name: _locate(samples[name], folders, problems) for name in names}
    problems.raise_any(source, ignore={ProblemKind.MISSING} if allow_missing_images else set())
    protocol, notes = read_official(source)
    total = sum(len(rows) for rows in located.values())
    done = 0
    with ExitStack() as stack:
        writers = {}
        for name in names:
            writer = DatasetWriter(f"{str(out).rstrip('/')}/eibench_{name}", f"EIBench {name}", protocol)
            writer.left_out = len(samples[name]) - len(located[name])
            writers[name] = stack.enter_context(writer)
        for name, writer in writers.items():
            for sample, file in located[name]:
                writer.add(sample, [read_picture(file)])
                done += 1
                on_row(done, total)
    notes += tuple(f"{name}: {note}" for name, writer in writers.items() for note in writer.notes)
    return PreparedReport(tuple((writer.path, writer.card) for writer in writers.values()), notes)


def _locate(samples: list[Sample], folders: PictureFolders, problems: Problems) -> list[tuple[Sample, Path]]:
    """The samples whose picture was found, with its file."""
    located = []
    for sample in samples:
        [path] = (media.path for media in sample.media)
        try:
            file = folders.find(path)
        except EscapedPathError:
            problems.add(ProblemKind.ESCAPED, path)
            continue
        if file is None:
            problems.add(ProblemKind.MISSING, path)
        else:
            located.append((sample, file))
    return located
