"""Which questions and which k sub-regions one epoch shows of a sample.

Regions, by train.selection:

    random       k of them without replacement (OURO section 3.2)
    by-level     one of each level of the tree in turn, from the top, random within a level: large and small alike
    informative  those that the drawn questions are about; the paper's future work (section 4.4: random selection "may
                 not always focus on the most relevant areas for question answering")

For `informative`, a region r helps a question q by w(q, r) = sum of idf(t) over the words t of question and answer that
stand in r's description, idf(t) = log(regions / regions whose description has t): a word that all of them have says
nothing. Chosen is greedily what adds most to sum over q of max over chosen r of w(q, r), a monotone submodular aim, of
which greed reaches 1 - 1/e (Nemhauser, Wolsey and Fisher, 1978); ties, and what adds nothing, at random.
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
    from ouro.training.samples import Asked, Part, Sample

Words = frozenset[str]


class Draw(NamedTuple):
    """What one epoch shows of a sample: indices into its parts and its pairs."""

    regions: tuple[int, ...]
    pairs: tuple[int, ...]


def draw(sample: Sample, params: Train, rng: np.random.Generator, *, shown: bool = True) -> Draw:
    """Up to `questions` pairs, and min(k, regions) regions (none unless `shown`) in ascending order."""
    pairs = diverse(sample.pairs, params.questions, rng)
    k = min(params.k, len(sample.parts)) if shown else 0
    asked = [sample.pairs[i] for i in pairs]
    return Draw(tuple(sorted(select(sample.parts, asked, k, params.selection, rng))), pairs)


def diverse(pairs: Sequence[Asked], n: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Up to n pairs, one of each aspect before a second of any ("up to five diverse questions", section 3.2)."""
    by_aspect: dict[str, list[int]] = defaultdict(list)
    for i in rng.permutation(len(pairs)):
        by_aspect[pairs[i].aspect].append(int(i))
    ranked = [(rank, i) for members in by_aspect.values() for rank, i in enumerate(members)]
    return tuple(i for _, i in sorted(ranked, key=lambda r: r[0])[:n])


def select(
    parts: Sequence[Part], asked: Sequence[Asked], k: int, strategy: str, rng: np.random.Generator
) -> tuple[int, ...]:
    """Indices of k of the parts, in the order in which they were chosen."""
    order = [int(i) for i in rng.permutation(len(parts))]
    if strategy == "by-level":
        order = _by_level(parts, order)
    elif strategy == "informative":
        order = _informative(parts, asked, k, order)
    return tuple(order[:k])


def _by_level(parts: Sequence[Part], order: Sequence[int]) -> list[int]:
    turn: Counter[int] = Counter()
    placed: list[tuple[int, int, int]] = []
    for i in order:
        placed.append((turn[parts[i].level], parts[i].level, i))
        turn[parts[i].level] += 1
    return [i for _, _, i in sorted(placed)]


def _informative(parts: Sequence[Part], asked: Sequence[Asked], k: int, order: Sequence[int]) -> list[int]:
    helps = helpfulness(parts, asked)
    best = [0.0] * len(asked)
    left, chosen = list(order), list[int]()
    while left and len(chosen) < k:
        adds = [sum(max(0.0, w - b) for w, b in zip(helps[i], best, strict=True)) for i in left]
        chosen.append(left.pop(adds.index(max(adds))))  # the first of equals, which is random
        best = [max(b, w) for b, w in zip(best, helps[chosen[-1]], strict=True)]
    return chosen


def helpfulness(parts: Sequence[Part], asked: Sequence[Asked]) -> list[list[float]]:
    """w(q, r) of every part (outer) and question."""
    texts = [words(part.text) for part in parts]
    known = Counter(word for text in texts for word in text)
    wanted = [words(f"{a.question} {a.answer}") for a in asked]
    return [[sum(math.log(len(parts) / known[t]) for t in q & text) for q in wanted] for text in texts]


def words(text: str) -> Words:
    return frozenset(re.findall(r"\w+", text.lower()))


def coverage(sample: Sample, chosen: Draw) -> float:
    """Share in 0..1 of what the sample's regions could help its drawn questions with that the chosen ones do; 1 where
    no region could."""
    helps = helpfulness(sample.parts, [sample.pairs[i] for i in chosen.pairs])
    if not helps:
        return 1.0
    most = sum(max(column) for column in zip(*helps, strict=True))
    got = sum(max((helps[i][q] for i in chosen.regions), default=0.0) for q in range(len(chosen.pairs)))
    return got / most if most > 0 else 1.0
