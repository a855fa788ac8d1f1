"""Fuzzes the readers, guided by coverage: `fuzz.py [--seconds S] [--jobs N] [TARGET ...]`.

Each target runs for S seconds in a process of its own; what its inputs have reached is kept in `.fuzz/corpus`, so that
the next call goes on from there. An input that breaks a promise is kept in `.fuzz/crashes/TARGET`, and
`fuzz.py --replay TARGET FILE` shows its traceback; that needs no Atheris.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fuzz_targets import TARGETS
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
KEPT = HERE.parents[1] / ".fuzz"
MAX_LENGTH = 16_384
INPUT_TIMEOUT_S = 30
MEMORY_MB = 4096

_EXECUTIONS = re.compile(r"stat::number_of_executed_units: (\d+)")
_PULSE = re.compile(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """Result of one target.

    Attributes:
        executions: inputs that were run.
        edges: points of the product's code that were reached, as libFuzzer counts them; 0 where it did not say.
        crashes: inputs that were kept.
        is_whole: whether it ran for its time.
    """

    name: str
    executions: int
    edges: int
    crashes: tuple[Path, ...]
    is_whole: bool
    log: Path


def fuzz(name: str, seconds: int) -> Fuzzed:
    """Runs one target."""
    corpus, crashes, log = KEPT / "corpus" / name, KEPT / "crashes" / name, KEPT / f"{name}.log"
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    known = _kept(crashes)
    with tempfile.TemporaryDirectory() as seeds, log.open("w") as output:
        for number, seed in enumerate(TARGETS[name].seeds()):
            (Path(seeds) / f"seed{number}").write_bytes(seed)
        command = [sys.executable, str(HERE / "fuzz_one.py"), name, str(crashes), str(corpus), seeds]
        command += [f"-max_total_time={seconds}", f"-artifact_prefix={crashes}/", f"-max_len={MAX_LENGTH}"]
        command += [f"-timeout={INPUT_TIMEOUT_S}", f"-rss_limit_mb={MEMORY_MB}", "-print_final_stats=1"]
        python_path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        ended = subprocess.run(command, stdout=output, stderr=output, env=os.environ | {"PYTHONPATH": python_path})
    said = log.read_text(errors="replace")
    pulses = _PULSE.findall(said)
    executions = _EXECUTIONS.search(said)
    return Fuzzed(
        name,
        int(executions[1]) if executions else max((int(number) for number, _, _ in pulses), default=0),
        max((int(edges) for _, edges, _ in pulses), default=0),
        tuple(sorted(_kept(crashes) - known)),
        ended.returncode == 0 and bool(pulses),
        log,
    )


def _kept(crashes: Path) -> set[Path]:
    """The inputs in a folder that broke a promise; libFuzzer notes there what took ten seconds, too."""
    return {path for path in crashes.iterdir() if not path.name.startswith("slow-unit-")}


def report(results: list[Fuzzed], seconds: int) -> int:
    """Prints the table and the inputs that were kept; the exit status."""
    table = Table("target", "executions", "per second", "edges", "crashes")
    for result in results:
        figures = (f"{result.executions:,}", f"{result.executions / seconds:,.0f}", f"{result.edges:,}")
        table.add_row(result.name, *figures, str(len(result.crashes)))
    console = Console(width=120)
    console.print(table)
    for result in results:
        for crash in result.crashes:
            console.print(f"fuzz.py --replay {result.name} {crash}", soft_wrap=True, markup=False)
        if not result.is_whole:
            console.print(f"{result.name} ended before its time: see {result.log}", soft_wrap=True, markup=False)
    return int(any(result.crashes or not result.is_whole for result in results))


def main() -> int:
    """The exit status: 1 where an input broke a promise, or a target did not run for its time."""
    parser = argparse.ArgumentParser(description="Fuzzes the readers, guided by coverage.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; without one: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets at the same time")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "FILE"), help="run one kept input")
    arguments = parser.parse_args()
    names = [arguments.replay[0]] if arguments.replay else arguments.targets or list(TARGETS)
    if unknown := sorted(set(names) - TARGETS.keys()):
        parser.error(f"there is no target {', '.join(unknown)}")
    if arguments.replay:
        with tempfile.TemporaryDirectory() as folder:
            TARGETS[names[0]].check(Path(arguments.replay[1]).read_bytes(), Path(folder))
        return 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(lambda name: fuzz(name, arguments.seconds), names))
    return report(results, arguments.seconds)


if __name__ == "__main__":
    sys.exit(main())
