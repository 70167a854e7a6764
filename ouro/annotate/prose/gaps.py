"""What the words between two things of a sentence say of them: a relation, a list, a new clause, nothing."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ouro.annotate.english.chunks import DETERMINERS, STOP

_AREA = r"(?:left|right|top|bottom|upper|lower|center|centre|middle|background|foreground|distance|front|back)"
_BEFORE = r"(?:(?:on|to|at|in)\s+(?:the|its|her|his)\s+)?"
# In the order in which they are tried where a word could be of several.
RELATIONS: Final = (
    ("than", r"than"),
    ("front", r"in front of"),
    ("behind", r"behind|at the back of"),
    ("in", r"(?:in|on|at)\s+the\s+(?:far\s+)?(?:left|right)(?:[- ]hand)?\s+(?:side|part|half|edge)\s+of"),
    ("left", rf"{_BEFORE}left(?:[- ]hand)?(?: side)? of"),
    ("right", rf"{_BEFORE}right(?:[- ]hand)? (?:side )?of"),
    (
        "in",
        rf"(?:in|on|at|along|near)\s+(?:the|its)\s+(?:\w+\s+)?(?:{_AREA}|side|edge|end|middle)"
        r"(?:\s+(?:side|part|corner|half))?\s+of",
    ),
    ("above", r"above|over"),
    ("below", r"below|under|underneath|beneath"),
    (
        "beside",
        r"next to|beside|near|surround\w*(?: by| with)?|alongside|adjacent to|close to|along|against|around|between"
        r"|among",
    ),
    (
        "has",
        r"(?:filled|covered|topped|decorated|adorned|equipped) (?:with|by|in)|made (?:of|from|out of)|with|has|have|had"
        r"|having|featur\w+|includ\w+|contain\w*|wears?|wearing|holds?|holding|carr(?:y|ies|ying)|bears?|bearing"
        r"|displays?|displaying|consist\w* of",
    ),
    (
        "in",
        r"on top of|(?:hang\w*|hung|suspended|dangl\w*) from|(?:lean\w*|rest\w*|propped)(?: up)? against"
        r"|on|upon|atop|onto|in|inside|within|into|at|attached to|across|through|throughout",
    ),
    ("of", r"of|for"),
    ("beside", r"out of|by|from|toward|towards|to(?! be\b)"),
)
_RELATION = re.compile("|".join(rf"(?P<r{n}>\b(?:{words})\b)" for n, (_, words) in enumerate(RELATIONS)))
# A relation turned: "the cup is on the saucer" has the saucer have it. "does" is a verb that names none of them.
INVERSE: Final = {
    "in": "has", "has": "in", "front": "behind", "behind": "front", "above": "below", "below": "above",
    "left": "right", "right": "left", "beside": "beside", "does": "does", "of": "of", "than": "under",
}  # fmt: skip

_FUNCTION = "|".join(sorted((STOP | DETERMINERS) - {"of"}))
PLACE: Final = re.compile(
    rf"\b(?:on|in|at|to|near|along|towards?|from)\s+(?:(?:the|its|his|her)\s+)?(?:far\s+|very\s+)?"
    rf"(?P<area>{_AREA}(?:[- ]{_AREA})?)(?:[- ]hand)?"
    r"(?:\s+(?:side|corner|half|part|edge|area|portion|third|section))?"
    r"(?:\s+of\s+(?:the|this)\s+(?:image|picture|photo|photograph|scene|frame|view))?"
    rf"(?=\s*(?:$|[.,;:!?)\"])|\s+(?:and|{_FUNCTION})\b|\s+[a-z]{{3,}}s\b)",
    re.IGNORECASE,
)
"""A place of its own, "on the left side": no part of a relation."""

_VERB = r"(?:is|are|was|were|has|have|had|can|could|appears?|seems?|looks?"
_ACTS = re.compile(rf"\s*,?\s*(?:(?:that|which|who|also|all|both|each)\s+)*{_VERB}|(?!(?:{_FUNCTION})\b)[a-z]+s)\b")
_HAS = re.compile(rf"\s*,?\s*{_VERB})\b")
COPULA: Final = re.compile(r"\b(?:is|are|was|were|appears?|seems?|looks?|be)\b|\A['’](?:s|re)\b")
_CLAUSE = re.compile(r"[;:]|\bwhile\b|\bwhereas\b|\bbut\b")
_LISTED = re.compile(r"(?:,|and|or|\s)*")
_THERE = re.compile(r"\b(?:there|here)\b")
_TOGETHER = re.compile(r"\b(?:along with|together with|as well as|in addition to)\b")
_REVERSED = re.compile(r"\b(?:in|into|on|onto|of|from|with|at|to|by) (?:which|whom)\b")  # "into which it is engraved"
_MORE = re.compile(r"\w.*(?:,|\band\b)")


class Gap(NamedTuple):
    """The words between two things: `relation` the last that they name ("" none), `said` what stands before it.

    `clause`: what ends the clause before, None where it goes on; `listed`: they only list; `together`: by "along
    with", which may join any thing before; `there`: "there is"; `comma`: they have one.
    """

    relation: str
    said: str
    clause: str | None
    listed: bool
    together: bool
    there: bool
    comma: bool


def read_gap(text: str) -> Gap:
    """Read the lower-case words between two things."""
    text = _REVERSED.sub(" which", text)
    together = _TOGETHER.search(text) is not None
    text = _TOGETHER.sub(" and ", text)
    clause = _CLAUSE.search(text)
    ended = text[: clause.start()] if clause else None
    text = text[clause.end() :] if clause else text
    relation, said, rest = _relation(text)
    listed = not relation and _LISTED.fullmatch(rest) is not None
    listed = listed or (not relation and rest != text)
    return Gap(relation, said, ended, listed, together, _THERE.search(text) is not None, "," in rest)


def _relation(text: str) -> tuple[str, str, str]:
    """The last relation, what stands before it, and the text that decides about lists."""
    found = next(reversed(list(_RELATION.finditer(text))), None)
    if found is None:
        return "", text, text
    rest = text[found.end() :]
    if found.start() and _MORE.search(rest):  # "in black and red and a logo": the relation is that of what comes before
        return "", text, rest
    number = next(n for n in range(len(RELATIONS)) if found[f"r{n}"] is not None)
    return RELATIONS[number][0], text[: found.start()], text


def is_act(word: str) -> bool:
    """Whether a word tells what someone does: "running"; not "wearing", which relates two things."""
    return word.endswith("ing") and _RELATION.fullmatch(word) is None


def acts(after: str) -> bool:
    """Whether a verb follows a thing."""
    return _ACTS.match(after) is not None


def clearly_acts(after: str) -> bool:
    """Whether "is" or "has" follows it, which no plural looks like."""
    return _HAS.match(after) is not None
