"""The page as a file that opens from disk and asks nothing of a network; a large one keeps its data in a folder beside.

Data are blocks with a name. They are written as they come, into a draft; so a page of any size takes the memory of one
block. Up to `MOST_INLINE` bytes they stand in the page itself, as scripts that are JSON and never run. Beyond, each is
a file in `FILE_data/`, loaded by a script element when somebody looks at it: a page from disk has no other way to read.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

import jinja2

from eibench_ray.report.page.page_json import to_page_json
from eibench_ray.storage.atomic_files import cannot_write, replacing
from eibench_ray.visible_text import in_line

MOST_INLINE = 48 << 20  # bytes; browsers open that within seconds, mail and chat refuse more anyway
SCRIPTS = (
    "elements.js",
    "page_data.js",
    "head.js",
    "board_cells.js",
    "board.js",
    "charts.js",
    "sample_list.js",
    "sample_view.js",
    "sample_search.js",
    "samples.js",
    "page.js",
)


@dataclass(frozen=True, slots=True)
class _Block:
    """A block's place in the draft."""

    name: str
    start: int
    size: int


class PageDraft:
    """Blocks of a page that is being written."""

    def __init__(self, draft: BinaryIO) -> None:
        self._draft = draft
        self._blocks: list[_Block] = []

    def add(self, name: str, value: Any) -> None:
        """Adds a block, under a name of letters, digits and dashes."""
        content = to_page_json(value).encode()
        self._blocks.append(_Block(name, self._draft.tell(), len(content)))
        self._draft.write(content)

    def read(self) -> Iterator[tuple[str, bytes]]:
        """The blocks in their order, one at a time."""
        for block in self._blocks:
            self._draft.seek(block.start)
            yield block.name, self._draft.read(block.size)

    @property
    def size(self) -> int:
        """Bytes of all blocks."""
        return sum(block.size for block in self._blocks)


@contextlib.contextmanager
def drafting(path: Path) -> Iterator[PageDraft]:
    """A draft on the disk on which the page is to lie.

    Raises:
        StoreError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as draft:
            yield PageDraft(draft)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_page(path: Path, title: str, draft: PageDraft, libraries: Sequence[str], most: int) -> Path:
    """Writes the page; where its data lie: the page itself, or the folder beside it.

    Args:
        path: of the page.
        title: of the window.
        draft: its data.
        libraries: JavaScript that the page needs beside its own.
        most: bytes of data that stand in the page itself.

    Raises:
        StoreError: it cannot be written.
    """
    folder = path.with_name(f"{path.stem}_data")
    is_inline = draft.size <= most
    stamp = secrets.token_hex(4)  # so that a page that is open goes on reading the data that it was written with
    if not is_inline:
        for name, content in draft.read():
            with replacing(folder / f"{name}.{stamp}.js") as file:
                file.write_bytes(b"keepBlock(%s,%s)\n" % (to_page_json(name).encode(), content))
    with replacing(path) as file, file.open("wb") as page:
        before, after = _frame(title, libraries, None if is_inline else f"{folder.name}|{stamp}")
        page.write(before.encode())
        if is_inline:
            for name, content in draft.read():
                page.write(b'<script type="application/json" id="block-%s">' % name.encode())
                page.write(content + b"</script>\n")
        page.write(after.encode())
    for old in folder.glob("*.js"):
        if is_inline or f".{stamp}." not in old.name:
            old.unlink(missing_ok=True)
    if is_inline and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return path if is_inline else folder


def _frame(title: str, libraries: Sequence[str], place: str | None) -> tuple[str, str]:
    """The page before and after its data."""
    part = files("eibench_ray.report.page")
    template = jinja2.Template((part / "page.html").read_text(encoding="utf-8"), keep_trailing_newline=True)
    own = "\n".join((part / name).read_text(encoding="utf-8") for name in SCRIPTS)
    scripts = [_inlined(script) for script in (*libraries, f'"use strict";\n{own}')]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    text = template.render(
        title=html.escape(in_line(title)),
        css=(part / "page.css").read_text(encoding="utf-8"),
        scripts=scripts,
        # A page whose data lie beside it loads them from there, whoever serves it.
        script_sources=hashes if place is None else f"{hashes} 'self' file:",
        place=html.escape(place or ""),
        mark=(mark := f"<!-- {secrets.token_hex(8)} -->"),
    )
    before, _, after = text.partition(mark)
    return before, after


def _inlined(script: str) -> str:
    """A script that nothing in it ends."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
