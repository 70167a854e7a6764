"""Where parent and child disagree about one thing (OURO section 4.4 names it as a limit): one rule decides.

Each is believed about what it sees best: the close-up about the looks of its own object (colour, pattern,
material, contents, parts), the whole about numbers, sizes and the places of its own objects, OCR about text. What
loses is left out and recorded. Attributes contradict each other when they are of one kind and of different families
(see attributes.py); a mention with another place is another thing, no contradiction (see matching.py).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ouro.annotate.english.attributes import attribute, clashes
from ouro.annotate.english.lexicon import kinds_of, name_length
from ouro.annotate.english.mentions import LEADS, Mention
from ouro.annotate.english.phrases import Phrase, with_article
from ouro.annotate.merging.matching import Child
from ouro.annotate.merging.provenance import Marked, Piece
from ouro.core.records import Decision

CLOSE_UP = "close_up_tells_looks"
WHOLE = "whole_tells_numbers_sizes_places"
OCR = "ocr_tells_text"
SAID = "said_before"

WHOLE_KINDS = frozenset(["size", "height"])  # a close-up shows nothing small
_WORD = re.compile(r"[\w'’-]+")
_INDEFINITE = frozenset(["a", "an", "one"])


class Blend(NamedTuple):
    """One noun phrase made of the parent's and the child's, what it calls the thing, and what it left out."""

    marked: Marked
    noun: str
    decisions: tuple[Decision, ...]


def blend(own: Piece, here: Mention, child: Child, said: frozenset[str]) -> Blend:
    """The parent's phrase with what the child adds, each word with its region; the parent's article stays.

    `said`: attributes that the parent gives the thing elsewhere ("the cup is red") and that need not come again.
    """
    assert child.lead is not None
    mine, theirs = _worded(own.text, here.phrase), _worded(child.text, child.lead.phrase)
    decisions = [*_looks(own, here, child), *_sizes(here, child, said), *_numbers(here, child), *_repeats(here, child)]
    decisions += _names(own, here, child)
    lost = {word for d in decisions for word in d.text.split()} | said
    general = here.name in kinds_of(child.name)
    name = Piece(theirs[-1], child.region_id) if general else Piece(mine[-1], own.region_id)
    added = _listed([w for w in theirs[1:-1] if w.lower() not in lost])
    kept = [w for w in mine[:-1] if w.lower() not in lost and w.lower() not in LEADS]
    if theirs[-1] == name.text and _indefinite(here, child) and set(kept) <= set(added) and added == theirs[1:-1]:
        text = _cased(own, here, child.text[: child.lead.phrase.end])
        return Blend((Piece(text, child.region_id),), name.text, tuple(decisions))
    extra = [w for w in added if w == "and" or w not in kept]
    if not _listed(extra) and not general and not any(d.region_id == own.region_id for d in decisions):
        text = own.text[here.phrase.start : here.phrase.end]
        return Blend((Piece(text, own.region_id),), name.text, tuple(decisions))
    words = _swapped(own, mine, child, extra, lost)
    return Blend(_phrase(own, here, [*words, name]), name.text, tuple(decisions))


def _worded(text: str, phrase: Phrase) -> list[str]:
    """A phrase's words as they are written."""
    return _WORD.findall(text, phrase.start, phrase.end)


def _swapped(own: Piece, mine: list[str], child: Child, extra: list[str], lost: set[str]) -> list[Piece]:
    """The parent's attributes, in the place of a lost one the child's of that kind, then what else the child adds."""
    words: list[Piece] = []
    left = list(extra)
    for word in mine[:-1]:
        kind = (attribute(word.lower()) or ("",))[0]
        if word.lower() in lost:
            instead = [w for w in left if kind and (attribute(w.lower()) or ("",))[0] == kind]
            words += [Piece(w, child.region_id) for w in instead]
            left = [w for w in left if w not in instead]
        elif word.lower() not in LEADS:
            words.append(Piece(word, own.region_id))
    words += [Piece(w, child.region_id) for w in _listed(left)]
    kept = set(_positions([w.text for w in words]))
    return [w for at, w in enumerate(words) if at in kept]


