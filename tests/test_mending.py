"""Files whose pixels are all there are taken whatever their metadata and end are like; where pixels are missing, how
many is said."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pictures import png_bytes, random_picture
from PIL import Image as PILImage

from ouro.core.images import ImageError, decode_image

LIMIT = 1_000_000


def _chunk(name: bytes, data: bytes, wrong: bool = False) -> bytes:
    crc = zlib.crc32(name + data) ^ (0xDEAD if wrong else 0)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def _smooth(size: tuple[int, int] = (160, 128)) -> PILImage.Image:
    return random_picture(7, (8, 6)).resize(size, PILImage.Resampling.BICUBIC)


def _encode(kind: str, picture: PILImage.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (picture or _smooth()).save(buffer, kind, **options)
    return buffer.getvalue()


def _same(damaged: bytes, whole: bytes) -> bool:
    return np.array_equal(np.asarray(decode_image(damaged, LIMIT)), np.asarray(decode_image(whole, LIMIT)))


def _insert(png: bytes, chunk: bytes, where: str) -> bytes:
    at = 33 if where == "start" else png.index(b"IEND") - 4
    return png[:at] + chunk + png[at:]


BIG = zlib.compress(b"a" * 80_000_000)
CHUNKS = {
    "text of 80 MB": _chunk(b"zTXt", b"Comment\0\0" + BIG),
    "international text of 80 MB": _chunk(b"iTXt", b"c\0\1\0\0\0" + BIG),
    "profile of 80 MB": _chunk(b"iCCP", b"icc\0\0" + BIG),
    "profile of an unknown method": _chunk(b"iCCP", b"icc\0\7" + BIG[:50]),
    "profile without a name": _chunk(b"iCCP", b""),
    "plain text of 3 MB": _chunk(b"tEXt", b"c\0" + b"a" * 3_000_000) * 30,
    "comment with a wrong checksum": _chunk(b"tEXt", b"c\0hello", wrong=True),
    "time with a wrong checksum": _chunk(b"tIME", b"1234567", wrong=True),
    "EXIF with a wrong checksum": _chunk(b"eXIf", b"MM\0*\0\0\0\x08", wrong=True),
    "EXIF of nothing": _chunk(b"eXIf", b""),
    "resolution that is too short": _chunk(b"pHYs", b"12"),
    "gamma that is too short": _chunk(b"gAMA", b"1"),
    "chromaticities that are too short": _chunk(b"cHRM", b"123"),
    "animation of nothing": _chunk(b"acTL", b""),
    "frame of nothing": _chunk(b"fcTL", b"12"),
    "private chunk with a wrong checksum": _chunk(b"prVt", b"hello", wrong=True),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("where", ["start", "end"])
@pytest.mark.parametrize("name", CHUNKS)
def test_a_png_keeps_its_pixels_whatever_its_metadata_is_like(name: str, where: str) -> None:
    whole = _encode("PNG")
    assert _same(_insert(whole, CHUNKS[name], where), whole)


def test_transparency_and_orientation_outlive_a_damaged_comment() -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    grey = PILImage.new("L", (40, 20), 0)
    grey.paste(200, (0, 0, 20, 20))
    png = _insert(_encode("PNG", grey, transparency=200, exif=exif), CHUNKS["comment with a wrong checksum"], "start")
    picture = decode_image(png, LIMIT)
    assert picture.size == (20, 40)  # turned
    assert (picture.getpixel((10, 2)), picture.getpixel((10, 37))) == ((255, 255, 255), (0, 0, 0))  # over white


def test_damage_to_a_pngs_pixels_is_still_damage() -> None:
    png = bytearray(_insert(_encode("PNG"), CHUNKS["comment with a wrong checksum"], "start"))
    png[png.index(b"IDAT") + 500] ^= 0xFF
    with pytest.raises(ImageError) as caught:
        decode_image(bytes(png), LIMIT)
    assert caught.value.reason in {"unreadable", "truncated", "not_an_image"}


@pytest.mark.parametrize("cut", [1, 4, 12, 14])
def test_a_png_without_its_end_is_whole(cut: int) -> None:
    """The end chunk has 12 bytes; before it stand the checksum of the pixels and, in their stream, its own."""
    whole = _encode("PNG")
    assert _same(whole[:-cut], whole)


def test_of_a_png_the_missing_rows_are_counted() -> None:
    """10 rows of 16 grey pixels, stored uncompressed: header 2 + 5 bytes, then 17 bytes a row; six rows are there."""
    raw = b"".join(b"\0" + bytes([n * 20] * 16) for n in range(10))
    stream = zlib.compress(raw, 0)
    png = png_bytes((16, 10), 8, 0, raw)
    at = png.index(b"IDAT") + 4
    png = png[: at - 8] + struct.pack(">I", len(stream)) + b"IDAT" + stream
    png = png[: len(png) - len(stream) + 7 + 6 * 17 + 3]
    with pytest.raises(ImageError, match=re.escape("4 of 10 rows are missing or incomplete (40.0%)")) as caught:
        decode_image(png, LIMIT)
    assert caught.value.reason == "truncated"


SEGMENTS: dict[str, bytes] = {
    "JFIF that is too short": b"\xff\xe0\x00\x07JFIF\0",
    "profile that is damaged": b"\xff\xe2\x00\x0eICC_PROFILE\0",
    "Photoshop block that is damaged": b"\xff\xed\x00\x19Photoshop 3.0\x008BIM\x03\xed\0\0\0",
    "picture format that is damaged": b"\xff\xe2\x00\x0aMPF\0MM\0*",
    "Adobe that is too short": b"\xff\xee\x00\x08Adobe\0",
    "EXIF of noise": b"\xff\xe1\x00\x14Exif\0\0" + b"\x99" * 12,
    "comments of 6 MB": (b"\xff\xfe\xff\xff" + b"c" * 65_533) * 100,
    "profile of 4 MB": b"".join(
        b"\xff\xe2\xff\xffICC_PROFILE\0" + bytes([n + 1, 64]) + b"p" * (65_533 - 14) for n in range(64)
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SEGMENTS)
def test_a_jpeg_keeps_its_pixels_whatever_its_metadata_is_like(name: str) -> None:
    whole = _encode("JPEG")
    assert _same(whole[:2] + SEGMENTS[name] + whole[2:], whole)
    assert _same(whole[:2] + SEGMENTS[name] + whole[2:-2], whole)  # and without its end


def test_a_cmyk_jpeg_outlives_damaged_metadata() -> None:
    """Its Adobe segment says that the inks are inverted: without it the picture would be a negative."""
    whole = _encode("JPEG", _smooth().convert("CMYK"))
    assert _same(whole[:2] + SEGMENTS["JFIF that is too short"] + whole[2:], whole)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 2}])
@pytest.mark.parametrize("cut", [1, 2])
def test_a_jpeg_without_its_end_is_whole(options: dict[str, Any], cut: int) -> None:
    whole = _encode("JPEG", **options)
    assert _same(whole[:-cut], whole)


def test_a_grey_jpeg_without_its_end_is_whole() -> None:
    """A decoder fills what is missing with just this grey."""
    whole = _encode("JPEG", PILImage.new("RGB", (160, 128), (128, 128, 128)))
    assert _same(whole[:-2], whole)


@pytest.mark.parametrize(("kind", "cut"), [("GIF", 1), ("WEBP", 0), ("PPM", 0), ("BMP", 0)])
def test_other_formats_without_their_end(kind: str, cut: int) -> None:
    whole = _encode(kind)
    assert _same(whole[: len(whole) - cut], whole)


def _half(kind: str, **options: object) -> Callable[[], bytes]:
    def make() -> bytes:
        whole = _encode(kind, random_picture(3, (160, 128)), **options)
        return whole[: len(whole) // 2]

    return make


@pytest.mark.parametrize("make", [_half("PNG"), _half("JPEG", quality=95), _half("BMP"), _half("PPM"), _half("TIFF")])
def test_of_half_a_file_about_half_the_rows_are_missing(make: Callable[[], bytes]) -> None:
    """Noise takes the same number of bytes in every row."""
    with pytest.raises(ImageError, match=r"\d+ of 128 rows are missing") as caught:
        decode_image(make(), LIMIT)
    assert caught.value.reason == "truncated"
    assert 54 <= int(caught.value.detail.split()[0]) <= 82


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("kind", "options"), [("WEBP", {}), ("TIFF", {"compression": "tiff_lzw"})])
def test_other_formats_say_what_is_missing(kind: str, options: dict[str, object]) -> None:
    with pytest.raises(ImageError, match=r"bytes are missing|directory|rows are missing") as caught:
        decode_image(_half(kind, **options)(), LIMIT)
    assert caught.value.reason == "truncated"


def test_limits_apply_to_pixels_and_before_they_are_read() -> None:
    bomb = _insert(png_bytes((5_000, 5_000), 8, 0, b"\0"), CHUNKS["comment with a wrong checksum"], "start")
    with pytest.raises(ImageError) as caught:
        decode_image(bomb, LIMIT)
    assert caught.value.reason == "too_many_pixels"
