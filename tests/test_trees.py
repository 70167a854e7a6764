"""Random trees from proposers that answer by the crop's pixels: they end, nest, and equal the literal recursion."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import PIL.Image
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.annotate.recurse import Grown, Node, divide, in_full_image, is_shown, propose_shard, root
from ouro.core import boxes
from ouro.core.params import Propose
from ouro.core.records import KINDS, Box, Image, Region, Rejected
from ouro.vision.protocols import Proposal

some_params = st.builds(
    Propose,
    nms_iou=st.floats(0, 1), max_depth=st.integers(0, 5), max_children=st.integers(1, 6),
    max_parent_cover=st.floats(0, 1), min_side=st.integers(1, 30),
)  # fmt: skip


def text(box: Box, words: str, score: float) -> Proposal:
    return Proposal(box, score, "ocr", words)


class Hashed:
    """Proposes what a generator seeded by the crop's pixels and size draws: the same for the same crop, random else.

    Now and then nothing, so that trees differ in depth; text also comes as blocks with lines.
    """

    def __init__(self, name: str, salt: int) -> None:
        self.name, self.salt = name, salt

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        return [self._one(image) for image in images]

    def _one(self, image: PIL.Image.Image) -> list[Proposal]:
        rng = np.random.default_rng([self.salt, zlib.crc32(image.tobytes()), *image.size])
        proposals: list[Proposal] = []
        for _ in range(int(rng.integers(0, 9)) if rng.random() < 0.8 else 0):
            x0, y0 = rng.uniform(-0.1, 0.8, 2) * image.size
            w, h = rng.uniform(0.1, 0.9, 2) * image.size  # some reach over the border
            box = (float(x0), float(y0), float(x0 + w), float(y0 + h))
            proposals += self._text(box, rng) if self.name == "ocr" else [Proposal(box, float(rng.random()), self.name)]
        return proposals

    def _text(self, box: Box, rng: np.random.Generator) -> list[Proposal]:
        x0, y0, x1, y1 = box
        score, middle = float(rng.uniform(0.5, 1)), (y0 + y1) / 2
        if rng.random() < 0.5:
            return [text(box, rng.choice(["7", "42", "word"]), score)]
        return [
            text(box, "above below", score),
            text((x0, y0, x1, middle - 1), "above", score),
            text((x0, middle + 1, x1, y1), "below", score),
        ]


def literal(image: Image, picture: PIL.Image.Image, proposers: list[Hashed], params: Propose) -> Grown:
    """Algorithm 1's recursion: one region, one call of each proposer, at a time, depth first."""
    regions: list[Region] = []
    rejected: list[Rejected] = []

    def visit(node: Node) -> int:
        regions.append(node.region)
        if node.region.level == params.max_depth:
            rejected.extend(Rejected("propose", node.region.region_id, "max_depth") for _ in node.parts)
            return 0
        x0, y0, x1, y1 = map(int, node.region.box)
        crop = picture.crop((x0, y0, x1, y1))
        active = [p for p in proposers if is_shown(p.name, node)]
        proposals = [in_full_image(p, node.region.box) for proposer in active for p in proposer.propose([crop])[0]]
        children, dropped = divide(node, proposals, params)
        rejected.extend(dropped)
        return len(proposals) + sum(visit(child) for child in children)

    n = 1 + visit(root(image, picture.size))
    return Grown(regions, rejected, n)


def check_tree(regions: list[Region], picture: PIL.Image.Image, params: Propose) -> None:
    by_id = {r.region_id: r for r in regions}
    assert len(by_id) == len(regions)
    for region in regions:
        path = region.region_id.removeprefix(f"{region.image_id}/").split(".")
        assert region.level == len(path) - 1 <= params.max_depth
        assert all(v == int(v) for v in region.box) and region.kind in KINDS
        if region.parent_id is None:
            assert (path, region.box, region.kind) == (["0"], (0, 0, *picture.size), "scene")
            continue
        assert region.parent_id == f"{region.image_id}/{'.'.join(path[:-1])}"
        parent, (x0, y0, x1, y1) = by_id[region.parent_id].box, region.box
        assert parent[0] <= x0 < x1 <= parent[2] and parent[1] <= y0 < y1 <= parent[3]
        assert boxes.area(region.box) <= params.max_parent_cover * boxes.area(parent)
        short, long = sorted((x1 - x0, y1 - y0))
        assert long >= params.min_side and long / short <= 200
        assert region.source == "ocr" or (short >= params.min_side and long / short <= params.max_aspect)
    for region in regions:
        children = [r for r in regions if r.parent_id == region.region_id]
        assert [r.region_id for r in children] == [f"{region.region_id}.{i}" for i in range(len(children))]
        assert len(children) <= params.max_children
        places, in_order = [r.box for r in children], list(range(len(children)))
        assert in_order in (boxes.reading_order(places), boxes.page_order(places))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 20), some_params, st.sampled_from([(200, 200), (331, 120), (1400, 60)]))
def test_random_trees_end_nest_and_equal_the_literal_recursion(
    salt: int, params: Propose, size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(salt)
    proposers = [Hashed("rpn", salt), Hashed("ocr", salt + 1), Hashed("selective-search", salt + 2)]
    images = [
        (Image(name, f"{name}.png", *size, "test"), PIL.Image.fromarray(noise.integers(0, 256, size[::-1], np.uint8)))
        for name in "ab"
    ]
    waves = propose_shard(images, proposers, params)
    assert waves.n_candidates == len(waves.regions) + len(waves.rejected)
    alone = [literal(image, picture, proposers, params) for image, picture in images]
    assert waves.regions == [region for one in alone for region in one.regions]
    assert waves.n_candidates == sum(one.n_candidates for one in alone)
    assert sorted((r.record_id, r.reason) for r in waves.rejected) == sorted(
        (r.record_id, r.reason) for one in alone for r in one.rejected
    )
    for image, picture in images:
        check_tree([r for r in waves.regions if r.image_id == image.image_id], picture, params)
