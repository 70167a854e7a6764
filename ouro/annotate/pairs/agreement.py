"""How far two short answers agree, in 0..1: for the round trip, which asks the model its own question again.

Both answers are normalised as VQA's evaluation does (ouro.benchmarks.scoring.vqa, with its sources): case, articles,
number words, contractions, punctuation. Equal ones agree fully; two numbers, or an answer that is yes or no, agree
fully or not at all. Otherwise it is the F1 of their words, as SQuAD scores answers (Rajpurkar et al. 2016, section
6.1; `f1_score` of evaluate-v1.1.py). Deviations: VQA's normalisation in place of SQuAD's, which keeps number words;
two answers without a word agree, as in SQuAD 2.0. Symmetric, 1 for an answer and itself.
"""

from __future__ import annotations

import re
from collections import Counter

from ouro.core.text import normalise

_POLAR = frozenset(["yes", "no"])
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def agreement(answer: str, other: str) -> float:
    """How far two answers to one question agree."""
    a, b = normalise(answer).split(), normalise(other).split()
    if a == b:
        return 1.0
    if not a or not b:
        return 0.0
    if a[0] in _POLAR or b[0] in _POLAR:  # "yes, there is" answers "yes"
        return float(a[0] == b[0])
    numbers = [_NUMBER.fullmatch(" ".join(words)) for words in (a, b)]
    if all(numbers):
        return float(float(" ".join(a)) == float(" ".join(b)))
    return _f1(Counter(a), Counter(b))


def _f1(a: Counter[str], b: Counter[str]) -> float:
    return 2 * (a & b).total() / (a.total() + b.total())
