"""A picture file's metadata: its orientation, and the file without the rest."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112  # EXIF
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_PNG = b"\x89PNG\r\n\x1a\n"
# What PNG's pixels are made of; and small texts that may say which way is up.
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_MOST_TEXT_BYTES = 1 << 18
_JPEG = b"\xff\xd8"
_JPEG_SCAN = 0xDA
# APP1 to APP13, APP15 and comments; APP0 is JFIF's, APP14 Adobe's: both say how colours are meant.
_JPEG_NOTES = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})


@dataclass(frozen=True, slots=True)
class Orientation:
    """A picture's orientation."""

    value: int  # EXIF's, 1 to 8; 1 where there is none
    is_sure: bool  # False where there is something that cannot be read, of which others may make something else


def orientation_of(picture: Image) -> Orientation:
    """The orientation that an opened file names; to be asked once, since Pillow forgets that it could not read it."""
    try:
        found, is_sure = picture.getexif().get(_ORIENTATION, 1), True
    # Any kind: ValueError (no hexadecimal digits), struct.error, SyntaxError, ZeroDivisionError were seen.
    except Exception:
        found, is_sure = _xmp_orientation(picture), False
    return Orientation(found, is_sure) if isinstance(found, int) and 1 <= found <= 8 else Orientation(1, is_sure=False)


def _xmp_orientation(picture: Image) -> int:
    for name in ("XML:com.adobe.xmp", "xmp"):
        text = picture.info.get(name) or b""
        if match := _XMP_ORIENTATION.search(text.encode(errors="replace") if isinstance(text, str) else bytes(text)):
            return int(match[1])
    return 1


def without_metadata(content: bytes) -> bytes | None:
    """The file with its pixels and little else; None where that is not known of its format."""
    if content.startswith(_PNG):
        return _PNG + b"".join(_png_chunks(content))
    if content.startswith(_JPEG):
        return _JPEG + b"".join(_jpeg_segments(content))
    return None


def jpeg_exif(content: bytes) -> bytes | None:
    """The first EXIF block of a JPEG."""
    position = 2
    while content.startswith(_JPEG) and position + 4 <= len(content) and content[position] == 0xFF:
        marker, size = content[position + 1], int.from_bytes(content[position + 2 : position + 4])
        if marker == 0xE1 and content[position + 4 : position + 10] == b"Exif\0\0":
            return content[position + 4 : position + 2 + size]
        if marker == _JPEG_SCAN or size < 2:
            break
        position += 2 + size
    return None


def _png_chunks(content: bytes) -> Iterator[bytes]:
    position = len(_PNG)
    while position + 12 <= len(content):
        size = int.from_bytes(content[position : position + 4])
        chunk = content[position : position + 12 + size]
        kind, body = chunk[4:8], chunk[8:-4]
        is_note = kind == b"eXIf" or (kind in (b"tEXt", b"zTXt", b"iTXt") and body.startswith(_PNG_TEXTS))
        is_whole = len(body) < _MOST_TEXT_BYTES and zlib.crc32(chunk[4:-4]).to_bytes(4) == chunk[-4:]
        if kind in _PNG_PIXELS or (is_note and is_whole and kind != b"zTXt"):
            yield chunk
        position += 12 + size


def _jpeg_segments(content: bytes) -> Iterator[bytes]:
    position = 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker, size = content[position + 1], int.from_bytes(content[position + 2 : position + 4])
        if marker == _JPEG_SCAN or size < 2:
            break
        if marker not in _JPEG_NOTES:
            yield content[position : position + 2 + size]
        position += 2 + size
    yield content[position:]
