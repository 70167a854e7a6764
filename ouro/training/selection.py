"""Selects the questions and the k sub-regions of a sample that one epoch trains on.

Regions, by train.selection:

    random       k of them without replacement (OURO section 3.2)
    by-level     one of each level of the tree in turn, from the top, random within a level: large and small regions
    informative  those that the drawn questions are about; the paper's future work (section 4.4: random selection "may
                 not always focus on the most relevant areas for question answering")

For `informative`, a region r helps a question q by w(q, r) = sum of idf(t) over the words t of question and answer that
occur in r's description, with idf(t) = log(regions / regions whose description has t): a word in all descriptions has
weight 0. Regions are selected greedily to maximise the sum over q of the maximum over selected r of w(q, r). This
objective is monotone submodular, so that greedy selection reaches at least 1 - 1/e of the optimum (Nemhauser, Wolsey
and Fisher, 1978). Ties, and regions that add nothing, are ordered at random.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from ouro.core.params import Train
    from ouro.training.samples import QuestionAnswer, Sample, SampleRegion

Words = frozenset[str]


class Selection(NamedTuple):
    """The regions and pairs of a sample that one epoch trains on: indices into its parts and its pairs."""

    regions: tuple[int, ...]
    pairs: tuple[int, ...]


def draw_selection(sample: Sample, params: Train, rng: np.random.Generator, *, with_regions: bool = True) -> Selection:
    """Up to `questions` pairs, and min(k, regions) regions (none unless `with_regions`) in ascending order."""
    pairs = pick_diverse(sample.pairs, params.questions, rng)
    k = min(params.k, len(sample.parts)) if with_regions else 0
    questions = [sample.pairs[i] for i in pairs]
    return Selection(tuple(sorted(select_regions(sample.parts, questions, k, params.selection, rng))), pairs)


def pick_diverse(pairs: Sequence[QuestionAnswer], n: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Up to n pairs, one of each aspect before a second of any ("up to five diverse questions", section 3.2)."""
    by_aspect: dict[str, list[int]] = defaultdict(list)
    for i in rng.permutation(len(pairs)):
        by_aspect[pairs[i].aspect].append(int(i))
    ranked = [(rank, i) for members in by_aspect.values() for rank, i in enumerate(members)]
    return tuple(i for _, i in sorted(ranked, key=lambda r: r[0])[:n])


def select_regions(
    parts: Sequence[SampleRegion], questions: Sequence[QuestionAnswer], k: int, strategy: str, rng: np.random.Generator
) -> tuple[int, ...]:
    """Indices of k of the parts, in the order of selection."""
    order = [int(i) for i in rng.permutation(len(parts))]
    if strategy == "by-level":
        order = _order_by_level(parts, order)
    elif strategy == "informative":
        order = _order_by_information(parts, questions, k, order)
    return tuple(order[:k])


def _order_by_level(parts: Sequence[SampleRegion], order: Sequence[int]) -> list[int]:
    next_rank: Counter[int] = Counter()
    ranked: list[tuple[int, int, int]] = []
    for i in order:
        ranked.append((next_rank[parts[i].level], parts[i].level, i))
        next_rank[parts[i].level] += 1
    return [i for _, _, i in sorted(ranked)]


def _order_by_information(
    parts: Sequence[SampleRegion], questions: Sequence[QuestionAnswer], k: int, order: Sequence[int]
) -> list[int]:
    weights = helpfulness(parts, questions)
    best = [0.0] * len(questions)
    remaining, selection = list(order), list[int]()
    while remaining and len(selection) < k:
        gains = [sum(max(0.0, w - b) for w, b in zip(weights[i], best, strict=True)) for i in remaining]
        selection.append(remaining.pop(gains.index(max(gains))))  # of equal gains the first, in random order
        best = [max(b, w) for b, w in zip(best, weights[selection[-1]], strict=True)]
    return selection


def helpfulness(parts: Sequence[SampleRegion], questions: Sequence[QuestionAnswer]) -> list[list[float]]:
    """w(q, r) of every part (outer) and question."""
    texts = [split_words(part.text) for part in parts]
    region_counts = Counter(word for text in texts for word in text)
    question_words = [split_words(f"{a.question} {a.answer}") for a in questions]
    return [[sum(math.log(len(parts) / region_counts[t]) for t in q & text) for q in question_words] for text in texts]


def split_words(text: str) -> Words:
    return frozenset(re.findall(r"\w+", text.lower()))


def question_coverage(sample: Sample, selection: Selection) -> float:
    """How much the drawn regions help the drawn questions, as a share (0..1) of what all the sample's regions could;
    1 if no region could help."""
    weights = helpfulness(sample.parts, [sample.pairs[i] for i in selection.pairs])
    if not weights:
        return 1.0
    best = sum(max(column) for column in zip(*weights, strict=True))
    reached = sum(max((weights[i][q] for i in selection.regions), default=0.0) for q in range(len(selection.pairs)))
    return reached / best if best > 0 else 1.0
