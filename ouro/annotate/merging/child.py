"""How a child's description joins its parent's text: as a phrase with its place, and as sentences of its own.

"a red mug with a blue handle, which stands on a shelf" becomes "a red mug at the left" where the parent says
"a mug", then "the mug has a blue handle" and so on; what a sign says stays with the sign.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ouro.annotate.english.mentions import exact_spot, mention
from ouro.annotate.english.phrases import DETERMINERS, bare, is_verb, mask, noun_phrases, sentences
from ouro.annotate.merging.contradictions import WHOLE
from ouro.annotate.merging.matching import Child
from ouro.annotate.merging.provenance import Marked, Piece, cut, plain, with_first
from ouro.core.records import Decision

_LEAD_IN = re.compile(
    r"(?:(?:the|this) (?:image|picture|photo|photograph|close-up|crop|view) "
    r"(?:shows?|depicts?|features?|captures?|displays?|presents?|contains?|is of)"
    r"|(?:a|an|the) (?:(?:close-up|closeup|cropped|blurry|detailed) )*"
    r"(?:image|picture|photo|photograph|view|shot|close-up|closeup) of"
    r"|(?:in (?:the|this) (?:image|picture|photo),? )?(?:there (?:is|are)|we (?:can )?see|you can see)"
    r"|this is|it is)\s+",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"(?P<its>its|their|his|her)\b|(?:it|they|he|she|this)\b(?=\s+[a-z])", re.IGNORECASE | re.ASCII)
_THERE = re.compile(r"there (?:is|are)\s+(?=(?:a|an|one|two|three|four|five|six|some|several)\s)", re.IGNORECASE)
_AUXILIARY = frozenset("is are was were has have had can".split())
_RELATIVE = re.compile(r"\s+(?:that|which|who)\s+")


class Placed(NamedTuple):
    """A child ready to go in: what stays in its phrase, the sentences that follow on their own, and decisions."""

    phrase: Marked
    sentences: list[Marked]
    decisions: list[Decision]


def read_child(marked: Marked, position: str) -> Child:
    """What a child opens with; "The image shows a cup" opens with "a cup"."""
    text = plain(marked)
    start = len(text) - len(text.lstrip(" .,"))
    lead_in = _LEAD_IN.match(text, start)
    for at in (lead_in.end(), start) if lead_in else (start,):
        rest = text[at:]
        first = next((p for p in noun_phrases(rest[:400]) if p.start == 0), None)
        if first is not None:
            kept = cut(marked, at, len(text))
            kept = with_first(kept, str.lower) if rest.split(None, 1)[0].lower() in DETERMINERS else kept
            lead = mention(rest, mask(rest), first)
            return Child(kept, plain(kept), position, exact_spot(position), marked[0].region_id, lead)
    kept = cut(marked, start, len(text))
    owner = marked[0].region_id if marked else ""
    return Child(kept, text[start:], position, exact_spot(position), owner, None)


def place(position: str) -> str:
    """ "top left" -> "at the top left"; "center" -> "in the center"."""
    return "in the center" if position == "center" else f"at the {position}"


def called(noun: str, child: Child, namesakes: bool) -> str:
    """ "the cup", or "the cup at the left" where other children have that name."""
    return f"the {noun} {place(child.position)}" if namesakes else f"the {noun}"


def split(child: Child, noun: str, namesakes: bool, capital: bool) -> Placed:
    """A child with a leading thing, as the end of a phrase ("... that says milk") and sentences.

    `noun`: what the merged text calls it; `capital`: whether sentences of this text begin with one.
    """
    assert child.lead is not None
    spans = sentences(child.text)
    first_end = spans[0][0] + len(bare(child.text[spans[0][0] : spans[0][1]])) if spans else len(child.text)
    lead = child.lead
    body = min(lead.body, first_end)
    thing = called(noun, child, namesakes)
    told: list[Marked] = []
    own_place = child.text[lead.body : lead.stop].strip(" ,")  # in its own crop, where everything is in the center
    rest = child.text[lead.stop : first_end]
    if _several(rest) or (lead.says and rest.startswith((" on ", " in "))):
        body = first_end
    elif rest.strip(" ,;:"):
        told.append(_sentence(child, lead.stop, first_end, thing, lead.plural))
    told += [_renamed(child, a, a + len(bare(child.text[a:b])), thing) for a, b in spans[1:]]
    told = [s for s in told if any(c.isalnum() for c in plain(s))]
    phrase = cut(child.marked, lead.phrase.end, body)
    decisions = [Decision("contradiction", child.region_id, own_place, WHOLE)] if body < first_end and own_place else []
    return Placed(phrase, [with_first(s, str.upper) for s in told] if capital else told, decisions)


def _several(rest: str) -> bool:
    """Whether the child lists more things beside its first: "a cup, a plate and a fork"."""
    match = re.match(r"(?:,| and |, and )\s*(?:and\s+)?(\w+)\s", rest)
    return match is not None and match[1].lower() in DETERMINERS | {"his", "her", "its", "their"}


def _sentence(child: Child, start: int, end: int, thing: str, plural: bool) -> Marked:
    """What a phrase says of its thing as a sentence: "with a handle" -> "the mug has a handle"."""
    rest = child.text[start:end]
    skip = len(rest) - len(rest.lstrip(" ,;:"))
    if relative := _RELATIVE.match(rest):
        skip = relative.end()
    word = rest[skip:].split(None, 1)[0].lower()
    if word == "with" and not relative:
        verb, skip = "have" if plural else "has", min(skip + len("with "), len(rest))
    elif word in _AUXILIARY or is_verb(word) or relative:
        verb = ""
    else:
        verb = "are" if plural else "is"
    start_piece = Piece(f"{thing} {verb} " if verb else f"{thing} ", child.region_id)
    return (start_piece, *cut(child.marked, start + skip, end))


def _renamed(child: Child, start: int, end: int, thing: str) -> Marked:
    """A later sentence of the child's; "it", "the mug" and "there is" become what the merged text calls it."""
    text = child.text[start:end]
    words = child.lead.phrase.words[-1:] if child.lead else ()
    itself = re.match(rf"the {re.escape(words[-1])}(?= )", text, re.IGNORECASE) if words else None
    if itself and itself.group() != thing and not text[itself.end() :].startswith((" at the ", " in the center")):
        return (Piece(thing, child.region_id), *cut(child.marked, start + itself.end(), end))
    if pronoun := _PRONOUN.match(text):
        name = f"{thing}'s" if pronoun["its"] else thing
        return (Piece(name, child.region_id), *cut(child.marked, start + pronoun.end(), end))
    if there := _THERE.match(text):
        have = "have" if child.lead and child.lead.plural else "has"
        return (Piece(f"{thing} {have} ", child.region_id), *cut(child.marked, start + there.end(), end))
    return cut(child.marked, start, end)
