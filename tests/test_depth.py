"""10- and 12-bit samples in 16-bit files keep their brightness, it is said, and constant pictures are no copies."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from pictures import png_bytes
from PIL import Image as PILImage

from ouro.core.artifacts import read_all, read_sidecar
from ouro.core.depth import NOTE, depth_of, to_bytes
from ouro.core.images import decode_image, encode_png
from ouro.core.params import Ingest
from ouro.core.records import Image
from ouro.ingest.collection import depth_notes, find_images, ingest_files

LIMIT = 1_000_000


def _grey(samples: list[int], kind: str = "PNG") -> bytes:
    """Columns of 4 pixels of each sample, 16 rows."""
    buffer = io.BytesIO()
    PILImage.fromarray(np.tile(np.array(samples, np.uint16).repeat(4), (16, 1))).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("samples", "expected", "bits"),
    [
        ([0, 512, 1023], [0, 128, 255], 10),  # 512 / 1023 * 255 = 127.6
        ([0, 2048, 4095], [0, 128, 255], 12),
        ([0, 4096, 16_383], [0, 64, 255], 14),
        ([0, 128, 255], [0, 128, 255], 8),
        ([0, 341, 682], [0, 85, 170], 10),  # its brightest sample is no white
        ([0, 32_896, 65_535], [0, 128, 255], 16),
        ([0, 257, 16_448], [0, 1, 64], 16),  # a dark picture of 16 bits: 16,448 needs them
    ],
)
def test_grey_samples_are_read_by_their_depth(kind: str, samples: list[int], expected: list[int], bits: int) -> None:
    picture = decode_image(_grey(samples, kind), LIMIT)
    assert np.asarray(picture)[3, ::4, 0].tolist() == expected
    assert picture.info.get(NOTE, 16) == bits


@pytest.mark.parametrize(("samples", "expected"), [((1023, 512, 0), (255, 128, 0)), ((65_535, 512, 0), (255, 2, 0))])
def test_colour_samples_are_read_by_their_depth(samples: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    row = b"\0" + struct.pack(">3H", *samples) * 16
    assert decode_image(png_bytes((16, 16), 16, 2, row * 16), LIMIT).getpixel((3, 3)) == expected


def test_transparency_of_deep_colour_keeps_its_range() -> None:
    row = b"\0" + struct.pack(">8H", 1023, 0, 0, 65_535, 1023, 0, 0, 0) * 8
    picture = decode_image(png_bytes((16, 16), 16, 6, row * 16), LIMIT)
    assert (picture.getpixel((0, 0)), picture.getpixel((1, 0))) == ((255, 0, 0), (255, 255, 255))


def test_black_stays_black() -> None:
    assert np.asarray(decode_image(_grey([0, 0]), LIMIT)).max() == 0


def test_depths() -> None:
    assert [depth_of(n) for n in (0, 255, 256, 1023, 1024, 4095, 4096, 16_383, 16_384, 65_535)] == [
        8, 8, 10, 10, 12, 12, 14, 14, 16, 16,
    ]  # fmt: skip


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (37, 20)).astype(np.uint16)
    whole = to_bytes(values)
    monkeypatch.setattr("ouro.core.depth._STRIP", 20 * 7)
    strips = to_bytes(values)
    assert np.array_equal(whole[0], strips[0]) and whole[1] == strips[1] == 12
    assert np.array_equal(whole[0], np.rint(values / 4095 * 255).astype(np.uint8))


def test_what_was_scaled_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n, samples in enumerate(([0, 512, 1023], [1023, 512, 0], [4095, 2048, 2048], [0, 65_535, 0])):
        (folder / f"{n}.png").write_bytes(_grey(samples))
    [shard] = ingest_files(find_images(folder), folder, tmp_path / "images", Ingest())
    assert read_sidecar(shard).meta == {"scaled from bits": {"10": 2, "12": 1}}
    assert depth_notes([read_sidecar(shard)]) == [
        "2 pictures hold samples of at most 10 bits in files of 16: scaled by 1023, not 65535",
        "1 pictures hold samples of at most 12 bits in files of 16: scaled by 4095, not 65535",
    ]


def test_constant_pictures_are_never_near_duplicates(tmp_path: Path) -> None:
    """Greys 100 and 103 differ by less than encoding again moves a pixel; so does faint noise. Equal ones are equal."""
    folder = tmp_path / "photos"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(98, 105, (64, 64, 3)).astype(np.uint8)
    faint = np.full((64, 64, 3), 100, np.uint8)
    faint[20:40, 20:40] = 120
    pictures = [np.full((64, 64, 3), 100, np.uint8), np.full((64, 64, 3), 103, np.uint8), noise, faint]
    for n, pixels in enumerate([*pictures, pictures[0]]):
        (folder / f"{n}.png").write_bytes(encode_png(PILImage.fromarray(pixels)))
    [shard] = ingest_files(find_images(folder), folder, tmp_path / "images", Ingest())
    assert [i.source for i in read_all(tmp_path / "images", Image)] == ["0.png", "1.png", "2.png", "3.png"]
    assert read_sidecar(shard).rejected == {"duplicate": 1}
