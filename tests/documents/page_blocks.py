"""The fenced blocks of a Markdown page, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
NEEDS = re.compile(r"# needs: ")
BLOCK = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    language: str
    title: str | None  # the file that it is, for pages that write one
    text: str

    @property
    def is_marked(self) -> bool:
        """Whether all of it needs what its first line says."""
        return NEEDS.match(self.text) is not None

    def lines(self) -> list[str]:
        """Lines of the shell, with those that a backslash continues."""
        return re.sub(r"\\\n", " ", self.text).splitlines()

    def script(self) -> str:
        """The commands that run as they stand."""
        return "\n".join(line for line in self.lines() if not NEEDS.search(line)) + "\n"

    def marked_calls(self) -> Iterator[list[str]]:
        """Calls of the command that need something, in words."""
        for line in self.lines():
            if line.startswith("eibench-ray ") and (self.is_marked or NEEDS.search(line)):
                yield shlex.split(line, comments=True)[1:]


def read_blocks(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    blocks = []
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        language, _, rest = found["info"].partition(" ")
        title = re.match(r'title="(.+)"', rest)
        blocks.append(Block(language, title[1] if title else None, found["text"]))
    return blocks
