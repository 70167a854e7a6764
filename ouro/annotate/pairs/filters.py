"""Filters of an image's pairs: near-duplicates, questions that contain their answer, a surplus of yes and no. Ours;
the paper keeps what the model writes.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ouro.annotate.english.phrases import singular
from ouro.annotate.pairs.replies import Written

if TYPE_CHECKING:
    from ouro.core.records import QAPair, Rejected

POLAR = ("yes", "no")
_WORD = re.compile(r"[\w'-]+(?:\.\d+)?")
_LITTLE = frozenset("a an the is are was were on in at to".split())  # no content of an answer
_ROUNDING = 1e-9  # 0.58 of 50 is 29
# Words that two wordings of one question may differ in; those that ask, place or relate stay.
_IDLE = frozenset(
    "a an the is are was were be do does did there this that of image picture photo scene you see can".split()
)


def is_polar(answer: str) -> bool:
    """Whether an answer is yes or no."""
    return answer.lower().strip(" .") in POLAR


def leaks_answer(pair: Written) -> bool:
    """Whether the question contains all content words of the answer ("what color is the red car?", "red").

    A yes, a no, and one of the things that an either-or question names are answers all the same.
    """
    words = [w.lower() for w in _WORD.findall(pair.question)]
    answer_words = {singular(w) for w in _WORD.findall(pair.answer.lower()) if w not in _LITTLE}
    return (
        bool(answer_words)
        and not is_polar(pair.answer)
        and "or" not in words
        and answer_words <= {singular(w) for w in words}
    )


def wording(question: str) -> tuple[str, ...]:
    """The words of a question that decide its meaning, in their order: "what color is the star?" and "what is the
    color of the star?" are one."""
    words = [w for w in _WORD.findall(question.lower()) if w not in _IDLE]
    return tuple("what" if w == "which" else singular(w) for w in words)


def similarity(a: tuple[str, ...], b: tuple[str, ...]) -> float:
    """Of two wordings, in 0..1: the share of their words that match in order (difflib's ratio).

    Words, not characters, and in order: "left" for "right", or two things in each other's place, ask something else.
    rapidfuzz's ratio is of the longest common subsequence, another figure, which would keep other pairs.
    """
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


def is_near_duplicate(question: tuple[str, ...], accepted: Sequence[tuple[str, ...]], max_similarity: float) -> bool:
    """Whether a wording is more similar than allowed to an accepted one; never with a limit of 1."""
    return max_similarity < 1 and any(similarity(question, other) > max_similarity for other in accepted)


def yes_no_surplus(answers: Sequence[str], max_yes_no: float) -> set[int]:
    """Indices of an image's answers to reject, so that at most `max_yes_no` of the rest are yes or no, and of these at
    most that share (but no less than half) the commoner one. The latest goes first; a single one may stay.
    """
    polar = {word: [i for i, a in enumerate(answers) if is_polar(a) and word in a.lower()] for word in POLAR}
    others = len(answers) - sum(map(len, polar.values()))
    surplus: set[int] = set()
    while (n := sum(map(len, polar.values()))) > 1:
        commoner = max(POLAR, key=lambda word: (len(polar[word]), polar[word][-1:]))
        few = n <= max_yes_no * (n + others) + _ROUNDING
        if few and len(polar[commoner]) <= max(max_yes_no, 0.5) * n + _ROUNDING:
            break
        surplus.add(polar[commoner].pop())
    return surplus


def acceptance(pairs: Sequence[QAPair], rejected: Sequence[Rejected]) -> dict[str, list[int]]:
    """For the statistics of a shard: aspect -> [pairs kept, pieces written]. The id of a rejected
    piece is "<image id>/<aspect>/<number>"."""
    n_kept = Counter(pair.aspect for pair in pairs)
    n_rejected = Counter(r.record_id.split("/")[1] for r in rejected)
    aspects = sorted({*n_kept, *n_rejected})
    return {aspect: [n_kept[aspect], n_kept[aspect] + n_rejected[aspect]] for aspect in aspects}