def _looks(own: Piece, here: Mention, child: Child) -> list[Decision]:
    """The parent's attributes that the close-up contradicts."""
    words = here.phrase.words[:-1]
    kinds = [c.kind for c in clashes(words, child.lead.phrase.words[:-1] if child.lead else ())]
    lost = [" ".join(w for w in words if (attribute(w) or ("",))[0] == k) for k in kinds if k not in WHOLE_KINDS]
    return [Decision("contradiction", own.region_id, text, CLOSE_UP) for text in lost]


def _sizes(here: Mention, child: Child, said: frozenset[str]) -> list[Decision]:
    """The child's sizes that the whole contradicts."""
    found = clashes([*here.phrase.words[:-1], *sorted(said)], child.lead.phrase.words[:-1] if child.lead else ())
    return [Decision("contradiction", child.region_id, c.second, WHOLE) for c in found if c.kind in WHOLE_KINDS]


def _repeats(here: Mention, child: Child) -> list[Decision]:
    """The child's attributes that the parent gives in another word ("large", "big")."""
    mine = {attribute(w) for w in here.phrase.words[:-1]} - {None}
    words = [w for w in child.lead.phrase.words[:-1] if attribute(w) in mine] if child.lead else []
    return [Decision("redundancy", child.region_id, w, SAID) for w in words if w not in here.phrase.words]


def _names(own: Piece, here: Mention, child: Child) -> list[Decision]:
    """The name that goes: of synonyms the child's, of two kinds of thing the more general."""
    theirs = child.lead.phrase.words if child.lead else ()
    mine = here.phrase.words
    region, words = (own.region_id, mine) if here.name in kinds_of(child.name) else (child.region_id, theirs)
    name = words[-name_length(words) :]
    same = here.phrase.head == (child.lead.phrase.head if child.lead else "") and len(name) == 1
    return [] if same else [Decision("redundancy", region, " ".join(name), SAID)]


def _numbers(here: Mention, child: Child) -> list[Decision]:
    """The child's number of things, where the whole counts them differently."""
    lead = child.lead
    if lead is None or not (here.plural and lead.plural) or lead.number in (None, here.number):
        return []
    return [Decision("contradiction", child.region_id, lead.phrase.words[0], WHOLE)]


def _indefinite(here: Mention, child: Child) -> bool:
    first = child.lead.phrase.words[0] if child.lead else ""
    return here.phrase.words[0] in _INDEFINITE and first in _INDEFINITE


def _cased(own: Piece, here: Mention, text: str) -> str:
    """The child's words with the parent's capital."""
    return text[:1].upper() + text[1:] if own.text[here.phrase.start].isupper() else text


def _listed(words: list[str]) -> list[str]:
    """Words without an "and" that joins nothing any more."""
    return [words[at] for at in _positions(words)]


def _positions(words: list[str]) -> list[int]:
    ends = (0, len(words) - 1)
    return [
        at
        for at, word in enumerate(words)
        if word != "and" or (at not in ends and "and" not in (words[at - 1], words[at + 1]))
    ]


def _phrase(own: Piece, here: Mention, words: list[Piece]) -> Marked:
    """Determiner and words with spaces between; "a" or "an" as the next word wants it."""
    first = here.phrase.words[0]
    if first not in LEADS:
        return _spaced(words)
    if first in ("a", "an"):
        first = with_article(words[0].text).split()[0]
    return _spaced([Piece(_cased(own, here, first), own.region_id), *words])


def _spaced(words: list[Piece]) -> Marked:
    return tuple(Piece(w.text if at == len(words) - 1 else f"{w.text} ", w.region_id) for at, w in enumerate(words))
