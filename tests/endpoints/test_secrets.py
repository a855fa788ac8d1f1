"""A key that an endpoint is asked with is nowhere to be read afterwards, although the endpoint says it aloud."""

from __future__ import annotations

import base64
import gzip
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from fault_server import FaultServer
from faults import Behaviour, Fault

from eibench_ray.storage.scratch_folders import KEEP_VARIABLE

VARIABLE = "ODDLY_NAMED"
# Others that a user may have set; the same key, so that one search finds all.
OTHERS = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "OPENAI_API_KEY", "WANDB_API_KEY"]
# Nothing that a pattern for keys would recognise.
KEY = f"Zq7_{secrets.token_hex(20)}"
# A piece of it is as bad: a message that was cut, a record over the edge of a block.
PIECE_CHARS = 10
PIECES = {KEY[at : at + PIECE_CHARS].encode() for at in range(len(KEY) - PIECE_CHARS + 1)}
ENCODED = base64.b64encode(KEY.encode())[:-4]

# Half of what is asked is refused with the key in the message; some of the rest is asked again, some is refused.
TALKATIVE = Behaviour(faults={Fault.ECHO_KEY: 0.5, Fault.SERVER_ERROR: 0.1, Fault.REFUSAL: 0.1})
LOCKED = Behaviour(faults={Fault.UNAUTHORIZED: 1.0})
SWEEP = [
    "-m",
    "--config-dir=conf",
    "model=planted,locked",
    "setting=user_question,user_question_cot",
    "dataset=demo",
    "dataset.limit=12",
    "judge=strict",
    "model@judge.model=planted",
    "tracking=[wandb,mlflow,tensorboard]",
    "tracking.wandb.mode=offline",
    "cluster.num_cpus=2",
    "budget_usd=5",
]
# Commands in one process: a Python for each would take 12 CPU s to import the same.
IN_TURN = """
import json, sys
from eibench_ray.cli.app import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["eibench-ray", "-v", *arguments]
    try:
        main()
    except SystemExit as ended:
        # One of the two models of the run cannot be asked at all.
        assert (ended.code or 0) == (arguments[0] == "run"), (arguments, ended.code)
    print("in turn:", arguments[0])
"""


def is_leaked(data: bytes) -> bool:
    """Whether the key, or a piece of it, can be read in some bytes."""
    return ENCODED in data or any(piece in data for piece in PIECES)


def leaks_below(folder: Path, pattern: str = "**/*") -> list[str]:
    """The files in which it can be read, also where they are packed."""
    found = files_below(folder, pattern)
    return [str(path.relative_to(folder)) for path in found if any(map(is_leaked, _contents(path)))]


def files_below(folder: Path, pattern: str = "**/*") -> list[Path]:
    return [path for path in folder.glob(pattern) if path.is_file() and not path.is_symlink()]


def _contents(path: Path) -> Iterator[bytes]:
    yield str(path).encode()
    yield path.read_bytes()
    if path.suffix == ".gz":
        yield gzip.decompress(path.read_bytes())
    if path.suffix == ".parquet":
        table = pq.ParquetFile(path)
        yield str(table.schema_arrow.metadata).encode()
        yield json.dumps(table.read().to_pylist(), default=repr).encode()


