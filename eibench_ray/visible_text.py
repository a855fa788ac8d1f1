r"""Text that was not written here (names, paths, replies), made fit to be shown: what acts on a reader becomes visible.

A control character moves the cursor, sets a terminal's title or its clipboard; one that turns the direction of text
makes it read as another. Each is shown as Python writes it: `\x1b`, `\u202e`. What is stored stays as it was.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

# C0, DEL and C1; line and paragraph separators; what turns the direction of text; what takes no room; halves of pairs,
# as which a path's bytes come that are not UTF-8. The joiners 200C and 200D are part of words and of emoji.
_LINES = "\t\n"
_ACTING = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f\ud800-\udfff"
)
# What a message quotes of one value, in characters.
MOST_QUOTED = 120
_LONG_WORD = re.compile(r"\S{1000,}")
_IN_PAGE = re.compile(f"[{_ACTING}]")
_IN_LINE = re.compile(f"[{_ACTING}{_LINES}]")


def in_page(text: str) -> str:
    """The text with all that acts on a terminal visible, but for ends of lines and tabs."""
    # What is all printable, to Python, has none of those: known four times as fast.
    return text if text.isprintable() else _IN_PAGE.sub(_name, text)


def quote(value: object) -> str:
    """A value between quotation marks in a message, as Python writes it; of a long one the beginning and the length."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) <= MOST_QUOTED:
        return repr(value)
    return f"{repr(text[:MOST_QUOTED]) if isinstance(value, str) else text[:MOST_QUOTED]}... ({len(text):,} characters)"


def shorten(text: str, most: int = 2 * MOST_QUOTED) -> str:
    """The text, without the middle of one that is longer than `most` characters."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}...({len(text):,} characters)...{text[-half // 2 :]}"


def list_some(names: Iterable[str], most: int) -> str:
    """The first names side by side, and how many more there are.

    >>> list_some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    listed = list(names)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def shorten_words(text: str) -> str:
    """The text, without the middle of what has no blank for a thousand characters: a picture in base64, say."""
    return _LONG_WORD.sub(lambda found: shorten(found.group()), text)


def in_line(text: str) -> str:
    r"""The text on one line, such as a name or a path: ends of lines and tabs are visible, too.

    `in_line("a\x1b[2Jb\nc")` is `a\x1b[2Jb\nc` with nothing but printable characters in it.
    """
    return _IN_LINE.sub(_name, text)


def _name(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")


class PlainFormatter(logging.Formatter):
    """Log lines as they are, whatever the values are that stand in them."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, or the lines where it carries a traceback."""
        # What follows is indented, so that no name with an end of a line in it begins a line of the log.
        return in_page(super().format(record)).replace("\n", "\n    ")


def count(number: int, what: str) -> str:
    """A number of things: "1 cell", "1,200 cells"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
