"""Pictures as engines get them: decoded once, alike for every engine."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from eibench_ray.engines.base import RowError
from eibench_ray.records import RowErrorKind

if TYPE_CHECKING:
    from PIL.Image import Image


def decode_picture(content: bytes) -> Image:
    """The picture in RGB, turned upright, without its transparency (on white).

    Raises:
        RowError: the bytes are no picture, or one too large to be decoded safely.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as opened:
            upright = _to_8_bit(ImageOps.exif_transpose(opened))
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                rgba = upright.convert("RGBA")
                white = Image.new("RGBA", rgba.size, "white")
                return Image.alpha_composite(white, rgba).convert("RGB")
            return upright.convert("RGB")
    except UnidentifiedImageError:
        reason = "it has none of the known formats"  # Pillow's own words name an address in memory
    # Any kind: of 200 damaged files of a format, Pillow refused some with TypeError (TIFF), struct.error (WebP) or
    # RuntimeError (AVIF), and each of them is this row's.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    raise RowError(RowErrorKind.IMAGE, f"the picture ({len(content)} bytes) cannot be decoded: {reason}")


def _to_8_bit(picture: Image) -> Image:
    """The picture with 8 bits per channel; Pillow's own conversion makes all but the darkest 16-bit grey white."""
    if not picture.mode.startswith("I"):
        return picture
    return picture.convert("I").point(lambda grey: grey / 256).convert("L")
