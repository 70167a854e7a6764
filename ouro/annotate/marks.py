"""What of a description composing may leave out: lead-ins, claims about the crop's own frame, guesses, filler.

The text stays as it was said; a `Mark` names characters of it and why. Patterns are of the ways in which
vision-language models write ("The image shows a close-up of ..."); each reads a sentence at most, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ouro.annotate.english.phrases import mask, sentences
from ouro.core.records import Mark

_IMAGE = r"(?:image|picture|photo|photograph|scene|shot|crop|frame|screenshot|illustration|snapshot|close-?up)"
_SHOWS = (
    r"(?:shows?|depicts?|features?|captures?|displays?|presents?|contains?|portrays?|illustrates?|showcases?|includes?"
    r"|highlights?|focuses on|provides|consists of|appears to (?:show|depict|be)|seems to (?:show|depict|be)|is|are)"
)
_CLOSE_UP = (
    r"(?:an?|the)\s+(?:[a-z-]+\s+){0,3}?(?:close-?\s?up|view|shot|image|picture|photo|photograph|look|snapshot|depiction)"
    r"(?:\s+(?:view|shot|image|picture|photo|photograph))?\s+(?:of|at)\s+"
)
_LEAD_IN = re.compile(
    r"(?:[a-z][\w' -]{0,40}:\s+(?=(?:the|this|in)\s))?"  # a heading of its own, "Engine: The image ..."
    rf"(?:(?:the|this)\s+(?:[a-z-]+\s+){{0,2}}?{_IMAGE}\s+{_SHOWS}\s+(?:the following(?:\s+\w+)?:\s*)?"
    rf"|(?:in|within)\s+(?:the|this)\s+(?:[a-z-]+\s+){{0,2}}?{_IMAGE},?\s+(?:(?:we|you|one)\s+can\s+see\s+)?"
    r"|(?:we|you|one)\s+can\s+see\s+|(?:this|here)\s+is\s+|(?:these|here)\s+are\s+"
    rf"|the\s+(?:visible\s+)?text\s+(?:in|of|on)\s+(?:the|this)\s+{_IMAGE}\s+(?:reads|says|states|is):?\s+"
    r"|the\s+text\s+(?:reads|says|states):?\s+"
    r"|(?:(?:the|some)\s+)?(?:key|main|notable)\s+(?:features|details|elements)\s+(?:include|are):?\s*"
    rf"|(?={_CLOSE_UP}))(?:{_CLOSE_UP})?",
    re.IGNORECASE,
)

_UNSHARP = r"(?:blurred|blurry|out of focus|cropped|cut off|cut-off|obscured|hidden|visible|in focus|zoomed in)"
_FRAME_SENTENCE = re.compile(
    r"(?:the|its|a)\s+(?:[a-z-]+\s+){0,2}?(?:background|foreground|backdrop)\s+(?:is|are|appears?|seems?)\b"
    rf"|(?:the|this)\s+(?:rest|edges?|quality|resolution|focus)\s+of\s+(?:the|this)\s+{_IMAGE}\b"
    rf"|(?:the|this)\s+{_IMAGE}\s+(?:is|appears?|seems?|has been|was)\s+(?:\w+\s+){{0,3}}?"
    rf"(?:{_UNSHARP}|taken|dark|grainy)\b"
    r"|(?:only\s+)?(?:an?\s+|the\s+)?(?:small\s+)?(?:part|portion|section|edge|bit)\s+of\b[^,.;]{1,80}?\b"
    r"(?:is|are|can be)\s+(?:also\s+)?(?:visible|seen|shown)\b",
    re.IGNORECASE,
)
_FRAME_CLAUSE = re.compile(
    r",?\s(?:and|with|while)\s+(?:only\s+)?(?:an?\s+|the\s+)?(?:small\s+)?(?:part|portion|section|edge|bit)\s+of\b"
    r"[^,.;]{1,80}?\b(?:is\s+|are\s+|can be\s+)?(?:visible|seen|shown)\b[^.;]*",
    re.IGNORECASE,
)
_FRAME_PHRASE = re.compile(
    rf"(?:,\s?|\s(?:that|which)\s+(?:is|are)\s+|\s(?:is|are)\s+|\s)?\b(?:(?:only\s+)?(?:partially|partly|mostly)\s+"
    rf"{_UNSHARP}|(?:slightly\s+)?out\s+of\s+(?:focus|frame)|cut\s+off(?:\s+(?:by|at)\s+the\s+edge)?"
    r"|(?:visible\s+)?(?:in|from|against)\s+the\s+(?:[a-z-]+\s+){0,2}?(?:background|foreground|backdrop|frame)"
    rf"|(?:visible\s+)?(?:in|on|at|near|along|towards?)\s+the\s+(?:[a-z-]+\s+){{1,4}}?of\s+(?:the|this)\s+{_IMAGE}"
    rf"|(?:filling|occupying|dominating|taking up)\s+(?:most\s+of\s+)?the\s+(?:entire\s+|whole\s+)?{_IMAGE})\b",
    re.IGNORECASE,
)

_MAYBE = r"(?:(?:most|very|quite)\s+)?(?:possibly|perhaps|probably|likely|presumably|maybe)"
_GUESS_SENTENCE = re.compile(
    rf"{_MAYBE}\b(?!-)|(?:[\w'’-]+\s+){{1,8}}?(?:(?:is|are|was|were)\s+{_MAYBE}\b(?!-)|(?:could|might|may)\s+(?:also\s+)?be\b"
    r"|(?:appears?|seems?|looks?)\s+(?:to\s+be|like)\s+(?:an?|the|some|made|from|part)\b)",
    re.IGNORECASE,
)
_GUESS_CLAUSE = re.compile(
    rf"(?:,\s?|\s)(?:(?:which|that)\s+)?(?:(?:(?:is|are)\s+)?{_MAYBE}|(?:could|might|may)\s+be)\b(?!-)[^,.;:!?]*",
    re.IGNORECASE,
)

_MOOD = r"(?:atmosphere|mood|ambian?ce|ambience|vibe|aesthetics?|impression)"
_EFFECT = (
    r"(?:suggest|indicat|imply|creat|giv|add|mak|convey|evok|enhanc|emphasi[sz]|highlight|contribut"
    r"|lend|impart|reinforc)"
)
_FILLER_SENTENCE = re.compile(
    rf"overall\b|(?:the|this|an?)\s+(?:[\w-]+\s+){{0,3}}?(?:overall|general)\b|(?:[\w'’-]+,?\s+){{0,6}}?{_MOOD}\b"
    r"|(?:the|its)\s+(?:[a-z-]+\s+){0,2}?(?:lighting|composition|contrast|combination|color palette|colour palette)\b"
    rf"|(?:this|it|the\s+{_IMAGE})\s+(?:[a-z]+\s+){{0,2}}?(?:(?:suggest|convey|indicat|evok|impl|emphasi[sz])(?:s|es|ies)"
    r"|(?:creates?|gives?|adds?|lends?)\s+(?:[\w-]+\s+){0,4}?(?:sense|feeling|feel|look|touch|effect|contrast|depth))\b",
    re.IGNORECASE,
)
_FILLER_CLAUSE = re.compile(
    rf",\s*(?:and\s+|which\s+|thus\s+|thereby\s+)?(?:{_EFFECT}(?:e|es|s|ing)|puts|helps|allows"
    r"|allowing|drawing attention)\b[^.;!?]*"
    r"|\sadds?\s+(?:an?\s+)?(?:touch|sense|depth|element|hint|character|charm|visual interest)\b[^.;!?]*",
    re.IGNORECASE,
)
_SENTENCE: Final = ((_FILLER_SENTENCE, "filler"), (_GUESS_SENTENCE, "guess"))
_CLAUSE: Final = ((_FILLER_CLAUSE, "filler"), (_GUESS_CLAUSE, "guess"))
_CROP: Final = ((_FRAME_CLAUSE, "frame"), (_FRAME_PHRASE, "frame"))


def find_marks(text: str, whole: bool) -> tuple[Mark, ...]:
    """The marks of a description in order, none overlapping; of two at one place the longer stands.

    `whole`: the text tells of the whole picture, whose frame is the picture's own: then nothing is marked "frame".
    What stands in quotation marks is never looked at.
    """
    masked = mask(text)
    marks = [mark for start, end in sentences(text) for mark in _in_sentence(masked, start, end, whole)]
    return tuple(_apart(marks))


def lead_in_end(text: str) -> int:
    """Where what a description says begins: the end of its opening lead-in, 0 without one."""
    return next((mark.end for mark in find_marks(text, whole=True) if mark.kind == "lead_in" and mark.start == 0), 0)


def _in_sentence(masked: str, start: int, end: int, whole: bool) -> Iterator[Mark]:
    lead = _LEAD_IN.match(masked, start, end)
    content_start = start
    if lead and lead.end() > start:
        yield Mark(start, lead.end(), "lead_in")
        content_start = lead.end()
    for pattern, kind in (*_SENTENCE, *(() if whole else ((_FRAME_SENTENCE, "frame"),))):
        if pattern.match(masked, start, end) or (kind == "frame" and pattern.match(masked, content_start, end)):
            yield Mark(start, end, kind)
    for pattern, kind in (*_CLAUSE, *(() if whole else _CROP)):
        for match in pattern.finditer(masked, content_start, end):
            yield Mark(match.start(), match.end(), kind)


def _apart(marks: list[Mark]) -> Iterator[Mark]:
    """In order, without those that overlap a longer one before or behind them."""
    disjoint_marks: list[Mark] = []
    for mark in sorted(marks, key=lambda m: (m.start, -m.end)):
        if not disjoint_marks or mark.start >= disjoint_marks[-1].end:
            disjoint_marks.append(mark)
        elif mark.end - mark.start > disjoint_marks[-1].end - disjoint_marks[-1].start:
            disjoint_marks[-1] = mark
    return iter(disjoint_marks)
