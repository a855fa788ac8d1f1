"""Pictures of a table, small enough to be sent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from eibench_ray.engines.engine import RowError
from eibench_ray.engines.picture_decoding import decode_picture

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

PICTURE_PIXELS = 512  # longer side: 24 noisy pictures of 640 x 480 take 2 MB as such JPEGs, 18 MB as PNGs


def thumbnail(picture: bytes) -> Image | None:
    """A picture within PICTURE_PIXELS; None where its bytes are no picture."""
    try:
        image = decode_picture(picture)
    except RowError as error:
        log.debug("no picture for the table of samples: %s", error)
        return None
    image.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    return image
