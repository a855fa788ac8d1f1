"""Pictures in a terminal: two pixels to a character, as half blocks in their colours."""

from __future__ import annotations

import io

from rich.text import Text

MOST_COLUMNS, MOST_LINES = 48, 24


def draw_picture(content: bytes) -> Text:
    """The picture, at most 48 characters wide and 24 lines high.

    Args:
        content: the bytes of its file. One that cannot be decoded is said so.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as opened:
            opened.draft("RGB", (2 * MOST_COLUMNS, 4 * MOST_LINES))  # a large JPEG is decoded small
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return Text(f"(it cannot be drawn: {' '.join(str(error).split())})")
    picture.thumbnail((MOST_COLUMNS, 2 * MOST_LINES))
    pixels = picture.load()
    assert pixels is not None
    lines = []
    for top in range(0, picture.height - picture.height % 2, 2):
        line = Text()
        for column in range(picture.width):
            above, below = pixels[column, top], pixels[column, top + 1]
            line.append("▀", style=f"rgb{above} on rgb{below}".replace(" ", "").replace("onrgb", " on rgb"))
        lines.append(line)
    return Text("\n").join(lines)
