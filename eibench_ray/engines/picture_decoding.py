"""Pictures as engines get them: decoded once, alike for every engine."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eibench_ray.engines.decoding_slots import reserved
from eibench_ray.engines.engine import RowError
from eibench_ray.engines.picture_metadata import Orientation, jpeg_exif, orientation_of, without_metadata
from eibench_ray.engines.picture_modes import to_rgb
from eibench_ray.rows.completion import RowErrorKind

if TYPE_CHECKING:
    from PIL.Image import Image

# What data sets hold. Pillow opens thirty more, and some of them by a program of the machine (EPS by Ghostscript).
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "QOI", "TGA")
# What a file that is no such picture begins with, for the message.
_OTHERS = {
    b"%!PS": "PostScript (EPS)",
    b"\xc5\xd0\xd3\xc6": "PostScript (EPS)",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"<?xml": "XML (SVG)",
    b"8BPS": "Photoshop (PSD)",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}
_HEIF = (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1")
# The largest cameras have 108 megapixels. 4 bytes a pixel in Pillow, twice while it is turned: one gigabyte.
MOST_PIXELS = 120_000_000
_PNG_BIT_DEPTH = 24  # where it stands in the file


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded picture."""

    image: Image  # in RGB, upright, on white, with no orientation left to be followed
    kind: str  # the file's format in lower case, e.g. "jpeg".
    is_plain: bool  # whether the file shows just that to whoever decodes it: 8 bits, upright, opaque, one frame


class PictureTooLargeError(ValueError):
    """A picture that has too many pixels to be decoded."""


def decode_picture(content: bytes) -> Image:
    """The picture in RGB, turned upright, without its transparency (on white).

    Raises:
        RowError: the bytes are no picture, or one too large to be decoded safely.
    """
    return decode(content).image


def decode(content: bytes) -> Decoded:
    """The picture, and whether its file can stand for it. Takes a processor's time, and waits while others need memory.

    Raises:
        RowError: the bytes are no picture, or one too large to be decoded safely.
    """
    try:
        return _decode(content)
    # Any kind: of 200 damaged files of a format, Pillow refused some with TypeError (TIFF), struct.error (WebP) or
    # RuntimeError (AVIF), and each of them is this row's.
    except Exception as error:
        failure = error
    if not isinstance(failure, PictureTooLargeError) and (bare := without_metadata(content)) not in (None, content):
        try:
            return _decode(bare or b"", notes=content)
        except Exception:
            pass  # the first reason is the file's own
    raise RowError(
        RowErrorKind.IMAGE, f"the picture ({len(content)} bytes) cannot be decoded: {_reason(failure, content)}"
    )


def _decode(content: bytes, notes: bytes | None = None) -> Decoded:
    """The picture in a file.

    Args:
        content: the file.
        notes: the whole file, where `content` goes without its metadata.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        num_pixels = opened.width * opened.height
        if num_pixels > MOST_PIXELS:
            raise PictureTooLargeError(
                f"its {opened.width} x {opened.height} pixels exceed the limit of {MOST_PIXELS:,}: make it smaller"
            )
        with reserved(num_pixels):
            opened.load()  # the first frame; a TIFF turns itself upright here
            orientation = _orientation(opened, notes)
            image = _turn(to_rgb(opened), orientation.value)
            # What the file says beside its pixels is done: vLLM would turn what still has an orientation once more.
            image.info = {name: value for name, value in image.info.items() if name == "icc_profile"}
            is_upright = orientation == Orientation(1, is_sure=True)
            is_plain = notes is None and is_upright and _is_plain(opened, content)
            return Decoded(image, (opened.format or "").lower(), is_plain)


def _is_plain(opened: Image, content: bytes) -> bool:
    try:
        num_frames = getattr(opened, "n_frames", 1)
    except Exception:  # a later frame is broken
        return False
    return (
        opened.mode in ("RGB", "L")
        and "transparency" not in opened.info
        and num_frames == 1
        and not (opened.format == "PNG" and content[_PNG_BIT_DEPTH] != 8)
    )


def _orientation(opened: Image, notes: bytes | None) -> Orientation:
    from PIL import Image

    if notes is not None and (block := jpeg_exif(notes)) is not None:
        alone = Image.new("L", (1, 1))
        alone.info["exif"] = block
        return orientation_of(alone)
    return orientation_of(opened)


def _turn(picture: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    method = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return picture if method is None else picture.transpose(method)


def _reason(error: Exception, content: bytes) -> str:
    from PIL import UnidentifiedImageError

    if not isinstance(error, UnidentifiedImageError):
        return (" ".join(str(error).split()) or type(error).__name__)[:300]
    # Pillow's own words name an address in memory.
    start = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    found = next((name for mark, name in _OTHERS.items() if start.lower().startswith(mark.lower())), None)
    if content[4:12].startswith(_HEIF):
        found = "HEIF (HEIC)"
    unknown = "it has none of the known formats"
    return f"{unknown}: it is {found}; convert it to PNG or JPEG" if found else unknown
