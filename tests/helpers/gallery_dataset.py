"""A dataset with everything that a gallery shows, hostile text among it, and its gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from PIL import Image as PILImage

from ouro.core.artifacts import write_shard
from ouro.core.images import encode_png
from ouro.core.layout import Layout, layout_of
from ouro.core.records import (
    Decision,
    Description,
    Image,
    Insertion,
    QAPair,
    Region,
    Rejected,
    Scene,
    Sentence,
)
from ouro.nano.scenes import draw_scene, render
from ouro.pages import gallery
from ouro.pages.gallery import write_gallery

if TYPE_CHECKING:
    pass

EVIL = "</script><script>window.hacked=1</script>\"'><img src=x onerror='window.hacked=1'>{{7*7}}${7*7}<!--"
ODD = "line\u2028para\u2029\u202eright to left\u202c \u0634\u062c\u0631\u0629 \\u003c \\ \x00 __proto__"
LONG = "wordwithoutend" * 400
TEXT = "a table at the top left. the table has a red star and a sign."
NANO, HOSTILE, BARE = "a" * 16, "b" * 16, "c" * 16


def nano_regions() -> list[Region]:
    """The whole image, a table in it, and on the table a star and a sign that OCR read."""
    return [
        Region(f"{NANO}/0", NANO, None, 0, (0, 0, 256, 256), 1.0, "image", kind="scene"),
        Region(f"{NANO}/0.0", NANO, f"{NANO}/0", 1, (10, 10, 120, 120), 0.9, "rpn"),
        Region(f"{NANO}/0.0.0", NANO, f"{NANO}/0.0", 2, (20, 20, 50, 50), 0.8, "rpn"),
        Region(f"{NANO}/0.0.1", NANO, f"{NANO}/0.0", 2, (60, 60, 110, 80), 0.7, "ocr", "milk", "text"),
    ]


def nano_scene() -> Scene:
    """ "a red star" and "a sign" were inserted; the first sentence tells of the table."""
    cut = TEXT.index(" the table has")
    star, sign = TEXT.index("a red star"), TEXT.index("a sign")
    return Scene(
        NANO, TEXT,
        (Insertion(star, star + 10, f"{NANO}/0.0.0"), Insertion(sign, sign + 6, f"{NANO}/0.0.1")),
        ((f"{NANO}/0", TEXT), (f"{NANO}/0.0", "a table with a red star and a sign")),
        (
            Sentence(0, cut, (f"{NANO}/0.0",)),
            Sentence(cut + 1, len(TEXT), (f"{NANO}/0.0", f"{NANO}/0.0.0", f"{NANO}/0.0.1")),
        ),
        (Decision("contradiction", f"{NANO}/0.0.0", "a blue star", "the closer look wins"),),
    )  # fmt: skip


def write_dataset(root: Path) -> Layout:
    """Two shards of real files: a drawn scene with everything, an image with hostile text, a bare one."""
    folders = layout_of(root)
    drawn = render(draw_scene(np.random.default_rng(0)))
    photo = np.random.default_rng(1).integers(0, 255, (600, 1500, 3), dtype=np.uint8)
    bare = np.full((40, 30, 3), 200, dtype=np.uint8)
    for path, pixels in {"shard-00000/a.png": drawn, "shard-00000/b.png": photo, "shard-00001/c.png": bare}.items():
        (root / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / path).write_bytes(encode_png(PILImage.fromarray(pixels)))
    evil_id = f"{HOSTILE}/0"
    first = [
        Image(NANO, "shard-00000/a.png", 256, 256, "nano.png", captions=("a table",)),
        Image(HOSTILE, "shard-00000/b.png", 1500, 600, f"../{EVIL}\n{ODD}", captions=(EVIL, LONG)),
    ]
    regions = [*nano_regions(), Region(evil_id, HOSTILE, None, 0, (0, 0, 1500, 600), 1.0, EVIL, ODD, EVIL)]
    descriptions = [
        Description(r.region_id, r.image_id, f"own words of {r.region_id[-1]}", "m") for r in nano_regions()
    ]
    descriptions.append(Description(evil_id, HOSTILE, EVIL + ODD + LONG, EVIL, EVIL))
    scenes = [nano_scene(), Scene(HOSTILE, EVIL + ODD, (), ((evil_id, EVIL),), (), (Decision(EVIL, "x", ODD, EVIL),))]
    pairs = [
        QAPair("1", NANO, "object details", "what color is the star?", "red", 0.75),
        QAPair("2", NANO, "style", "what is its pattern?", "striped"),
        QAPair("3", HOSTILE, EVIL, EVIL, ODD, 0.5),
    ]
    dropped = [
        Rejected("propose", f"{NANO}/0", "nms", "rpn score 0.400 box 130 130 200 200; fused"),
        Rejected("propose", f"{NANO}/0.0", "low_score", "rpn score 0.100 box nan 0 5 5"),
    ]
    name = "shard-00000.parquet"
    write_shard(folders.images / name, Image, first, n_in=3, rejected=[Rejected("ingest", EVIL, "not_an_image", ODD)])
    write_shard(folders.regions / name, Region, regions, n_in=7, rejected=dropped)
    write_shard(folders.descriptions / name, Description, descriptions, n_in=5)
    write_shard(folders.scenes / name, Scene, scenes, n_in=2)
    lost = [Rejected("synthesize", f"{NANO}/style/1", "no_support", "what is it? a cat")]
    write_shard(folders.qa / name, QAPair, pairs, n_in=4, rejected=lost)
    second = [Image(BARE, "shard-00001/c.png", 30, 40, "bare.png", "test")]
    write_shard(folders.images / "shard-00001.parquet", Image, second, n_in=1)
    gone = [Rejected("merge", BARE, "not_described", "no description of the whole image")]
    write_shard(folders.scenes / "shard-00001.parquet", Scene, [], n_in=1, rejected=gone)
    return folders


class GalleryFolder(NamedTuple):
    out: Path
    result: gallery.Gallery


def make_gallery(root: Path) -> GalleryFolder:
    """The gallery of that dataset, two images a page."""
    folders = write_dataset(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "PAGE", 2)
        result = write_gallery(folders, root / "gallery", title=f"t {EVIL}", round_="1")
    return GalleryFolder(root / "gallery", result)
