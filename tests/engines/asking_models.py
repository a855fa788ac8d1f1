"""Requests for models with real weights, in pytest's process or in another."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from eibench_ray.rows.request import PlacedImage, Request, Sampling

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


# The pictures of a request: none, and one of three colours, of which one is upright.
PICTURES = ((), (paint("red"),), (paint("blue"),), (paint("green", (70, 180)),))
TURNED = (paint("green", (70, 180), is_turned=True),)
PAIR = (*PICTURES[1], *PICTURES[2])
# Two pictures in both orders, then where they stand: the second within the text, and both.
PAIRS = ((PAIR, ()), (PAIR[::-1], ()), (PAIR, (0, 8)), (PAIR, (8, 8)))

# Greedy choices that differ from the plain one, by the same arithmetic in every engine that computes them.
PENALISED = (
    {"repetition_penalty": 1.5},
    {"presence_penalty": 2.0},
    {"frequency_penalty": 2.0, "repetition_penalty": 0.9},
)


def request(user: str = QUESTION, *, system: str | None = None, seed: int = 0, **options: Any) -> Request:
    """A request of at most 12 tokens, greedy where no option says otherwise."""
    schema = options.pop("json_schema", None)
    sampling = Sampling(**({"temperature": 0.0, "top_p": 1.0, "max_tokens": 12} | options))
    return Request("s0", "d0", system, user, (), sampling, seed, schema)


def show(asked: Request, images: Sequence[bytes], *places: int) -> tuple[Request, Sequence[bytes]]:
    """A request with its pictures, before its text or where they are placed."""
    at = (*places, *[0] * len(images))
    return replace(asked, images=tuple(PlacedImage(n, f"i{n}", at[n]) for n in range(len(images)))), images
