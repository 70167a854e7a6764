"""The waves say what Algorithm 1 says when it is run literally: one region, one call of each model, at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from ouro.annotate.describe import describe_shard
from ouro.annotate.merge import merge_shard
from ouro.annotate.recurse import propose_shard
from ouro.annotate.reference import recursive_annotate
from ouro.core.params import Merge, Params
from ouro.core.records import Image
from ouro.nano.merging import merge_nano
from ouro.nano.scenes import draw_scene, render
from ouro.vision.hf import HFVisionLM
from ouro.vision.protocols import Request, VisionLM
from ouro.vision.rpn import RPNProposer
from ouro.vision.scripted import ScriptedVLM

BASE = Path(__file__).parent.parent / "models" / "nano"
SCENES = 6
PARAMS = Params(merge=Merge(max_tokens=100_000))  # the budget is a limit of ours, not of Algorithm 1
THINGS = "table box tray shelf star circle".split()


class _CountingRPN(RPNProposer):
    """The shipped one; notes how many pictures each call shows it."""

    def __init__(self) -> None:
        super().__init__(BASE / "rpn", min_score=PARAMS.propose.tau)
        self.shown: list[int] = []

    def propose(self, images):  # type: ignore[no-untyped-def]
        self.shown.append(len(images))
        return super().propose(images)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other are slow on a machine that does other work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _by_pixels(request: Request) -> str:
    """A reply that depends on the crop's every pixel, and now and then is empty."""
    [image] = request.images
    value = int(np.asarray(image, dtype=np.int64).sum())
    if value % 11 == 0:
        return ""
    text = f"a {('red', 'blue')[value % 2]} {THINGS[value % 6]}"
    return f"{text} with a {THINGS[value // 6 % 6]} and number {value % 97}"


def _assert_same(vlm: VisionLM, alone: VisionLM) -> None:
    """`vlm` is asked in waves, `alone` region by region."""
    pictures = {str(i): PILImage.fromarray(render(draw_scene(np.random.default_rng([3, i])))) for i in range(SCENES)}
    images = [Image(i, f"{i}.png", p.width, p.height, "s") for i, p in pictures.items()]
    proposer = _CountingRPN()
    regions = propose_shard([(i, pictures[i.image_id]) for i in images], [proposer], PARAMS.propose).regions
    waves = len(proposer.shown)
    descriptions, rejected = describe_shard(regions, pictures, vlm, PARAMS.describe)
    scenes = {
        s.image_id: s for s in merge_shard(images, regions, descriptions, PARAMS.merge, template=merge_nano).scenes
    }
    literal = [recursive_annotate(i, pictures[i.image_id], [proposer], alone, PARAMS, merge_nano) for i in images]
    assert [r for a in literal for r in a.regions] == regions
    assert [d for a in literal for d in a.descriptions] == descriptions
    assert len(descriptions) + len(rejected) == len(regions) > 6 * SCENES
    described = [a for a in literal if a.text]
    assert [(a.text, a.region_texts) for a in described] == [
        (s.text, dict(s.region_texts)) for s in (scenes[a.regions[0].image_id] for a in described)
    ]
    assert len(described) == len(scenes) >= SCENES - 2 and max(r.level for r in regions) >= 2
    assert waves <= PARAMS.propose.max_depth and set(proposer.shown[waves:]) == {1}
    assert len(proposer.shown) - waves == sum(r.level < PARAMS.propose.max_depth for r in regions)


def test_waves_equal_the_literal_recursion_with_replies_that_depend_on_every_pixel() -> None:
    vlm, alone = ScriptedVLM(_by_pixels), ScriptedVLM(_by_pixels)
    _assert_same(vlm, alone)
    assert len(vlm.asked) == len(alone.asked)
    assert any(_by_pixels(r) == "" for r in vlm.asked), "no region was left undescribed: draw other scenes"


def test_waves_of_the_nano_model_equal_its_literal_recursion() -> None:
    """In float32: batches of 64 and single requests round alike as far as greedy decoding can tell."""
    vlm = HFVisionLM(BASE, batch_size=64, batch_tokens=4096)
    _assert_same(vlm, vlm)
