"""A picture's copies share its pixels until one of them is changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PIL import Image, ImageDraw, ImageOps

from eibench_ray.engines.vllm.shared_picture import SharedPicture, share


@pytest.fixture
def picture() -> SharedPicture:
    return share(Image.linear_gradient("L").convert("RGB"))


def test_a_picture_that_is_upright_is_turned_upright_without_a_copy_of_its_pixels(picture: SharedPicture) -> None:
    once = ImageOps.exif_transpose(picture)
    assert once is not picture
    assert ImageOps.exif_transpose(once).im is picture.im


CHANGES: dict[str, Callable[[Image.Image], object]] = {
    "paste": lambda copy: copy.paste((255, 0, 0), (0, 0, 9, 9)),
    "putpixel": lambda copy: copy.putpixel((0, 0), (255, 0, 0)),
    "putalpha": lambda copy: copy.putalpha(7),
    "draw": lambda copy: ImageDraw.Draw(copy).rectangle((0, 0, 9, 9), "red"),
    "thumbnail": lambda copy: copy.thumbnail((8, 8)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("of_copy", [True, False], ids=["copy", "picture"])
def test_a_change_is_seen_in_the_one_that_is_changed_alone(
    picture: SharedPicture, change: Callable[[Image.Image], object], of_copy: bool
) -> None:
    before, copy = picture.tobytes(), picture.copy()
    changed, other = (copy, picture) if of_copy else (picture, copy)
    change(changed)
    assert (changed.mode, changed.size, changed.tobytes()) != (other.mode, other.size, before)
    assert (other.mode, other.size, other.tobytes()) == ("RGB", (256, 256), before)


def test_notes_of_a_copy_are_its_own(picture: SharedPicture) -> None:
    picture.copy().info["icc_profile"] = b"another"
    assert "icc_profile" not in picture.info
