"""The wrong pictures of the shuffled-image control.

What a model scores above its score on wrong pictures, and above that of a constant answer (ouro.benchmarks.scored), it
has seen in the image: neither language priors nor the balance of the benchmark explain it (compare Goyal et al. 2017,
section 1, on priors in VQA).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np


def wrong_images(image_ids: Iterable[str], rng: np.random.Generator) -> dict[str, str]:
    """A derangement: each distinct image id to another one, each used once, random by `rng`.

    A random cyclic order, each image followed by the next: no image can follow itself. The order of
    `image_ids` and repetitions do not matter. Raises ValueError with fewer than two distinct images.
    """
    distinct = sorted(set(image_ids))
    if len(distinct) < 2:
        raise ValueError(f"shuffled-image control: got {len(distinct)} image, expected 2 or more")
    order = [distinct[int(i)] for i in rng.permutation(len(distinct))]
    return dict(zip(order, order[1:] + order[:1], strict=True))
