"""Some requests of a prepared batch: their rows of text and their pictures.

Shapes: B requests of a batch, T tokens of the longest, N images, L patches (ouro.vision.encoding).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from ouro.vision.protocols import Request


def images_of(requests: Sequence[Request], rows: Sequence[int]) -> list[int]:
    """The numbers, among all images of a batch's requests, of those that belong to these rows."""
    ends = [0]
    for request in requests:
        ends.append(ends[-1] + len(request.images))
    return [image for row in rows for image in range(ends[row], ends[row + 1])]


def take_rows(
    inputs: dict[str, torch.Tensor], rows: Sequence[int], images: Sequence[int], shared: bool
) -> dict[str, Any]:
    """The inputs of some rows, without padding that all of them have; `images`: `images_of` them.

    With `shared` pictures pixel_values stay those of the whole batch, since their features are indexed.
    """
    import torch

    mask = inputs["attention_mask"][list(rows)]
    first = int(mask.any(0).int().argmax())
    texts = ("input_ids", "attention_mask", "mm_token_type_ids")
    taken: dict[str, Any] = {name: inputs[name][list(rows), first:] for name in texts}
    if images:
        grids, pixels = inputs["image_grid_thw"], inputs["pixel_values"]
        if not shared:
            patches = pixels.split(grids.prod(1).tolist())
            pixels = torch.cat([patches[i] for i in images])
        taken |= {"pixel_values": pixels, "image_grid_thw": grids[list(images)]}
    return taken
