"""A VLM as the `Answerer` of ouro.benchmarks.evaluate: the image alone, or with its largest regions beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ouro.annotate.describe import crop
from ouro.benchmarks.evaluate import Answerer, Asked
from ouro.boxes import area
from ouro.vision.protocols import Request

if TYPE_CHECKING:
    import PIL.Image

    from ouro.params import Benchmark
    from ouro.records import Box, Region
    from ouro.vision.protocols import VisionLM


def largest_regions(regions: Sequence[Region], k: int) -> dict[str, list[Box]]:
    """image_id -> boxes of its k largest sub-regions, in the order of its tree; ties go to the earlier one.

    Training shows k random sub-regions (OURO section 3.2); a benchmark must not depend on a draw.
    """
    trees: dict[str, list[Region]] = {}
    for region in regions:
        if region.parent_id is not None:
            trees.setdefault(region.image_id, []).append(region)
    chosen: dict[str, list[Box]] = {}
    for image_id, tree in trees.items():
        ranked = sorted(range(len(tree)), key=lambda i: (-area(tree[i].box), i))
        chosen[image_id] = [tree[i].box for i in sorted(ranked[:k])]
    return chosen


def vlm_answerer(
    vlm: VisionLM,
    pictures: Mapping[str, PIL.Image.Image],
    boxes: Mapping[str, Sequence[Box]],
    params: Benchmark,
    progress: Callable[[int], None] | None = None,
) -> Answerer:
    """Greedy answers from `vlm`. `boxes`: the regions shown beside each image (none for the image alone).

    Crops are cut and bounded as in training (ouro.training.samples).
    """

    def request(asked: Asked) -> Request:
        picture = pictures[asked.image_id]
        crops = [crop(picture, box, 0.0) for box in boxes.get(asked.image_id, ())]
        bounds = (params.max_pixels, *[params.region_max_pixels] * len(crops))
        return Request((picture, *crops), asked.question.question + params.suffix, bounds)

    def answer(asked: Sequence[Asked]) -> list[str]:
        requests = [request(a) for a in asked]
        return vlm.generate(requests, max_new_tokens=params.max_new_tokens, progress=progress)

    return answer
