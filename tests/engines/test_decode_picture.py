"""Pictures as engines get them: RGB, upright, on white; or an error of their row alone."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import warnings
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageOps, features

from eibench_ray.engines import picture_modes
from eibench_ray.engines.engine import RowError
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.rows.completion import RowErrorKind

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def encode(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def left_red() -> Image.Image:
    """A picture, 4 wide and 2 high, red on the left and green on the right."""
    picture = Image.new("RGB", (4, 2), GREEN)
    picture.paste(RED, (0, 0, 2, 2))
    return picture


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM"])
def test_a_picture_comes_back_as_it_is(kind: str) -> None:
    decoded = decode_picture(encode(left_red(), kind))
    assert decoded.mode == "RGB"
    assert decoded.tobytes() == left_red().tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_lossy_picture_comes_back_nearly_as_it_is(kind: str) -> None:
    decoded = decode_picture(encode(Image.new("RGB", (16, 16), (200, 40, 40)), kind))
    assert all(abs(one - other) < 8 for one, other in zip(decoded.getpixel((8, 8)), (200, 40, 40), strict=True))


@pytest.mark.parametrize(
    ("orientation", "size", "top_left"), [(1, (4, 2), RED), (3, (4, 2), GREEN), (6, (2, 4), RED), (8, (2, 4), GREEN)]
)
def test_a_picture_is_turned_upright(orientation: int, size: tuple[int, int], top_left: tuple[int, ...]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_picture(encode(left_red(), "PNG", exif=exif))
    assert decoded.size == size
    assert decoded.getpixel((0, 0)) == top_left


XMP_ON_ITS_SIDE = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "xmp"])
def test_a_picture_that_was_turned_is_not_turned_again_by_who_gets_it(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(left_red(), "JPEG", xmp=XMP_ON_ITS_SIDE) if kind == "xmp" else encode(left_red(), kind, exif=exif)
    decoded = decode_picture(content)
    assert decoded.size == (2, 4)
    assert dict(decoded.getexif()) == {}
    again = ImageOps.exif_transpose(decoded)  # as vLLM does with every picture
    assert (again.size, again.tobytes()) == (decoded.size, decoded.tobytes())


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("RGBA", (2, 2), (0, 0, 0, 0)), WHITE),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 255)), RED),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 128)), (255, 127, 127)),
        (Image.new("LA", (2, 2), (0, 0)), WHITE),
        (Image.new("L", (2, 2), 100), (100, 100, 100)),
        (Image.new("1", (2, 2), 1), WHITE),
        (left_red().convert("P", palette=Image.Palette.ADAPTIVE), RED),
    ],
    ids=["transparent", "opaque", "half", "grey_transparent", "grey", "bits", "palette"],
)
def test_every_mode_becomes_rgb_on_white(picture: Image.Image, expected: tuple[int, ...]) -> None:
    decoded = decode_picture(encode(picture))
    assert decoded.mode == "RGB"
    assert decoded.getpixel((0, 0)) == expected


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    picture = left_red().convert("P", palette=Image.Palette.ADAPTIVE)
    content = encode(picture, "GIF", transparency=picture.getpixel((0, 0)))
    assert decode_picture(content).getpixel((0, 0)) == WHITE
    assert decode_picture(content).getpixel((3, 0)) == GREEN


@pytest.mark.parametrize(
    ("picture", "options"),
    [
        (Image.new("P", (2, 2), 0), {"transparency": 0}),
        (Image.new("L", (2, 2), 100), {"transparency": 100}),
        (Image.new("RGB", (2, 2), (1, 2, 3)), {"transparency": (1, 2, 3)}),
        (Image.new("1", (2, 2), 0), {"transparency": 0}),
    ],
    ids=["palette", "grey", "rgb", "bits"],
)
def test_a_colour_that_stands_for_nothing_is_white(picture: Image.Image, options: dict[str, object]) -> None:
    assert decode_picture(encode(picture, **options)).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    content = encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind)
    assert (b"Adobe" in content) == (kind == "JPEG"), "Adobe's JPEG holds its four colours inverted"
    assert decode_picture(content).getpixel((4, 4)) == RED


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_other_spaces_become_rgb(mode: str) -> None:
    picture = Image.new("RGB", (8, 8), (200, 40, 40))
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    decoded = decode_picture(encode(picture if mode == "LAB" else picture.convert(mode), "TIFF"))
    assert all(abs(one - other) < 4 for one, other in zip(decoded.getpixel((4, 4)), (200, 40, 40), strict=True))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_a_moving_picture_the_first_frame_counts(kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), GREEN)
    content = encode(first, kind, save_all=True, append_images=[second], duration=100)
    assert Image.open(io.BytesIO(content)).n_frames == 2
    assert all(abs(one - other) < 4 for one, other in zip(decode_picture(content).getpixel((4, 4)), RED, strict=True))


def png_of_16_bits(*channels: int) -> bytes:
    """A PNG of one pixel with 16 bits per channel, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[len(channels)]
    header = struct.pack(">IIBBBBB", 1, 1, 16, colour, 0, 0, 0)
    row = b"\0" + struct.pack(f">{len(channels)}H", *channels)
    end = chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ((0x8000,), (128, 128, 128)),
        ((0, 0x8000), (127, 127, 127)),
        ((0x4000, 0x8000, 0xFFFF), (64, 128, 255)),
        ((0xFFFF, 0, 0, 0xFFFF), RED),
        ((0xFFFF, 0, 0, 0), WHITE),
    ],
)
def test_16_bits_per_channel_become_8(channels: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert decode_picture(png_of_16_bits(*channels)).getpixel((0, 0)) == expected


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_shades(kind: str) -> None:
    picture = Image.new("I;16", (4, 1))
    for column, grey in enumerate((0, 0x4000, 0x8000, 0xFFFF)):
        picture.putpixel((column, 0), grey)
    decoded = decode_picture(encode(picture, kind))
    assert [decoded.getpixel((column, 0))[0] for column in range(4)] == [0, 0x40, 0x80, 0xFF]


def truncated(kind: str) -> bytes:
    content = encode(Image.effect_noise((64, 64), 80).convert("RGB"), kind)
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "content",
    [b"", b"just text", b"\x00" * 64, b"<html><body>404</body></html>", truncated("PNG"), truncated("JPEG")],
    ids=["nothing", "text", "zeros", "html", "half_png", "half_jpeg"],
)
def test_what_is_no_picture_is_an_error_of_its_row(content: bytes) -> None:
    with pytest.raises(RowError, match=rf"the picture \({len(content)} bytes\) cannot be decoded: ") as caught:
        decode_picture(content)
    assert caught.value.kind is RowErrorKind.IMAGE
    assert " at 0x" not in str(caught.value), "the same picture has the same reason in every run"


