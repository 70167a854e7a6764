"""Merge(d, {d_j}) of Algorithm 1 (eq. 4) for one region: its own description and its children's become one.

A child is looked up by its name in the parent's own description (matching.py). Where it stands, its details go
in with its relative position ("a red striped star at the top left"); what else it says becomes sentences of its
own ("the table has ..."). A child that the parent does not mention is added with where it is ("there is ...").
Vague mentions ("with some objects") go once something specific stands in their place. Contradictions are settled
(settle.py), repeats removed (redundancy.py); every stretch keeps the id of the region it came from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ouro.annotate.english.attributes import attribute, clashes
from ouro.annotate.english.mentions import Mention, mentions
from ouro.annotate.english.phrases import bare, sentences, words_of
from ouro.annotate.merging.child import Placed, place, read_child, split
from ouro.annotate.merging.contradictions import CLOSE_UP, SAID, WHOLE, WHOLE_KINDS, blend
from ouro.annotate.merging.lists import absorbed
from ouro.annotate.merging.matching import Child, match
from ouro.annotate.merging.provenance import Marked, Piece, cut, edited, plain, with_first
from ouro.annotate.merging.redundancy import without_repeats
from ouro.core.records import Decision

VAGUE = "vague_mention"
_VAGUE = re.compile(
    r"\s*,?\s*\b(?:with|and|containing|holding)\s+(?:some|several|various|many|a few|different)\s+"
    r"(?:other\s+)?(?:objects?|items?|things?)\b",
    re.IGNORECASE,
)
_IS = re.compile(r"\s+(?:is|are|was|were)(?=\s)", re.IGNORECASE)
_WORD = re.compile(r"[\w-]+")

Edit = tuple[int, int, Marked]


class Joined(NamedTuple):
    """One region's merged description, and what was left out of it."""

    marked: Marked
    decisions: list[Decision]


class _Parts(NamedTuple):
    """What a merge does to the parent's text, sentences to add, and decisions; filled child by child."""

    edits: list[Edit]
    tail: list[Marked]
    decisions: list[Decision]


def join(own: Piece, children: Sequence[tuple[Marked, str]]) -> Joined:
    """`children`: (merged description, relative position such as "top left") in reading order.

    Children without a word add nothing. Without children the text stays as it is, but for repeats and its full stop.
    """
    kids = [read_child(m, position) for m, position in children if any(c.isalnum() for c in plain(m))]
    text = _VAGUE.sub("", own.text) if children else own.text
    parts = _Parts([], [], [])
    if children:
        vague = (m.group().strip(" ,") for m in _VAGUE.finditer(own.text))
        parts.decisions.extend(Decision("redundancy", own.region_id, words, VAGUE) for words in vague)
    base = Piece(text.strip().rstrip(" ."), own.region_id)
    _add(base, kids, parts)
    merged, repeats = without_repeats(_assembled(edited(base, parts.edits), parts.tail, own.region_id))
    ended = _stripped(merged)
    if children and not plain(ended).endswith(("!", "?", "…")):
        ended = (*ended, Piece(".", own.region_id))
    return Joined(tuple(p for p in ended if p.text), [*parts.decisions, *repeats])


def _add(base: Piece, kids: Sequence[Child], parts: _Parts) -> None:
    """Every child, in reading order."""
    found = mentions(base.text) if kids else []
    matches = match(found, kids)
    named = Counter(kid.name for kid in kids)
    taken = {m.phrase.start for m in matches.same.values()}
    groups: Counter[int] = Counter()
    for i, kid in enumerate(kids):
        namesakes = named[kid.name] > 1
        if i in matches.same:
            here = matches.same[i]
            _fill(base, here, kid, found, namesakes, parts)
            edits, decisions = absorbed(base, here, kid, found, taken, alone=not namesakes)
            parts.edits.extend(edits)
            parts.decisions.extend(decisions)
        elif i in matches.one_of:
            group = matches.one_of[i]
            _one_of(base, group, kid, groups[group.phrase.start], parts)
            groups[group.phrase.start] += 1
        elif i in matches.surplus:
            parts.decisions.append(Decision("contradiction", kid.region_id, bare(kid.text), WHOLE))
        else:
            _append(base, kid, found, namesakes, parts)


# ---- where the parent mentions the child -----------------------------------------------------------------------


