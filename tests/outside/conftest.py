"""A package of somebody else's, from the code of docs/extend.md: built, installed, and used by the real command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"


@dataclass(frozen=True)
class Outside:
    """An environment with that package beside this one.

    Attributes:
        folder: where the command is called; its `options` are those of the page.
        site: where the package is installed.
    """

    folder: Path
    site: Path

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The outcome of `eibench-ray` with these arguments; each Python, Ray's too, finds the package."""
        command = [sys.executable, "-m", "eibench_ray.cli.app", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(self.site)}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=300
        )


def read_files() -> dict[str, str]:
    """The files that the page shows: path -> text; the path is in the first line of a block."""
    blocks = re.findall(r"^```\w+\n# (\S+\.\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == len(dict(blocks)) > 0
    return dict(blocks)


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    folder = tmp_path_factory.mktemp("outside")
    for name, text in read_files().items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(folder)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)  # what an installer does with a wheel of pure Python
    return Outside(folder, site)
