"""Describe (eq. 3): one flat wave equals the literal recursion of Algorithm 1; OCR text is carried along."""

from __future__ import annotations

import numpy as np
from PIL import Image as PILImage

from ouro.annotate.describe import crop, describe_shard, with_text
from ouro.annotate.merge import Piece, merge_shard, merge_text, plain
from ouro.annotate.recurse import propose_shard
from ouro.boxes import relative_position
from ouro.nano.scenes import draw_scene, render
from ouro.params import Describe, Merge, Propose
from ouro.records import Image, Region
from ouro.vision.protocols import Request
from ouro.vision.scripted import ScriptedVLM


def _says(request: Request) -> str:
    """A reply that depends on the pixels, so that a wrong crop shows."""
    [image] = request.images
    return f"a thing{int(np.asarray(image).astype(int).sum()) % 97} of {image.width} by {image.height}"


class _Grid:
    """Proposes the four quarters of every image larger than 60 px."""

    name = "rpn"

    def propose(self, images):  # type: ignore[no-untyped-def]
        from ouro.vision.protocols import Proposal

        out = []
        for image in images:
            w, h = image.width // 2, image.height // 2
            cells = [(x, y, x + w - 4, y + h - 4) for y in (1, h + 2) for x in (1, w + 2)]
            out.append([Proposal(tuple(map(float, c)), 0.9, "rpn") for c in cells] if image.width > 60 else [])
        return out


def _literal(picture: PILImage.Image, region: Region, regions: list[Region], params: Describe) -> tuple[Piece, ...]:
    """RecursiveDescribe of Algorithm 1, lines 6 to 18, one region at a time."""
    shown = picture if region.parent_id is None else crop(picture, region.box, params.context)
    own = Piece(_says(Request((shown,), params.prompt)), region.region_id)
    children = [r for r in regions if r.parent_id == region.region_id]
    parts = [(_literal(picture, c, regions, params), relative_position(c.box, region.box)) for c in children]
    return merge_text(own, parts)


def test_waves_equal_the_literal_recursion_of_algorithm_1() -> None:
    pictures = {str(i): PILImage.fromarray(render(draw_scene(np.random.default_rng(i)))) for i in range(3)}
    images = [Image(i, f"{i}.png", 256, 256, "s") for i in pictures]
    regions = propose_shard([(i, pictures[i.image_id]) for i in images], [_Grid()], Propose()).regions
    assert len(regions) > 3 * 5
    params = Describe()
    said, rejected = describe_shard(regions, pictures, ScriptedVLM(_says), params)
    scenes, _, _ = merge_shard(images, regions, said, Merge(max_words=10_000))
    assert rejected == [] and len(said) == len(regions)
    for image, scene in zip(images, scenes, strict=True):
        mine = [r for r in regions if r.image_id == image.image_id]
        assert scene.text == plain(_literal(pictures[image.image_id], mine[0], mine, params))


def test_a_silent_model_is_rejected_with_a_reason() -> None:
    region = Region("i/0", "i", None, 0, (0.0, 0.0, 32.0, 32.0), 1.0, "image")
    said, rejected = describe_shard(
        [region], {"i": PILImage.new("RGB", (32, 32))}, ScriptedVLM(lambda r: " \n"), Describe()
    )
    assert said == [] and [r.reason for r in rejected] == ["empty_reply"]


def test_ocr_text_is_carried_unless_it_is_quoted_already() -> None:
    assert with_text("a sign.", "milk") == "a sign that says milk"
    assert with_text("a sign reading Milk", "milk") == "a sign reading Milk"
    assert with_text("", "milk") == "text that says milk"


def test_ocr_text_inside_a_longer_word_is_not_taken_for_a_quotation() -> None:
    assert with_text("a building with a sign", "in") == "a building with a sign that says in"
    assert with_text("a heart", "art") == "a heart that says art"
    assert with_text("a poster (Art), framed", "art") == "a poster (Art), framed"
    assert with_text("a tag at $3.50", "$3.50") == "a tag at $3.50"
