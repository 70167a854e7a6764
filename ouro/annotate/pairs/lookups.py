"""A number that a question asks for by its label: "What is the total?" of a line that reads "TOTAL 12.50".

The label's figure is the next one behind it, else the one right before it; of a row of labels beside a row of as many
figures it is the one of the same place. Source: ours, after how receipts, tickets and charts are laid out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from ouro.annotate.prose.evidence import FIGURE, Evidence
from ouro.annotate.prose.likeness import readings
from ouro.annotate.prose.passages import content_words
from ouro.annotate.prose.things import stem

_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|\w[\w'’-]*")
_MONTHS: Final = (
    "january february march april june july august september october november december".split()  # "may" is a verb, too
)
_NEAR = 4  # words between a label and its figure
# Words of a question for a figure that are no label of it.
_ASKING: Final = frozenset(
    stem(w)
    for w in (
        "number value amount figure sum much cost many price shown show written write printed print display displayed "
        "image picture photo bar item label set time say read give "
    ).split()
)


def look_up(question: str, answer: str, evidence: Evidence) -> bool | None:
    """Whether the inputs give the answer's figure to the question's label; None where the answer is no single figure,
    or nobody gives the label any."""
    wanted = [t for t in _TOKEN.findall(answer.lower()) if FIGURE.fullmatch(t)]
    if any(month in answer.lower() and month not in evidence.words | evidence.read_words for month in _MONTHS):
        return False
    if len(wanted) != 1 or question.lower().startswith("how many"):
        return None
    words = [stem(w) for w in content_words(question) if not readings(w)]
    wholes = {stem(w) for noun in evidence.wholes for w in noun.split()}
    labels = [w for w in words if w not in _ASKING | wholes] or [w for w in words if w not in wholes and w != "number"]
    if "cost" in question.lower() and not set(labels) - {"cost", "much"}:
        labels = ["price", "total", "cost"]
    figures = {f for text in evidence.written_lines() for f in _figures(text, labels)}
    return wanted[0] in figures if figures else None


def _figures(text: str, labels: Sequence[str]) -> Iterator[str]:
    """The figures of the labels in one text; of a label of several words they follow the last."""
    tokens = _TOKEN.findall(text.lower())
    places = [at for at, w in enumerate(tokens) if stem(w) in labels]
    for at in places:
        if at + 1 not in places:
            figure = _row(tokens, at) or _behind(tokens, at) or _before(tokens, at)
            yield from [figure] if figure else []


def _behind(tokens: Sequence[str], at: int) -> str:
    return next((t for t in tokens[at + 1 : at + 2 + _NEAR] if FIGURE.fullmatch(t)), "")


def _before(tokens: Sequence[str], at: int) -> str:
    near = tokens[max(0, at - 2) : at]
    return next((t for t in reversed(near) if FIGURE.fullmatch(t)), "")


def _row(tokens: Sequence[str], at: int) -> str:
    """The figure of a label's place, where as many labels stand beside as many figures; "" elsewhere."""
    first, last = at, at + 1
    while first and not FIGURE.fullmatch(tokens[first - 1]):
        first -= 1
    while last < len(tokens) and not FIGURE.fullmatch(tokens[last]):
        last += 1
    n = last - first
    before = tokens[max(0, first - n) : first]
    behind = tokens[last : last + n]
    rows = [r for r in (before, behind) if n > 1 and len(r) == n and all(FIGURE.fullmatch(t) for t in r)]
    return rows[0][at - first] if rows else ""
