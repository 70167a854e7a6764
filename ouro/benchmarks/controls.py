"""The two controls beside every accuracy: what a constant answer scores, and what the wrong image scores.

What a model scores above both, it has seen in the image: neither language priors nor the balance of the
benchmark explain it (compare Goyal et al. 2017, section 1, on priors in VQA).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from ouro.benchmarks.scoring.vqa import Rule
from ouro.core.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from ouro.benchmarks.vqa import Question


def majority_answers(questions: Sequence[Question], *, rule: Rule = "evalai") -> dict[str, str]:
    """Each question type's most frequent answer, normalised; of equally frequent ones the first by alphabet.

    Counted over the benchmark's own answers, all annotators: the best that a model without eyes but with the
    benchmark's priors would guess.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for question in questions:
        counts[question.question_type].update(
            normalise(answer, split_words=rule == "evalai") for answer in question.answers
        )
    return {kind: min(count, key=lambda answer: (-count[answer], answer)) for kind, count in counts.items()}


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
