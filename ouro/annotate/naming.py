"""Names of main objects: the short noun phrase in an annotator's reply, or why there is none.

Asked "What is the main object? Answer with a short noun phrase.", models answer with one ("a red cup."), but also with
a label ("Main object: a red cup"), a sentence about it ("The main object is a red cup"), a description, or nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ouro.annotate.cleaning import apart_from_thinking, plain_text, without_tags
from ouro.annotate.degenerate import in_other_script
from ouro.vision.protocols import Refused

MOST_WORDS, MOST_CHARACTERS = 12, 80
OUTCOMES = ("kept", "empty", "too_long", "sentence", "markup", "other_script", "refused")

_AROUND = " \t\"'“”‘’«»「」*_`,;:.!?。．，！？…"
_LABEL = re.compile(r"(?:the )?(?:main |central |primary )?(?:object|subject|name|answer)(?: name)?\s*[:：=]\s*", re.I)
_LEAD = re.compile(
    r"(?:(?:the |this )?(?:main|central|primary|most prominent) (?:object|subject|item|element|thing)"
    r"(?: shown| depicted| seen)?(?: (?:of|in|within) (?:the|this) (?:image|picture|photo|photograph|scene|crop))?"
    r" (?:is|are|appears to be)|(?:it|this|that)(?: is|'s|’s)|(?:these|those|they) are|there (?:is|are)) ",
    re.I,
)
_NONE = frozenset(["none", "n/a", "na", "nothing", "unknown", "unclear", "not sure", "no object", "no main object"])
_VERB = re.compile(  # finite verbs that are no nouns ("a watering can", "a talk show"), outside of relative clauses
    r"(?<!\bwho )(?<!\bthat )(?<!\bwhich )\b(?:is|are|was|were|has|have|had|depicts?|contains?|shows|appears?|seems?"
    r"|cannot|can't|isn't|aren't|doesn't|don't|sorry|i'm|i’m|i am|(?:can|could|may|might|will|would) (?:be|see))\b",
    re.I,
)
_INNER_STOP = re.compile(r"(?<!\b[A-Za-z])(?<!\b(?:St|Mr|Dr|No))(?<!\bMrs)[.!?。！？]\s*\S")
_CODE = re.compile(r"[{}<>|=\\\[\]]")
_ARTICLE = re.compile(r"(?:An?|The|Some|One|Two|Three)\b")


class Name(NamedTuple):
    """A name ("" where there is none) and one of OUTCOMES."""

    text: str
    outcome: str


def clean_name(reply: str, expected: str = "") -> Name:
    """The noun phrase of a reply in one line, with its article, without marks around it.

    `expected`: text in the scripts that are welcome beside Latin. Time is linear in the reply's length.
    """
    if isinstance(reply, Refused):
        return Name("", "refused")
    text = _unwrap(_first_line(reply))
    if not text or text.casefold() in _NONE:
        return Name("", "empty")
    if len(text) > MOST_CHARACTERS or len(text.split()) > MOST_WORDS:
        return Name("", "too_long")
    if _VERB.search(text) or _INNER_STOP.search(text):
        return Name("", "sentence")
    if _CODE.search(text):
        return Name("", "markup")
    if in_other_script(text, expected):
        return Name("", "other_script")
    article = _ARTICLE.match(text)
    return Name(article[0].lower() + text[article.end() :] if article and " " in text else text, "kept")


def _first_line(reply: str) -> str:
    """The first line with a letter or a digit, as plain text."""
    lines = without_tags(apart_from_thinking(reply).answer).splitlines()
    return next((text for line in lines if (text := plain_text(line))), "")


def _unwrap(line: str) -> str:
    """A line without label, lead-in, and the marks around it."""
    text = line.strip(_AROUND)
    for pattern in (_LABEL, _LEAD):
        match = pattern.match(text)
        text = text[match.end() :].strip(_AROUND) if match else text
    return " ".join(text.split())
