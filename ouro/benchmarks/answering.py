"""A VLM as the `Answerer` of ouro.benchmarks.evaluate: the image alone, or with its largest regions beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ouro.benchmarks.evaluate import Answerer, Asked
from ouro.core.boxes import area
from ouro.core.crops import crop
from ouro.core.images import CHUNK_PIXELS
from ouro.vision.protocols import Request

if TYPE_CHECKING:
    import PIL.Image

    from ouro.core.params import Benchmark
    from ouro.core.records import Box, Region
    from ouro.vision.protocols import VisionLM

    Shown = tuple[PIL.Image.Image, ...]  # an image and, beside it, its crops


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
    chunk_pixels: int = CHUNK_PIXELS,
) -> Answerer:
    """Greedy answers from `vlm`. `boxes`: the regions shown beside each image (none for the image alone).

    Crops are cut and bounded as in training (ouro.training.samples), once an image. The model is asked in chunks
    of whole images that hold up to `chunk_pixels` with their crops; one image more is open between two chunks.
    """

    def show(image_id: str) -> Shown:
        picture = pictures[image_id]
        return picture, *(crop(picture, box, 0.0) for box in boxes.get(image_id, ()))

    def request(asked: Asked, shown: Shown) -> Request:
        bounds = (params.max_pixels, *[params.region_max_pixels] * (len(shown) - 1))
        return Request(shown, asked.question.question + params.suffix, bounds)

    def reply(asked: Sequence[Asked], chunk: Mapping[str, Shown]) -> dict[int, str]:
        """Index of a question -> reply, for all questions about the images of `chunk`."""
        chosen = [i for i, a in enumerate(asked) if a.image_id in chunk]
        requests = [request(asked[i], chunk[asked[i].image_id]) for i in chosen]
        said = vlm.generate(requests, max_new_tokens=params.max_new_tokens, progress=progress)
        return dict(zip(chosen, map(str, said), strict=True))  # a Refused one is an empty reply, and wrong

    def answer(asked: Sequence[Asked]) -> list[str]:
        replies: dict[int, str] = {}
        chunk: dict[str, Shown] = {}
        held = 0
        for image_id in dict.fromkeys(a.image_id for a in asked):
            shown = show(image_id)
            size = sum(view.width * view.height for view in shown)
            if chunk and held + size > chunk_pixels:
                replies |= reply(asked, chunk)
                chunk, held = {}, 0
            chunk[image_id] = shown
            held += size
        replies |= reply(asked, chunk)
        return [replies[i] for i in range(len(asked))]

    return answer