def test_a_decompression_bomb_is_an_error_of_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(RowError, match="exceeds limit"):
        decode_picture(encode(Image.new("RGB", (64, 64))))


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it then reads all the same
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_damage_never_raises_anything_else(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if kind in ("GIF", "BMP") else {"exif": exif}
    content = encode(left_red().resize((32, 24)), kind, **options)
    chooser = random.Random(0)
    num_refused = 0
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(chooser.randint(1, 6)):
            damaged[chooser.randrange(len(damaged))] = chooser.randrange(256)
        try:
            assert decode_picture(bytes(damaged)).mode == "RGB"
        except RowError:
            num_refused += 1
    assert num_refused


CASES = Path(__file__).parents[3] / "shared" / "cases" / "pictures"


def test_pictures_with_broken_metadata_are_pictures_and_turned() -> None:
    if not CASES.is_dir():
        pytest.skip("the cases are not beside the checkout, in ../shared/cases")
    for name, size in (("neg_rational_o6.jpg", (48, 64)), ("png_raw_exif.png", (64, 48))):
        content = (CASES / name).read_bytes()
        decoded = decode_picture(content)
        assert (decoded.mode, decoded.size) == ("RGB", size)
        stored = Image.open(io.BytesIO(content)).convert("RGB")
        upright = stored.transpose(Image.Transpose.ROTATE_270) if size == (48, 64) else stored
        assert decoded.tobytes() == upright.tobytes()


def png_chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)
    )


def with_png_chunk(chunk: bytes, **options: object) -> bytes:
    """A picture, left red, with one more chunk after its header."""
    content = encode(left_red(), "PNG", **options)
    return content[:33] + chunk + content[33:]


def upside_down() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 3
    return exif


BROKEN_CHUNKS = {
    "huge_text": png_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(8 << 20))),
    "huge_profile": png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(8 << 20))),
    "wrong_sum": png_chunk(b"tEXt", b"note\0a", crc=7),
    "no_deflate": png_chunk(b"zTXt", b"note\0\0????"),
    "odd_exif": png_chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
    "raw_exif": png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  10\n00zz\n"),
    "short_phys": png_chunk(b"pHYs", b"\0"),
    "long_text": png_chunk(b"tEXt", b"note\0" + b"x" * (5 << 20)),
}


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
def test_a_png_with_odd_metadata_is_its_pixels(name: str) -> None:
    decoded = decode_picture(with_png_chunk(BROKEN_CHUNKS[name]))
    assert decoded.tobytes() == left_red().tobytes()


@pytest.mark.parametrize("name", ["huge_text", "huge_profile", "wrong_sum", "no_deflate", "long_text"])
def test_a_png_whose_other_metadata_is_broken_is_turned_all_the_same(name: str) -> None:
    decoded = decode_picture(with_png_chunk(BROKEN_CHUNKS[name], exif=upside_down()))
    assert decoded.getpixel((0, 0)) == GREEN


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


BROKEN_SEGMENTS = {
    "exif": jpeg_segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
    "exif_of_nothing": jpeg_segment(0xE1, b"Exif\0\0"),
    "no_tiff": jpeg_segment(0xE1, b"Exif\0\0garbage garbage"),
    "mpf": jpeg_segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
    "profile": jpeg_segment(0xE2, b"ICC_PROFILE\0\x01\x09short"),
    "photoshop": jpeg_segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed"),
    "comment": jpeg_segment(0xFE, b"\xff" * 60_000),
}


