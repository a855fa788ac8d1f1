"""Pictures as an endpoint takes them: as they are stored where that is possible, re-encoded where not."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from eibench_ray.engines.engine import RowError
from eibench_ray.engines.openai.openai_section import PictureLimits
from eibench_ray.engines.picture_decoding import decode
from eibench_ray.rows.completion import RowErrorKind

if TYPE_CHECKING:
    from PIL.Image import Image

_QUALITIES = (95, 85, 70, 50)
_SHRINK = 0.75
_MIN_SIDE_PX = 16


def to_data_uri(content: bytes, limits: PictureLimits) -> str:
    """The picture as a data URI within an endpoint's limits; takes a processor's time.

    What is turned, transparent, moving, of another depth or format is decoded as for every engine and encoded anew.

    Raises:
        RowError: the bytes are no picture, or one that no size makes small enough.
    """
    decoded = decode(content)  # also finds what is broken further down in the file
    kind = decoded.kind
    if not (decoded.is_plain and kind in limits.formats and _is_small(decoded.image, content, limits)):
        kind, content = limits.formats[0], _encode(decoded.image, limits)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _is_small(picture: Image, content: bytes, limits: PictureLimits) -> bool:
    """Whether a file can be sent as it is."""
    return len(content) <= limits.max_bytes and max(picture.size) <= (limits.max_side_px or max(picture.size))


def _encode(picture: Image, limits: PictureLimits) -> bytes:
    kind = limits.formats[0]
    for sized in _sizes(picture, limits.max_side_px):
        for quality in _QUALITIES if kind in ("jpeg", "webp") else (None,):
            buffer = io.BytesIO()
            sized.save(buffer, kind, **({"quality": quality} if quality else {}))
            if buffer.tell() <= limits.max_bytes:
                return buffer.getvalue()
    raise RowError(
        RowErrorKind.IMAGE, f"the picture cannot be made small enough for max_bytes={limits.max_bytes} as {kind}"
    )


def _sizes(picture: Image, max_side_px: int | None) -> Iterator[Image]:
    """The picture, then smaller and smaller ones of the same shape."""
    longer = max(picture.size)
    side = min(longer, max_side_px or longer)
    while side >= min(longer, _MIN_SIDE_PX):
        factor = side / longer
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        yield picture if size == picture.size else picture.resize(size)
        side = int(side * _SHRINK)
