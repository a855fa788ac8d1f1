"""Requests for models with real weights, in pytest's process or in another."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from eibench_ray.rows.request import Request, Sampling

QUESTION = "Why is this person angry?"


def paint(colour: str, size: tuple[int, int] = (200, 150), *, is_turned: bool = False) -> bytes:
    """A picture of one colour with a white foot, as PNG; turned: it lies on its side, and its EXIF data say so."""
    picture = Image.new("RGB", size, colour)
    picture.paste("white", (0, size[1] // 2, *size))
    exif = Image.Exif()
    if is_turned:
        exif[0x0112] = 6  # to be turned clockwise
        picture = picture.transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


# No picture, and three of different colours, of which one is upright.
PICTURES = (None, paint("red"), paint("blue"), paint("green", (70, 180)))
TURNED = paint("green", (70, 180), is_turned=True)


def request(user: str = QUESTION, *, system: str | None = None, seed: int = 0, **options: Any) -> Request:
    """A request of at most 12 tokens, greedy where no option says otherwise."""
    schema = options.pop("json_schema", None)
    sampling = Sampling(**({"temperature": 0.0, "top_p": 1.0, "max_tokens": 12} | options))
    return Request("s0", "d0", system, user, None, sampling, seed, schema)
