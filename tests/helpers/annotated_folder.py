"""A small annotated folder, hostile text in it, and what `ouro export` writes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from cli import export as command
from ouro.core.artifacts import write_shard
from ouro.core.images import content_id, encode_png
from ouro.core.records import Image, QAPair, Region, Rejected, Scene
from ouro.export.conversations import (
    ImageAnnotations,
)
from ouro.export.writers import FORMATS
from ouro.nano.scenes import draw_scene, render

NASTY = 'a "sign"\u2028with \\n\n{{ 7 * 7 }} </s> <im_end|> \U0001f600 ,'
NASTY_EXPORTED = 'a "sign"\u2028with \\n\n{{ 7 * 7 }} < /s> < im_end|> \U0001f600 ,'  # its control tokens broken


def regions_of(image_id: str) -> list[Region]:
    return [
        Region(f"{image_id}/0", image_id, None, 0, (0.0, 0.0, 256.0, 256.0), 1.0, "image", "", "scene"),
        Region(f"{image_id}/0.0", image_id, f"{image_id}/0", 1, (0.0, 64.0, 128.0, 192.0), 0.9, "rpn"),
        Region(f"{image_id}/0.0.0", image_id, f"{image_id}/0.0", 2, (16.0, 80.0, 48.0, 112.0), 0.8, "rpn"),
        Region(f"{image_id}/0.1", image_id, f"{image_id}/0", 1, (200.0, 8.0, 232.0, 40.0), 0.8, "rpn"),
    ]


def scene_of(image_id: str, text: str = "a table with a red star .") -> Scene:
    texts = (
        (f"{image_id}/0", text),
        (f"{image_id}/0.0", "a table"),
        (f"{image_id}/0.0.0", "a red star ."),
        (f"{image_id}/0.1", "a red star ."),
    )
    return Scene(image_id, text, (), texts)  # fmt: skip


def pairs_of(image_id: str, question: str = "what color is the star ?") -> list[QAPair]:
    return [
        QAPair(f"{image_id}-0", image_id, "style", question, "red", 0.5),
        QAPair(f"{image_id}-1", image_id, "object details", "how many stars are there ?", "two"),
        QAPair(f"{image_id}-2", image_id, "style", "is it dark ?", "no", 1.0),
    ]


def annotated_image(
    text: str = "a table .", caption: str = "a red star .", question: str = "what ?"
) -> ImageAnnotations:
    image = Image("i", "shard-00000/i.png", 256, 128, "i.png")
    scene = Scene("i", text, (), (("i/0", text), ("i/0.0", "a table"), ("i/0.0.0", caption), ("i/0.1", caption)))
    return ImageAnnotations(image, regions_of("i"), scene, pairs_of("i", question))


def write_annotated(root: Path) -> Path:
    """Five nano images in two shards: three are described, one was rejected by merge, one is held out.

    What is said of the first image holds quotes, line breaks and markup, and one region and one question hold a
    placeholder of the trainers.
    """
    rng = np.random.default_rng(0)
    for number, splits in enumerate((["train", "train", "test"], ["train", "train"])):
        name = f"shard-{number:05d}"
        images: list[Image] = []
        for split in splits:
            png = encode_png(PILImage.fromarray(render(draw_scene(rng))))
            image_id = content_id(png)
            (root / "images" / name).mkdir(parents=True, exist_ok=True)
            (root / "images" / name / f"{image_id}.png").write_bytes(png)
            images.append(Image(image_id, f"{name}/{image_id}.png", 256, 256, f"{image_id}.png", split, ("a photo",)))
        train = [image.image_id for image in images if image.split == "train"]
        described = train if number == 0 else train[:1]
        scenes = [scene_of(image_id) for image_id in described]
        pairs = [pair for image_id in described for pair in pairs_of(image_id)]
        if number == 0:
            image_id = described[0]
            texts = (*scene_of(image_id).region_texts[:3], (f"{image_id}/0.1", "a screen with <image> on it"))
            scenes[0] = Scene(image_id, NASTY, (), texts)
            pairs[:3] = pairs_of(image_id, "what does <bbox> mean ?")
        regions = [region for image in images for region in regions_of(image.image_id)]
        lost = [Rejected("merge", image_id, "no_descriptions") for image_id in train[len(described) :]]
        write_shard(root / "images" / f"{name}.parquet", Image, images, n_in=len(images))
        write_shard(root / "regions" / f"{name}.parquet", Region, regions, n_in=len(regions))
        write_shard(root / "scenes" / f"{name}.parquet", Scene, scenes, n_in=len(train), rejected=lost)
        write_shard(root / "qa" / f"{name}.parquet", QAPair, pairs, n_in=len(pairs))
    return root


def rows_of(path: Path) -> list[dict[str, Any]]:
    """JSON lines as a strict reader has them: a line ends with a line feed, nothing else."""
    return [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]


def export_all(annotated: Path, root: Path) -> dict[str, Path]:
    """Every format, written once: name -> folder."""
    for name in FORMATS:
        command.run(annotated, root / name, name)
    return {name: root / name for name in FORMATS}
