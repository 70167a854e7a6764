"""Merge (eq. 4): descriptions of sub-regions join their parent's, bottom-up, by object-name matching.

A child's leading noun phrase ("a red striped star") is looked up by its head noun in the parent's own
description. A match is replaced by the more detailed of the two phrases with the child's relative position
("a red striped star at the top left"); what else the child says becomes a sentence of its own ("the table
has ..."). A child the parent does not mention is appended ("there is ..."). Vague mentions ("with some
objects") go once something specific stands in their place. Of two children of one name each is told by its
place ("the table at the left has ..."). Every inserted stretch keeps the id of the region it came from.

Source: OURO section 3.1, eq. 4. The paper gives no rules for the matching; these are ours, and need no
language model, so that a merge costs microseconds and is the same every time.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ouro.boxes import relative_position
from ouro.params import Merge
from ouro.records import Description, Image, Insertion, Region, Rejected, Scene

DETERMINERS = frozenset(["a", "an", "the", "one", "two", "three", "four", "five", "six", "some", "several", "another"])
BOUNDARY = frozenset(
    (
        "with that which who and or on in at of over under near beside behind above below next to from by for is "
        "are was were has have says past across into onto through along around between against while as to inside "
        "outside above under upon toward towards"
    ).split()
)
_PLURAL = frozenset(["two", "three", "four", "five", "six", "some", "several"])
_ING_NOUNS = frozenset(("building ceiling clothing drawing painting railing string spring thing").split())
_VAGUE = re.compile(
    r"\s*,?\s*\b(?:with|and|containing|holding)\s+(?:some|several|various|many|a few|different)\s+"
    r"(?:other\s+)?(?:objects?|items?|things?)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z0-9'-]+")


class Phrase(NamedTuple):
    """A noun phrase of a text: its characters [start, end), lower-case words and head noun (its last word)."""

    start: int
    end: int
    words: tuple[str, ...]

    @property
    def head(self) -> str:
        return singular(self.words[-1])

    @property
    def modifiers(self) -> frozenset[str]:
        return frozenset(self.words[:-1]) - DETERMINERS


class Piece(NamedTuple):
    """A stretch of text and the region it came from."""

    text: str
    region_id: str


Marked = tuple[Piece, ...]


def noun_phrases(text: str) -> list[Phrase]:
    """Determiner-led noun phrases of an English text, in order; a phrase ends before a boundary word."""
    phrases: list[Phrase] = []
    start, words, end = -1, [], -1
    previous_end = 0
    for match in _WORD.finditer(text):
        word = match.group().lower()
        broken = bool(words) and not text[previous_end : match.start()].isspace()
        if words and (broken or word in BOUNDARY or word in DETERMINERS or _is_participle(word)):
            phrases.extend(_phrase(start, end, words))
            words = []
        if words:
            words.append(word)
        elif word in DETERMINERS:
            start, words = match.start(), [word]
        end = previous_end = match.end()
    return phrases + _phrase(start, end, words)


def _is_participle(word: str) -> bool:
    return word.endswith("ing") and len(word) > 5 and word not in _ING_NOUNS


def _phrase(start: int, end: int, words: list[str]) -> list[Phrase]:
    return [Phrase(start, end, tuple(words))] if len(words) > 1 else []


def singular(word: str) -> str:
    """A noun's singular by its ending: "crosses" -> "cross", "boxes" -> "box", "stars" -> "star"."""
    if word.endswith("sses") or word.endswith("xes") or word.endswith("shes") or word.endswith("ches"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def merge_text(own: Piece, children: Sequence[tuple[Marked, str]]) -> Marked:
    """Merge(d, {d_j}): the parent's own description and its children's merged ones with their positions.

    `children`: (merged description, relative position such as "top left") in reading order.
    Returns the pieces of the merged text; empty child descriptions add nothing.
    """
    base = _VAGUE.sub("", own.text).rstrip(" .") if children else own.text.rstrip(" .")
    open_mentions = noun_phrases(base)
    opening = _opening(base, open_mentions)
    edits: list[tuple[int, int, Marked]] = []
    tail: list[Marked] = []
    leads = [_leading(plain(child)) for child, _ in children]
    named = Counter(lead.head for lead in leads if lead)
    for (child, position), leading in zip(children, leads, strict=True):
        text = plain(child)
        if not text:
            continue
        if leading is None:
            tail.append((*_cut(child, 0, len(text.rstrip(" ."))), Piece(f" {_place(position)}", child[0].region_id)))
            continue
        mention = next((m for m in open_mentions if m.head == leading.head and m.words[0] not in _PLURAL), None)
        which = f" {_place(position)}" if named[leading.head] > 1 else ""
        clause, rest = _split(_lower_article(child), text, leading, which)
        placed = (*clause, Piece(f" {_place(position)}", child[0].region_id))
        if mention is None:
            tail.append((Piece(opening, child[0].region_id), *placed))
        else:
            open_mentions.remove(mention)
            edits.append((mention.start, mention.end, _richer(base, mention, leading, placed, clause, own, position)))
        tail.extend(rest)
    merged: list[Piece] = []
    at = 0
    for start, end, pieces in sorted(edits, key=lambda e: e[0]):
        merged += [Piece(base[at:start], own.region_id), *pieces]
        at = end
    merged.append(Piece(base[at:], own.region_id))
    for sentence in tail:
        joint = ". " if plain(tuple(merged)).strip() else ""
        merged += [Piece(joint, own.region_id), *sentence]
    merged.append(Piece("." if children else "", own.region_id))
    return tuple(p for p in merged if p.text)


def _leading(text: str) -> Phrase | None:
    """The noun phrase that a description of one thing opens with."""
    phrase = next(iter(noun_phrases(text)), None)
    return phrase if phrase and phrase.start <= 3 else None


def _opening(base: str, phrases: Sequence[Phrase]) -> str:
    """How a sentence about an unmentioned child begins: a description of one thing ("a table with ...") has it."""
    one_thing = phrases and phrases[0].start == 0 and base[phrases[0].end :].lstrip().startswith("with ")
    return f"the {base[: phrases[0].end].split()[-1]} has " if one_thing else "there is "


def _richer(
    base: str, mention: Phrase, leading: Phrase, placed: Marked, clause: Marked, own: Piece, position: str
) -> Marked:
    """The more detailed of the parent's and the child's phrase, with the position, keeping the parent's article."""
    if leading.modifiers >= mention.modifiers or len(leading.modifiers) > len(mention.modifiers):
        return placed
    own_words = Piece(base[mention.start : mention.end], own.region_id)
    extra = _cut(clause, leading.end - leading.start, len(plain(clause)))
    return (own_words, *extra, Piece(f" {_place(position)}", clause[0].region_id))


def _split(child: Marked, text: str, leading: Phrase, which: str) -> tuple[Marked, list[Marked]]:
    """A child's text as the clause to insert and the sentences that follow on their own.

    `which` (" at the left", or "") follows the child's name in the sentences about it.
    """
    first_end = _sentence_end(text)
    thing = f"the {text[leading.start : leading.end].split()[-1]}"
    has, named = f"{thing} has ", Piece(f"{thing}{which} has ", child[0].region_id)
    sentences = [
        (named, *_cut(child, a + len(has), b)) if which and text.startswith(has, a) else _cut(child, a, b)
        for a, b in _sentences(text, first_end)
    ]
    after = text[leading.end : first_end]
    if after.lstrip().startswith("with "):
        skip = leading.end + after.index("with ") + len("with ")
        return _cut(child, leading.start, leading.end), [(named, *_cut(child, skip, first_end)), *sentences]
    return _cut(child, leading.start, first_end), sentences


def _lower_article(child: Marked) -> Marked:
    """A child that opens with "A", "An" or "The" goes into the middle of a sentence."""
    text = child[0].text
    opens = text.split(" ", 1)[0] in ("A", "An", "The")
    return (Piece(text[0].lower() + text[1:], child[0].region_id), *child[1:]) if opens else child


def _sentence_end(text: str) -> int:
    match = re.search(r"\.(?=\s|$)", text)
    return match.start() if match else len(text)


def _sentences(text: str, start: int) -> list[tuple[int, int]]:
    """Character ranges of the sentences after `start`, without their full stops."""
    spans: list[tuple[int, int]] = []
    at = start
    while at < len(text):
        begin = at + len(text[at:]) - len(text[at:].lstrip(" ."))
        end = begin + _sentence_end(text[begin:])
        if end > begin:
            spans.append((begin, end))
        at = max(end, at + 1)
    return spans


def _place(position: str) -> str:
    return "in the center" if position == "center" else f"at the {position}"


def plain(marked: Marked) -> str:
    """The text of its pieces."""
    return "".join(p.text for p in marked)


def _cut(marked: Marked, start: int, end: int) -> Marked:
    """Characters [start, end) of a marked text, with their regions."""
    out: list[Piece] = []
    at = 0
    for text, region in marked:
        a, b = max(start - at, 0), min(end - at, len(text))
        if a < b:
            out.append(Piece(text[a:b], region))
        at += len(text)
    return tuple(out)


class Merged(NamedTuple):
    """The scenes of a shard; in `cut` of them a description was cut at `merge.max_words`."""

    scenes: list[Scene]
    rejected: list[Rejected]
    cut: int


def merge_shard(
    images: Sequence[Image], regions: Sequence[Region], descriptions: Sequence[Description], params: Merge
) -> Merged:
    """One Scene an image; an image whose root was not described is rejected ("not_described")."""
    said = {d.region_id: d.text for d in descriptions}
    by_image: dict[str, list[Region]] = defaultdict(list)
    for region in regions:
        by_image[region.image_id].append(region)
    scenes: list[Scene] = []
    rejected: list[Rejected] = []
    cut = 0
    for image in images:
        root = next((r for r in by_image[image.image_id] if r.parent_id is None), None)
        if root is None or root.region_id not in said:
            rejected.append(Rejected("merge", image.image_id, "not_described", "no description of the whole image"))
            continue
        scene, was_cut = _scene(image.image_id, by_image[image.image_id], said, params)
        scenes.append(scene)
        cut += was_cut
    return Merged(scenes, rejected, cut)


def _scene(image_id: str, regions: Sequence[Region], said: Mapping[str, str], params: Merge) -> tuple[Scene, bool]:
    """The scene, and whether one of its descriptions was cut."""
    children: dict[str | None, list[Region]] = defaultdict(list)
    for region in regions:
        children[region.parent_id].append(region)
    merged: dict[str, Marked] = {}
    cut = False
    for region in sorted((r for r in regions if r.region_id in said), key=lambda r: -r.level):
        parts = [
            (merged[c.region_id], relative_position(c.box, region.box))
            for c in _described(region.region_id, children, said)
        ]
        whole = merge_text(Piece(said[region.region_id].strip(), region.region_id), parts)
        merged[region.region_id] = _shorten(whole, params.max_words)
        cut |= merged[region.region_id] != whole
    root = children[None][0].region_id
    scene = Scene(
        image_id,
        plain(merged[root]),
        _insertions(merged[root], root),
        tuple((r.region_id, plain(merged[r.region_id])) for r in regions if r.region_id in said),
    )
    return scene, cut


def _described(
    region_id: str, children: Mapping[str | None, Sequence[Region]], said: Mapping[str, str]
) -> Iterator[Region]:
    """Its children; in the place of a child without a description, the nearest described regions below that one."""
    for child in children.get(region_id, ()):
        if child.region_id in said:
            yield child
        else:
            yield from _described(child.region_id, children, said)


def _shorten(marked: Marked, max_words: int) -> Marked:
    """Whole sentences up to `max_words` words, at least the first."""
    text = plain(marked)
    if len(text.split()) <= max_words:
        return marked
    end = 0
    for match in re.finditer(r"\.(?=\s|$)", text):
        if end and len(text[: match.end()].split()) > max_words:
            break
        end = match.end()
    return _cut(marked, 0, end or len(text))


def _insertions(marked: Marked, root: str) -> tuple[Insertion, ...]:
    spans: list[Insertion] = []
    at = 0
    for text, region in marked:
        if region != root:
            if spans and spans[-1].region_id == region and spans[-1].end == at:
                spans[-1] = Insertion(spans[-1].start, at + len(text), region)
            else:
                spans.append(Insertion(at, at + len(text), region))
        at += len(text)
    return tuple(spans)