@pytest.mark.parametrize("name", BROKEN_SEGMENTS)
@pytest.mark.parametrize("is_turned", [False, True])
def test_a_jpeg_with_odd_metadata_is_its_pixels_and_turned(name: str, is_turned: bool) -> None:
    picture = left_red().resize((32, 16))
    content = encode(picture, "JPEG", quality=95, **({"exif": upside_down()} if is_turned else {}))
    # Behind what Pillow wrote, so that the EXIF block that counts comes first.
    start = content.index(b"\xff\xdb")
    decoded = decode_picture(content[:start] + BROKEN_SEGMENTS[name] + content[start:])
    red, _, _ = decoded.getpixel((1, 8))
    assert (red < 100) is is_turned


def float_tiff(*values: float) -> bytes:
    picture = Image.new("F", (len(values), 1))
    for column, value in enumerate(values):
        picture.putpixel((column, 0), value)
    return encode(picture, "TIFF")


@pytest.mark.parametrize(
    ("values", "greys"), [((0.0, 0.5, 1.0), [0, 128, 255]), ((0.0, 100.4, 255.0), [0, 100, 255]), ((0.0,), [0])]
)
def test_floats_keep_their_shades(values: tuple[float, ...], greys: list[int]) -> None:
    decoded = decode_picture(float_tiff(*values))
    assert [decoded.getpixel((column, 0))[0] for column in range(len(greys))] == greys


@pytest.mark.parametrize("values", [(0.0, 3000.0), (-1.0, 1.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_floats_without_a_known_white_are_an_error_of_their_row(values: tuple[float, ...]) -> None:
    with pytest.raises(RowError, match=r"floats from .* of which none is known to be white"):
        decode_picture(float_tiff(*values))


def test_whole_numbers_of_32_bits_are_bytes_or_an_error() -> None:
    bytes_ = Image.new("I", (1, 1), 200)
    assert decode_picture(encode(bytes_, "TIFF")).getpixel((0, 0)) == (200, 200, 200)
    with pytest.raises(RowError, match="whole numbers from 70000 to 70000 as grey"):
        decode_picture(encode(Image.new("I", (1, 1), 70_000), "TIFF"))
    with pytest.raises(RowError, match="whole numbers from -5"):
        decode_picture(encode(Image.new("I", (1, 1), -5), "TIFF"))


def test_a_tiff_whose_zero_is_white_is_inverted() -> None:
    content = encode(Image.new("I;16", (1, 1), 0xC000), "TIFF", tiffinfo={262: 0})
    if Image.open(io.BytesIO(content)).tag_v2[262] != 0:
        pytest.skip("this Pillow writes no such TIFF")
    assert decode_picture(content).getpixel((0, 0)) == (63, 63, 63)


@pytest.mark.parametrize(("channels", "key"), [((0x8000,), (0x8000,)), ((0x1234, 0x5678, 0x9ABC),) * 2])
def test_a_transparent_colour_of_16_bits_is_white(channels: tuple[int, ...], key: tuple[int, ...]) -> None:
    content = png_of_16_bits(*channels)
    keyed = content[:33] + png_chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) + content[33:]
    assert decode_picture(keyed).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_tiffs_are_white(mode: str) -> None:
    picture = Image.new(mode, (2, 2), (0,) * len(mode))
    assert decode_picture(encode(picture, "TIFF")).getpixel((0, 0)) == WHITE


def test_a_large_transparent_picture_is_laid_on_white_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = Image.merge("RGBA", [Image.effect_noise((33, 29), 90) for _ in range(4)])
    whole = Image.alpha_composite(Image.new("RGBA", noise.size, "white"), noise).convert("RGB")
    monkeypatch.setattr(picture_modes, "_STRIP_PX", 100)
    assert decode_picture(encode(noise)).tobytes() == whole.tobytes()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_a_moving_picture_with_a_broken_end_is_its_first_frame(kind: str) -> None:
    frames = [Image.effect_noise((64, 64), 90).convert("RGB") for _ in range(3)]
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    if kind != "GIF":
        assert decode_picture(content).size == (64, 64)
        return
    first = decode_picture(content)
    assert decode_picture(content[: len(content) * 2 // 3]).tobytes() == first.tobytes()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
OTHERS = {
    "PostScript": EPS,
    "PDF": b"%PDF-1.7\n",
    "SVG": b"  <svg xmlns='http://www.w3.org/2000/svg'/>",
    "a web page": b"<!doctype html><p>404",
    "HEIF": b"\0\0\0\x18ftypheic\0\0\0\0",
    "Photoshop": b"8BPS\0\1",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_named_and_never_opened_by_a_program(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_: pytest.fail("a program was started"))
    with pytest.raises(RowError, match=f"it is {name}.*; convert it to PNG or JPEG"):
        decode_picture(OTHERS[name])


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 12_001, 10_000, 1, 0, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(RowError, match="its 12001 x 10000 pixels exceed the limit of 120,000,000: make it smaller"):
            decode_picture(content)
