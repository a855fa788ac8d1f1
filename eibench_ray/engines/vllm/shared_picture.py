"""Pictures whose pixels are copied only where somebody writes into them.

vLLM 0.32 turns each picture upright three times as it prepares it, and copies one that is upright already. It does so
in the one thread that prepares all pictures, and holds the interpreter meanwhile.
"""

from __future__ import annotations

from PIL import Image


class SharedPicture(Image.Image):
    """A picture whose copies share its pixels.

    It and its copies are marked as read-only, so Pillow copies the pixels before it changes them in place.
    """

    def copy(self) -> SharedPicture:
        """Another picture with the same pixels."""
        return share(self)


def share(picture: Image.Image) -> SharedPicture:
    """A picture with the pixels of a loaded one, to be used in its place."""
    shared = SharedPicture()
    shared.__dict__.update(picture.__dict__)
    shared.info = dict(picture.info)
    shared.readonly = 1
    return shared
