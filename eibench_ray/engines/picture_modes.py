"""Pictures of any mode as 8-bit RGB on white. What has no right way to be that is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF
_WHITE_IS_ZERO = 0
_UNSIGNED = 1
# Rows that are laid on white at once: each needs three pictures of its size.
_STRIP_PX = 1 << 22


class ModeError(ValueError):
    """A picture whose values do not say which of them is white."""


def to_rgb(picture: Image) -> Image:
    """The picture in RGB, what is transparent on white.

    Raises:
        ModeError: its values have no right place between black and white.
    """
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _grey_to_8_bit(picture)
    elif picture.mode == "La":
        picture = picture.convert("LA")
    elif picture.mode == "RGB" and max(picture.info.get("transparency") or (0,)) > 255:
        # The key of a PNG with 16 bits per channel, whose pixels come with their high bytes.
        picture.info["transparency"] = tuple(value >> 8 for value in picture.info["transparency"])
    return _on_white(picture) if picture.has_transparency_data else picture.convert("RGB")


def _on_white(picture: Image) -> Image:
    from PIL import Image

    flat = Image.new("RGB", picture.size, "white")
    rows = max(1, _STRIP_PX // max(1, picture.width))
    for top in range(0, picture.height, rows):
        box = (0, top, picture.width, min(top + rows, picture.height))
        strip = picture.crop(box).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        flat.paste(Image.alpha_composite(white, strip).convert("RGB"), box)
    return flat


def _grey_to_8_bit(picture: Image) -> Image:
    """Grey of more than 8 bits, or of floats, in 8 bits; Pillow's own conversion clips it: to white, or to black."""
    import numpy as np
    from PIL import Image

    values = np.asarray(picture)
    key = picture.info.get("transparency")
    if picture.mode == "F":
        grey = _floats_to_8_bit(values)
    elif (bits := _num_bits(picture)) is not None:
        grey = (values.astype(np.uint32) * 255 // ((1 << bits) - 1) if bits < 16 else values >> 8).astype(np.uint8)
    elif int(values.min(initial=0)) >= 0 and int(values.max(initial=0)) <= 255:
        grey = values.astype(np.uint8)
    else:
        raise ModeError(
            f"it has whole numbers from {values.min()} to {values.max()} as grey, of which none is known to be white: "
            f"convert it to 8 or 16 bits"
        )
    tags = getattr(picture, "tag_v2", {})
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    if isinstance(key, int):
        alpha = np.where(values == key, 0, 255).astype(np.uint8)
        return Image.fromarray(np.dstack([grey, alpha]), "LA")
    return Image.fromarray(grey)


def _num_bits(picture: Image) -> int | None:
    """Bits of unsigned whole numbers whose largest is white; None where none is known to be."""
    if picture.format == "TIFF":
        tags = getattr(picture, "tag_v2", {})
        bits = tags.get(_BITS_PER_SAMPLE, (1,))[0]
        is_unsigned = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _UNSIGNED
        return int(bits) if is_unsigned and bits in (12, 16) else None
    return 16


def _floats_to_8_bit(values: np.ndarray) -> np.ndarray:
    """Floats from 0 to 1, or else from 0 to 255."""
    import numpy as np

    least, most = float(values.min(initial=0)), float(values.max(initial=0))
    if not (least >= 0 and most <= 255):  # also where they are no numbers
        raise ModeError(
            f"it has floats from {least:g} to {most:g} as grey, of which none is known to be white: scale them to "
            f"0 to 1, or convert it to 8 or 16 bits"
        )
    scaled = values * 255 if most <= 1 else values
    grey: np.ndarray = np.rint(scaled).astype(np.uint8)
    return grey
