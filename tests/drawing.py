"""Pictures for tests."""

from __future__ import annotations

import io

from PIL import Image


def draw(colour: tuple[int, int, int], size: tuple[int, int] = (32, 24)) -> bytes:
    """A picture of one colour, as PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()