class CommandLines(threading.Thread):
    """Reads the command lines of all processes on the machine, again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.leaks: set[bytes] = set()
        self.seen: set[bytes] = set()
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:  # it has ended
                    continue
                if line not in self.seen and is_leaked(line):
                    self.leaks.add(line)
                self.seen.add(line)

    def __enter__(self) -> CommandLines:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()


@dataclass(frozen=True)
class Left:
    """Remains of the commands.

    Attributes:
        folder: where they were called.
        ray_folder: where Ray kept its logs.
        said: stdout and stderr of all commands.
        outcomes: what the endpoint did.
    """

    folder: Path
    ray_folder: Path
    said: str
    outcomes: set[str]
    lines: CommandLines

    def rows(self) -> list[dict[str, Any]]:
        """All rows of the store."""
        found = (self.folder / "store").rglob("slice-*.parquet")
        return [row for file in found for row in pq.ParquetFile(file).read().to_pylist()]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    folder = tmp_path_factory.mktemp("planted")
    # Ray's sockets lie below this folder, and a socket's path has at most 107 characters.
    with (
        tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as ray_folder,
        FaultServer(TALKATIVE) as server,
        FaultServer(LOCKED) as locked,
    ):
        write_option(folder / "conf" / "model" / "planted.yaml", server.base_url)
        write_option(folder / "conf" / "model" / "locked.yaml", locked.base_url)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {
            VARIABLE: KEY,
            "RAY_TMPDIR": ray_folder,
            "EIBENCH_TRACEBACK": "1",
            KEEP_VARIABLE: "1",
        } | dict.fromkeys(OTHERS, KEY)
        more = [*SWEEP, "dataset.limit=16"]
        commands = [
            ["run", "--json", *SWEEP],
            ["plan", *SWEEP],
            ["status"],
            ["report", "--gantt", "page.html"],
            ["report", "--gantt", "page.svg"],
            ["export", "--out", "export"],
            ["submit", "slurm", "--dry-run", *more],
            ["submit", "slurm", *more, f"cluster.slurm.export=[{VARIABLE},WANDB_API_KEY]"],
        ]
        environment["PATH"] = f"{write_sbatch(folder / 'tools')}:{environment['PATH']}"
        with CommandLines() as lines:
            done = subprocess.run(
                [sys.executable, "-c", IN_TURN, json.dumps(commands)],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said.replace(KEY, "(THE KEY)")
        outcomes = {event.outcome for event in (*server.events, *locked.events)}
        yield Left(folder, Path(ray_folder), said, outcomes, lines)


def write_option(path: Path, base_url: str) -> None:
    """A model of one's own behind the endpoint."""
    engine = {
        "kind": "openai",
        "endpoint": f"faults_{path.stem}",
        "base_url": base_url,
        "api_key_env": VARIABLE,
        "model": "tiny",
        "price": {"input": 1.0, "output": 4.0},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"name": path.stem, "sees_image": True, "engine": engine}))


def write_sbatch(tools: Path) -> Path:
    """A folder with a stand-in for sbatch, which numbers a job and keeps its script."""
    tools.mkdir()
    (tools / "sbatch").write_text(
        '#!/bin/bash\ncat >"$(dirname "$0")/script"\nprintf "%s\\n" "$@" >>"$0.said"\necho 41\n'
    )
    (tools / "sbatch").chmod(0o755)
    return tools


@pytest.mark.parametrize("name", ["text.log", "rows.parquet", "old.gz", "half.json"])
def test_the_search_finds_a_key_that_is_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.table({"error": [{"message": f"no {KEY}"}]}), path, compression="zstd")
        case ".gz":
            path.write_bytes(gzip.compress(f"Bearer {KEY}".encode()))
        case ".json":
            path.write_text(f'"Bearer {KEY[:PIECE_CHARS]}')
        case _:
            path.write_bytes(b"Basic " + base64.b64encode(KEY.encode()))
    assert leaks_below(tmp_path) == [name]


@pytest.mark.slow
def test_the_endpoint_said_the_key_and_the_rows_tell_the_rest(left: Left) -> None:
    assert {Fault.ECHO_KEY, Fault.UNAUTHORIZED, "answered"} <= left.outcomes
    errors = [row["error"] for row in left.rows() if row["error"] and "Bad header" in row["error"]]
    assert errors
    assert all("Authorization" in error for error in errors)
    assert "Incorrect API key provided" in left.said
    assert left.said.count("in turn: ") == 8


@pytest.mark.slow
def test_no_command_says_it(left: Left) -> None:
    assert not is_leaked(left.said.encode())


@pytest.mark.slow
def test_no_command_line_has_it(left: Left) -> None:
    assert any(b"eibench_ray.cli.app" in line for line in left.lines.seen)
    assert any(line.startswith(b"ray::") for line in left.lines.seen)
    assert left.lines.leaks == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern",
    [
        "multirun/**/.hydra/**/config.yaml",
        "multirun/**/ledger.jsonl",
        "multirun/**/run.json",
        "multirun/**/leaderboard.*",
        "multirun/**/wandb/**/*.wandb",
        "mlruns/**/*",
        "tensorboard/**/*",
        "multirun/**/wandb/**/media/**/*.json",
        "store/runs/*.json",
        "store/steps/*/manifest.json",
        "store/steps/*/*.parquet",
        "export/**/*.parquet",
        "page.html",
        "page.svg",
        "multirun/slurm-*/*",
        "tools/sbatch.said",
    ],
)
def test_no_file_of_a_sweep_has_it(left: Left, pattern: str) -> None:
    assert files_below(left.folder, pattern)
    assert leaks_below(left.folder, pattern) == []


@pytest.mark.slow
def test_no_other_file_has_it(left: Left) -> None:
    assert leaks_below(left.folder) == []


@pytest.mark.slow
def test_no_log_of_rays_has_it(left: Left) -> None:
    assert any(path.name.startswith("worker-") for path in files_below(left.ray_folder))
    assert leaks_below(left.ray_folder) == []
