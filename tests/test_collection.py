"""A folder of images of every kind is ingested: each is kept or rejected with its reason, and the counts add up."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import files_of, png_bytes, random_picture
from PIL import Image as PILImage

from ouro.core.artifacts import list_shards, read_all, read_shard, read_sidecar, rejected_path
from ouro.core.images import ImageError, content_id, encode_png
from ouro.core.params import Ingest
from ouro.core.records import Image, Rejected
from ouro.ingest.collection import find_images, ingest_files
from ouro.ingest.manifest import read_manifest

# ---- folders ---------------------------------------------------------------------------------------


def test_find_lists_all_files_sorted_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.png", "a/2.png", "a/1.jpg", "notes.txt", ".DS_Store", ".git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [p.relative_to(tmp_path).as_posix() for p in find_images(tmp_path)]
    assert names == ["a/1.jpg", "a/2.png", "b.png", "notes.txt"]


def test_a_link_to_a_folder_is_listed_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert list(find_images(tmp_path)) == [tmp_path / "a.png", tmp_path / "loop"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: None, "no_folder"),
        (lambda p: p.touch(), "no_folder"),
        (lambda p: p.mkdir(), "empty_folder"),
        (lambda p: (p / "sub").mkdir(parents=True), "empty_folder"),
    ],
)
def test_a_missing_or_empty_folder_is_one_error(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    folder = tmp_path / "photos"
    make(folder)
    with pytest.raises(ImageError, match=r"photos: got .*expected") as caught:
        find_images(folder)
    assert caught.value.reason == reason


# ---- ingest ----------------------------------------------------------------------------------------


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """A folder with every kind of file that issue reports are made of; what each becomes is in MESSY."""
    root = tmp_path / "photos"
    root.mkdir()
    random_picture(1).save(root / "01_good.png")
    (root / "02_text.png").write_text("no image")
    data = encode_png(random_picture(2, (64, 64)))
    (root / "03_truncated.png").write_bytes(data[: len(data) // 2])
    (root / "04_empty.png").touch()
    random_picture(4).convert("CMYK").save(root / "05_cmyk.jpg")
    PILImage.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64).save(root / "06_16bit.png")
    frames = [random_picture(7), random_picture(8)]
    frames[0].save(root / "07_animated.gif", save_all=True, append_images=frames[1:])
    exif = PILImage.Exif()
    exif[0x0112] = 6
    random_picture(9).save(root / "08_rotated.jpg", exif=exif)
    random_picture(10).save(tmp_path / "outside.png")
    (root / "09_link_out.png").symlink_to(tmp_path / "outside.png")
    (root / "10_bomb.png").write_bytes(png_bytes((60_000, 60_000), 1, 0, b"\0" * 9))
    random_picture(1).save(root / "11_duplicate.bmp")
    (root / "12_link_in.png").symlink_to(root / "01_good.png")
    PILImage.new("RGB", (4, 4)).save(root / "13_tiny.png")
    (root / "14_link_folder").symlink_to(root)
    (root / os.fsdecode(b"15_\xff.png")).write_bytes(encode_png(random_picture(15)))
    return root


MESSY_KEPT = [
    "01_good.png", "05_cmyk.jpg", "06_16bit.png", "07_animated.gif", "08_rotated.jpg", "15_\\xff.png",
]  # fmt: skip
MESSY_REJECTED = {
    "02_text.png": "not_an_image", "03_truncated.png": "truncated", "04_empty.png": "empty_file",
    "09_link_out.png": "outside_folder", "10_bomb.png": "too_many_pixels", "11_duplicate.bmp": "duplicate",
    "12_link_in.png": "duplicate", "13_tiny.png": "too_small", "14_link_folder": "unreadable",
}  # fmt: skip


@pytest.mark.parametrize("shard_images", [1, 2, 3, 100])
def test_every_file_is_kept_or_rejected_with_its_reason(messy: Path, tmp_path: Path, shard_images: int) -> None:
    out, ticks = tmp_path / "images", list[int]()
    shards = ingest_files(find_images(messy), messy, out, Ingest(shard_images=shard_images), progress=ticks.append)
    assert shards == list_shards(out)
    assert len(shards) == -(-len(MESSY_KEPT) // shard_images)
    images = read_all(out, Image)
    dropped = [r for s in shards if rejected_path(s).exists() for r in read_shard(rejected_path(s), Rejected)]
    assert [i.source for i in images] == MESSY_KEPT
    assert {r.record_id: r.reason for r in dropped} == MESSY_REJECTED
    assert {r.stage for r in dropped} == {"ingest"} and all(r.detail for r in dropped)
    sidecars = [read_sidecar(s) for s in shards]
    assert all(s.n_in == s.n_out + sum(s.rejected.values()) and s.n_out > 0 for s in sidecars)
    assert sum(s.n_in for s in sidecars) == sum(ticks) == len(MESSY_KEPT) + len(MESSY_REJECTED)


def test_stored_files_are_what_the_records_say(messy: Path, tmp_path: Path) -> None:
    out = tmp_path / "images"
    ingest_files(find_images(messy), messy, out, Ingest(shard_images=4))
    images = read_all(out, Image)
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.png")} == {i.path for i in images}
    for image in images:
        data = (out / image.path).read_bytes()
        assert image.image_id == content_id(data) == Path(image.path).stem
        with PILImage.open(out / image.path) as stored:
            assert (stored.format, stored.mode, stored.size) == ("PNG", "RGB", (image.width, image.height))
    rotated = next(i for i in images if i.source == "08_rotated.jpg")
    assert (rotated.width, rotated.height) == (30, 40)


def test_ingest_again_gives_the_same_bytes_and_removes_what_is_gone(messy: Path, tmp_path: Path) -> None:
    out, fresh = tmp_path / "images", tmp_path / "fresh"
    random_picture(99).save(messy / "00_first.png")
    ingest_files(find_images(messy), messy, out, Ingest(shard_images=2))
    (messy / "00_first.png").unlink()
    for folder in (out, fresh):
        ingest_files(find_images(messy), messy, folder, Ingest(shard_images=3))
    assert files_of(out) == files_of(fresh)


def test_a_folder_without_images_is_one_error_and_leaves_the_earlier_output_as_it_was(tmp_path: Path) -> None:
    """The shards and pictures of the earlier ingest were once removed before the first file was looked at."""
    root, out = tmp_path / "photos", tmp_path / "out"
    root.mkdir()
    random_picture(1).save(root / "a.png")
    ingest_files(find_images(root), root, out, Ingest())
    before = files_of(out)
    (root / "a.png").unlink()
    (root / "a.txt").write_text("x")
    (root / "b.png").touch()
    with pytest.raises(ImageError, match=r"got 2 files, no image \(1 empty_file, 1 not_an_image\)") as caught:
        ingest_files(find_images(root), root, out, Ingest())
    assert caught.value.reason == "no_images"
    assert files_of(out) == before and len(before) == 3  # data, sidecar, picture


def test_manifest_entries_are_ingested_with_split_and_captions(tmp_path: Path) -> None:
    root = tmp_path / "collection"
    root.mkdir()
    random_picture(1).save(root / "a.png")
    random_picture(2).save(tmp_path / "b.png")
    (root / "m.csv").write_text("path,split,caption\na.png,test,a thing\n../b.png,,\ngone.png,,\n")
    entries = read_manifest(root / "m.csv")
    (shard,) = ingest_files(entries, root, tmp_path / "out", Ingest())
    (image,) = read_shard(shard, Image)
    assert (image.source, image.split, image.captions) == ("a.png", "test", ("a thing",))
    assert read_sidecar(shard).rejected == {"outside_folder": 1, "unreadable": 1}
