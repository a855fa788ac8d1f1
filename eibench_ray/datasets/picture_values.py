"""The pictures of a table's cell: a path, the file's bytes, both, or the bytes in base64, or a list of such."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from eibench_ray.datasets.cell_values import ValueRefusedError, is_missing, to_text
from eibench_ray.visible_text import quote

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}://")
_DATA_URL = re.compile(r"data:[^,;]{0,100}(?:;[^,;]{1,100}){0,5},", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]+={0,2}\s*")
# How files of pictures begin: JPEG, PNG, GIF, WebP, BMP, TIFF (two byte orders); and AVIF after its first length.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
_AVIF = b"ftypavi"
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True)
class PictureValue:
    """A cell's picture."""

    path: str | None = None  # as the table names it; None where it has bytes only, or no picture
    content: bytes | None = None  # the file's bytes; None where they lie at the path


def read_picture_values(value: object) -> tuple[PictureValue, ...]:
    """The pictures in a cell, in order; none where it holds nothing.

    Raises:
        ValueRefusedError: it is none of what a picture can be.
    """
    if not isinstance(value, list | tuple):
        picture = _read_picture(value)
        return () if picture == PictureValue() else (picture,)
    pictures = []
    for number, item in enumerate(value, start=1):
        if (picture := _read_picture(item)) == PictureValue():
            raise ValueRefusedError(
                f"item {number} of its list is no picture, and the others would move up: leave it out"
            )
        pictures.append(picture)
    return tuple(pictures)


def _read_picture(value: object) -> PictureValue:
    """One picture; one without path and content where there is none."""
    if is_missing(value):
        return PictureValue()
    match value:
        case bytes() | bytearray() | memoryview():
            return PictureValue(None, _require_bytes(bytes(value)))
        case str():
            return _read_text(value)
        case {"bytes": content, **rest} if content is not None:
            held = _read_text(content) if isinstance(content, str) else _read_picture(content)
            path = rest.get("path")
            if held.content is None:
                raise ValueRefusedError(f"its bytes are {quote(content)}, which is no picture in base64")
            return PictureValue(to_text(path) if isinstance(path, str) and path else None, held.content)
        case {"path": path}:
            return PictureValue() if path is None else _read_text(path) if isinstance(path, str) else _refuse(path)
        case {"bytes": None}:
            return PictureValue()
    return _refuse(value)


def _refuse(value: object) -> PictureValue:
    raise ValueRefusedError(f"a picture is a path, bytes, or both, not {type(value).__name__}: {quote(value)}")


def _read_text(text: str) -> PictureValue:
    if mark := _DATA_URL.match(text):
        if not mark.group().lower().endswith(";base64,"):
            raise ValueRefusedError(f"{quote(text)} is a data URL that is not in base64: write it as base64")
        return PictureValue(None, _require_bytes(_decode(text[mark.end() :])))
    if _ADDRESS.match(text):
        raise ValueRefusedError(f"{quote(text)} is an address: download the picture, and write its path below --images")
    if (content := _find_base64(text)) is not None:
        return PictureValue(None, content)
    if len(text) > _LONGEST_PATH:
        raise ValueRefusedError(f"{quote(text)} is neither a path nor a picture in base64")
    if not text.strip():
        raise ValueRefusedError("an empty path: write null where a sample has no picture")
    return PictureValue(to_text(text))


def _find_base64(text: str) -> bytes | None:
    """The picture in a text of base64; None where it is something else, such as a path."""
    if len(text) < 64 or not _BASE64.fullmatch(text):
        return None
    try:
        content = _decode(text)
    except ValueRefusedError:
        return None
    return content if content.startswith(_SIGNATURES) or content[4:].startswith(_AVIF) else None


def _decode(text: str) -> bytes:
    plain = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueRefusedError(f"{quote(text)} is not base64 ({error})") from error


def _require_bytes(content: bytes) -> bytes:
    if not content:
        raise ValueRefusedError("a picture of 0 bytes")
    return content
