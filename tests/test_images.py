"""Every kind of bad image file is handled or rejected with its reason, and the counts add up. Real files."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import png_bytes, random_picture
from PIL import Image as PILImage

from ouro.core import pictures as core_pictures
from ouro.core.images import ImageError, content_id, encode_png, load_image
from ouro.core.records import Image

LIMIT = 1_000_000
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def _half(left: tuple[int, int, int] = RED, right: tuple[int, int, int] = BLUE) -> PILImage.Image:
    """40 x 20, left half of one colour, right half of another."""
    picture = PILImage.new("RGB", (40, 20), right)
    picture.paste(left, (0, 0, 20, 20))
    return picture


def _reason(path: Path, limit: int = LIMIT, root: Path | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(path, limit, root)
    assert caught.value.detail
    return caught.value.reason


def _near(picture: PILImage.Image, at: tuple[int, int], color: tuple[int, int, int], by: int = 2) -> bool:
    got = picture.getpixel(at)
    assert isinstance(got, tuple)
    return max(abs(a - b) for a, b in zip(got, color, strict=True)) <= by


def test_an_image_error_survives_the_way_between_processes() -> None:
    got = pickle.loads(pickle.dumps(ImageError("too_small", "4 x 4 pixels")))
    assert (type(got), got.reason, got.detail) == (ImageError, "too_small", "4 x 4 pixels")


# ---- one file: handled -----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp", "ppm", "gif", "jp2"])
def test_common_formats_are_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    _half().save(path, lossless=True)  # meant for WebP, the others ignore it
    picture = load_image(path, LIMIT)
    assert (picture.mode, picture.size) == ("RGB", (40, 20))
    assert _near(picture, (2, 2), RED) and _near(picture, (37, 17), BLUE)


def test_the_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    _half().save(tmp_path / "a.jpg", "PNG")
    assert _near(load_image(tmp_path / "a.jpg", LIMIT), (2, 2), RED)


def test_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "cmyk.jpg"
    _half().convert("CMYK").save(path, quality=100)
    with PILImage.open(path) as stored:
        assert stored.mode == "CMYK"
    picture = load_image(path, LIMIT)
    assert picture.mode == "RGB"
    assert _near(picture, (5, 10), RED, by=6) and _near(picture, (34, 10), BLUE, by=6)


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.tile(np.array([0, 257, 128 * 257, 65_535], dtype=np.uint16).repeat(4), (16, 1))
    path = tmp_path / "grey16.png"
    PILImage.fromarray(values).save(path)
    with PILImage.open(path) as stored:
        assert stored.mode == "I;16"
    row = np.asarray(load_image(path, LIMIT))[0, ::4]
    assert row.tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]


def test_16_bit_colour_is_scaled(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">3H", 65_535, 128 * 257, 0) * 16
    (tmp_path / "rgb16.png").write_bytes(png_bytes((16, 16), 16, 2, row * 16))
    assert load_image(tmp_path / "rgb16.png", LIMIT).getpixel((3, 3)) == (255, 128, 0)


def test_floating_point_picture_is_stretched_from_min_to_max(tmp_path: Path) -> None:
    values = np.full((16, 16), -1.0, dtype=np.float32)
    values[:, 8:] = 3.0
    PILImage.fromarray(values).save(tmp_path / "depth.tif")
    picture = load_image(tmp_path / "depth.tif", LIMIT)
    assert (picture.getpixel((0, 0)), picture.getpixel((15, 0))) == ((0, 0, 0), WHITE)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparent_parts_become_white(tmp_path: Path, mode: str) -> None:
    picture = _half(left=(0, 0, 0), right=(0, 0, 0)).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 20, 20))
    path = tmp_path / ("a.tif" if mode == "PA" else "a.png")
    if mode == "P":
        indexed = PILImage.new("P", (40, 20), 1)
        indexed.putpalette([0, 0, 0, 0, 0, 0])
        indexed.paste(0, (0, 0, 20, 20))
        indexed.save(path, transparency=0)
    elif mode == "PA":
        picture.save(path)
    else:
        picture.convert(mode).save(path)
    loaded = load_image(path, LIMIT)
    assert (loaded.mode, loaded.getpixel((3, 3)), loaded.getpixel((37, 3))) == ("RGB", WHITE, (0, 0, 0))


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif", "mpo"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    frames = [PILImage.new("RGB", (16, 16), color) for color in (RED, BLUE)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with PILImage.open(path) as stored:
        assert getattr(stored, "n_frames", 1) == 2
    assert _near(load_image(path, LIMIT), (8, 8), RED, by=6)


@pytest.mark.parametrize(
    ("orientation", "size", "red_at", "blue_at"),
    [
        (1, (40, 20), (2, 10), (37, 10)),
        (2, (40, 20), (37, 10), (2, 10)),  # mirrored
        (3, (40, 20), (37, 10), (2, 10)),  # upside down
        (6, (20, 40), (10, 2), (10, 37)),  # to be turned right: left becomes top
        (8, (20, 40), (10, 37), (10, 2)),  # to be turned left: left becomes bottom
    ],
)
@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_exif_orientation_is_applied(
    tmp_path: Path,
    ending: str,
    orientation: int,
    size: tuple[int, int],
    red_at: tuple[int, int],
    blue_at: tuple[int, int],
) -> None:
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    _half().save(path, exif=exif)
    picture = load_image(path, LIMIT)
    assert picture.size == size
    assert _near(picture, red_at, RED, by=6) and _near(picture, blue_at, BLUE, by=6)
    assert not picture.getexif()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_therandom_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    _half().save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff broken")
    assert load_image(path, LIMIT).size == (40, 20)


# ---- one file: refused -----------------------------------------------------------------------------


def test_a_text_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    assert _reason(tmp_path / "a.jpg") == "not_an_image"


def test_postscript_is_not_handed_to_an_interpreter(tmp_path: Path) -> None:
    _half().save(tmp_path / "a.eps")
    assert _reason(tmp_path / "a.eps") == "not_an_image"


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert _reason(tmp_path / "a.png") == "empty_file"


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "tif"])
def test_a_truncated_file_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    random_picture(size=(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    assert _reason(path) in {"truncated", "unreadable"} if ending == "tif" else _reason(path) == "truncated"


def test_a_png_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    data = bytearray(encode_png(random_picture()))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    assert _reason(tmp_path / "a.png") in {"unreadable", "truncated"}


def test_zero_pixels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_bytes((0, 16), 8, 0, b""))
    (tmp_path / "b.bmp").write_bytes(b"BM" + struct.pack("<IIIIiiHH", 54, 0, 54, 40, 0, 16, 1, 24) + b"\0" * 24)
    assert {_reason(tmp_path / "a.png"), _reason(tmp_path / "b.bmp")} <= {
        "too_small",
        "not_an_image",
        "unreadable",
    }


@pytest.mark.parametrize(
    ("size", "reason"), [((7, 40), "too_small"), ((8, 1_601), "too_thin"), ((1_601, 8), "too_thin")]
)
def test_tiny_and_thin_pictures_are_refused(tmp_path: Path, size: tuple[int, int], reason: str) -> None:
    PILImage.new("RGB", size).save(tmp_path / "a.png")
    assert _reason(tmp_path / "a.png") == reason


@pytest.mark.parametrize("size", [(8, 8), (8, 1_600)])
def test_pictures_at_the_limits_are_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    PILImage.new("RGB", size).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", size[0] * size[1]).size == size


@pytest.mark.parametrize("side", [1_001, 9_600, 100_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    """9,600 squared makes Pillow warn, 100,000 squared makes it raise; one row of pixels is all there is."""
    (tmp_path / "bomb.png").write_bytes(png_bytes((side, side), 8, 0, b"\0" * (side + 1)))
    assert _reason(tmp_path / "bomb.png") == "too_many_pixels"


def test_a_text_chunk_that_inflates_is_no_way_in(tmp_path: Path) -> None:
    data = encode_png(_half())
    text = b"Comment\0\0" + zlib.compress(b"a" * 200_000_000)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    assert load_image(tmp_path / "a.png", LIMIT).size == (40, 20)  # its pixels are all there


def test_a_link_out_of_the_folder_is_refused_and_one_within_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    _half().save(tmp_path / "secret.png")
    _half().save(root / "a.png")
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "in.png").symlink_to(root / "a.png")
    (root / "broken.png").symlink_to(root / "gone.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    assert load_image(root / "in.png", LIMIT, root).size == (40, 20)
    assert _reason(root / "out.png", root=root) == "outside_folder"
    assert _reason(root / ".." / "secret.png", root=root) == "outside_folder"
    assert _reason(root / "broken.png", root=root) == _reason(root / "loop.png", root=root) == "unreadable"


def test_what_is_no_file_is_unreadable_and_blocks_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert _reason(tmp_path / "pipe.png") == "unreadable"
    assert _reason(tmp_path) == "unreadable"
    assert _reason(tmp_path / ("n" * 300)) == "unreadable"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_never_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    ending = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]))
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    random_picture(1, (24, 16)).save(path, ending)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(1, len(raw)))])
    try:
        picture = load_image(path, LIMIT)
    except ImageError as error:
        assert error.reason in {
            "not_an_image",
            "truncated",
            "unreadable",
            "too_many_pixels",
            "too_small",
            "too_thin",
        }
    else:
        assert picture.mode == "RGB" and min(picture.size) >= 8


def test_content_id_is_the_hash_of_the_stored_file_without_metadata(tmp_path: Path) -> None:
    plain, decorated = tmp_path / "a.png", tmp_path / "b.png"
    _half().save(plain)
    _half().save(decorated, dpi=(300, 300), icc_profile=b"x" * 100)
    stored = encode_png(load_image(plain, LIMIT))
    assert encode_png(load_image(decorated, LIMIT)) == stored
    assert content_id(stored) == hashlib.sha256(stored).hexdigest()[:16]


def test_pictures_forget_the_least_recently_used_and_keep_the_one_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = {"a": 10, "b": 10, "c": 10, "big": 40}
    for name, side in sides.items():
        PILImage.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    images = [Image(name, f"{name}.png", side, side, name) for name, side in sides.items()]
    monkeypatch.setattr(core_pictures, "CHUNK_PIXELS", 200)
    pictures = core_pictures.Pictures(images, tmp_path, 10_000)
    a, b = pictures["a"], pictures["b"]
    assert pictures["a"] is a and pictures["b"] is b  # both fit: 200 pixels
    assert pictures["a"] is a  # now b is the one used longest ago
    c = pictures["c"]
    assert pictures["a"] is a and pictures["c"] is c and pictures["b"] is not b
    big = pictures["big"]  # 1,600 pixels: alone over the limit
    assert pictures["big"] is big and pictures["a"] is not a