def _fill(base: Piece, here: Mention, kid: Child, found: Sequence[Mention], namesakes: bool, parts: _Parts) -> None:
    """The child's details go in where it stands; what it says more follows in sentences."""
    if here.one_of >= 0:
        _apposition(base, here, kid, namesakes, parts)
        return
    said = _predicates(base, here, kid, found, parts)
    blended = blend(base, here, kid, said)
    placed = split(kid, blended.noun, namesakes, _capital(base))
    parts.decisions.extend(placed.decisions)
    where = () if here.spot is not None or here.holder else (Piece(f" {place(kid.position)}", kid.region_id),)
    parts.edits.append(
        (here.phrase.start, here.body, (*blended.marked, *_ending(base, here, kid, placed, parts), *where))
    )
    parts.decisions.extend(blended.decisions)
    parts.tail.extend(_news(base, here, kid, placed.sentences, parts))


def _apposition(base: Piece, here: Mention, kid: Child, namesakes: bool, parts: _Parts) -> None:
    """ "one of the cups is broken" -> "one of the cups, a red cup at the left, is broken"."""
    assert kid.lead is not None
    placed = split(kid, kid.lead.phrase.words[-1], namesakes, _capital(base))
    parts.decisions.extend(placed.decisions)
    more = base.text[here.stop :].lstrip()[:1]
    end = "," if more and more not in ".,;:!?" else ""
    phrase = cut(kid.marked, 0, kid.lead.phrase.end)
    where = Piece(f" {place(kid.position)}{end}", kid.region_id)
    parts.edits.append((here.stop, here.stop, (Piece(", ", kid.region_id), *phrase, *placed.phrase, where)))
    parts.tail.extend(placed.sentences)


def _predicates(base: Piece, here: Mention, kid: Child, found: Sequence[Mention], parts: _Parts) -> frozenset[str]:
    """Attributes that sentences about the thing give it ("the cup is red"), those that the close-up contradicts
    put right."""
    alone = sum(m.name == here.name and not m.echo for m in found) == 1
    said: set[str] = set()
    for m in (here, *(m for m in found if alone and m.echo and m.name == here.name)):
        words = _attributes_after(base.text, m.stop)
        lost = {c.kind: c.second for c in clashes([w for w, _, _ in words], kid.modifiers) if c.kind not in WHOLE_KINDS}
        for kind, right in lost.items():
            spans = [(a, b) for w, a, b in words if (attribute(w) or ("",))[0] == kind]
            start, end = spans[0][0], spans[-1][1]
            parts.edits.append((start, end, (Piece(right, kid.region_id),)))
            parts.decisions.append(Decision("contradiction", base.region_id, base.text[start:end], CLOSE_UP))
            said.add(right)
        said.update(w for w, _, _ in words if (attribute(w) or ("",))[0] not in lost)
    return frozenset(said)


def _attributes_after(text: str, at: int) -> list[tuple[str, int, int]]:
    """The attributes of "is red and striped" behind a mention, each with its characters."""
    verb = _IS.match(text, at)
    words: list[tuple[str, int, int]] = []
    for word in _WORD.finditer(text, verb.end()) if verb else ():
        lower = word.group().lower()
        if attribute(lower):
            words.append((lower, word.start(), word.end()))
        elif lower != "and":
            break
    return words


def _ending(base: Piece, here: Mention, kid: Child, placed: Placed, parts: _Parts) -> Marked:
    """ "of water" and "that says milk": the child's, where it has them, else the parent's."""
    lead = kid.lead
    assert lead is not None
    theirs = len(plain(placed.phrase))
    if theirs > lead.body - lead.phrase.end:  # it lists more things
        return placed.phrase
    of_length = lead.of_end - lead.phrase.end
    pairs = (
        (here.of, lead.of, (here.phrase.end, here.of_end), cut(placed.phrase, 0, of_length)),
        (here.says, lead.says, (here.of_end, here.body), cut(placed.phrase, of_length, theirs)),
    )
    ending: list[Piece] = []
    for mine, yours, (start, end), new in pairs:
        same = mine.strip('"“”').casefold() == yours.strip('"“”').casefold()
        if mine and yours and not same:
            parts.decisions.append(Decision("contradiction", base.region_id, mine, CLOSE_UP))
        quoted = same and not mine.startswith(('"', "“"))
        ending += new if yours and (not same or quoted) else (Piece(base.text[start:end], base.region_id),)
    return tuple(p for p in ending if p.text)


def _news(base: Piece, here: Mention, kid: Child, told: list[Marked], parts: _Parts) -> list[Marked]:
    """The child's sentences without those that the parent goes on to say itself ("a car parked on the street")."""
    end = next((b for a, b in sentences(base.text) if a <= here.stop <= b), len(base.text))
    goes_on = f" {' '.join(words_of(base.text[here.stop : end]))} "
    news: list[Marked] = []
    for sentence in told:
        words = words_of(plain(sentence))
        start = next((k for k, w in enumerate(words) if w in ("is", "are", "has", "have")), 0) + 1
        if words[start:] and f" {' '.join(words[start:])} " in goes_on:
            parts.decisions.append(Decision("redundancy", kid.region_id, plain(sentence), SAID))
        else:
            news.append(sentence)
    return news


# ---- where the parent does not ---------------------------------------------------------------------------------


def _one_of(base: Piece, group: Mention, kid: Child, before: int, parts: _Parts) -> None:
    """ "two cups": "one of the cups is a red cup at the left", "another of the cups is ..."."""
    assert kid.lead is not None
    placed = split(kid, kid.lead.phrase.words[-1], True, _capital(base))
    parts.decisions.extend(placed.decisions)
    which = "another" if before else "one"
    phrase = (*cut(kid.marked, 0, kid.lead.phrase.end), *placed.phrase, Piece(f" {place(kid.position)}", kid.region_id))
    opening = Piece(f"{which} of the {group.phrase.words[-1]} is ", kid.region_id)
    parts.tail.append(_started(base, (opening, *phrase)))
    parts.tail.extend(placed.sentences)


def _append(base: Piece, kid: Child, found: Sequence[Mention], namesakes: bool, parts: _Parts) -> None:
    """A child that the parent does not mention, with where it is."""
    where = Piece(f" {place(kid.position)}", kid.region_id)
    if kid.lead is None:
        first, *more = sentences(kid.text)
        said = cut(kid.marked, first[0], first[0] + len(bare(kid.text[first[0] : first[1]])))
        parts.tail.append(_started(base, (*said, where)))
        parts.tail.extend(cut(kid.marked, a, a + len(bare(kid.text[a:b]))) for a, b in more)
        return
    placed = split(kid, kid.lead.phrase.words[-1], namesakes, _capital(base))
    parts.decisions.extend(placed.decisions)
    phrase = (*cut(kid.marked, 0, kid.lead.phrase.end), *placed.phrase)
    if kid.lead.phrase.words[0] == "the":
        verb = Piece(" are" if kid.lead.plural else " is", kid.region_id)
        parts.tail.append(_started(base, (*phrase, verb, where)))
    else:
        parts.tail.append(_started(base, (Piece(_opening(base, found, kid), kid.region_id), *phrase, where)))
    parts.tail.extend(placed.sentences)


def _opening(base: Piece, found: Sequence[Mention], kid: Child) -> str:
    """How a sentence about an unmentioned child begins: a description of one thing ("a table with ...") has it."""
    if found and found[0].phrase.start == 0 and base.text[found[0].body :].lstrip().startswith("with "):
        return f"the {base.text[: found[0].phrase.end].split()[-1]} {'have' if found[0].plural else 'has'} "
    return "there are " if kid.lead and kid.lead.plural else "there is "


# ---- the whole -------------------------------------------------------------------------------------------------


def _capital(base: Piece) -> bool:
    return base.text[:1].isupper()


def _started(base: Piece, sentence: Marked) -> Marked:
    return with_first(sentence, str.upper) if _capital(base) else sentence


def _assembled(merged: Marked, tail: Sequence[Marked], own: str) -> Marked:
    pieces = list(_stripped(merged))
    for sentence in tail:
        end = pieces[-1].text[-1] if pieces else ""
        joint = "" if not end else " " if end in "!?…" else ". "
        pieces += [Piece(joint, own), *(p for p in sentence if p.text)]
    return tuple(p for p in pieces if p.text)


def _stripped(marked: Marked) -> Marked:
    """Without full stops and spaces at its end."""
    return cut(marked, 0, len(plain(marked).rstrip(" .")))
