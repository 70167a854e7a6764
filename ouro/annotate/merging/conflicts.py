"""What matched regions tell differently, as records, and how rules settle it where the match is unique.

Compared are the looks, numbers and names of matched things and of the parts that both texts tell of, quoted text and
OCR's reading of it, guesses against what is certain. Rules (ours): the close-up decides looks and names, the whole
numbers, places and the time of day; what is exact stands against what is vague, the certain against a guess.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from rapidfuzz import fuzz

from ouro.annotate.english.chunks import is_and
from ouro.annotate.english.free_text import read_phrases
from ouro.annotate.english.kinds import is_kind_of, kinds_of, same_thing
from ouro.annotate.english.phrases import words_of
from ouro.annotate.marks import find_marks
from ouro.annotate.merging.fits import of_other_sex
from ouro.annotate.merging.looks import KINDS, Look, differ, looks_of, quantity, things_of, time_of_day
from ouro.annotate.merging.things import Thing, quotations, read_named
from ouro.core.records import CLOSE_UP, WHOLE, Conflict, Description, Match, Region

EXACT = "exact_over_vague"
CERTAIN = "certain_over_guess"
OCR = "ocr_tells_text"
ANNOTATOR = "annotator_tells_text"

_NAMES: Final = {"color": "colour", "material": "material"}
_ALIKE = 85.0  # rapidfuzz ratio from which two readings are of one text
_TRUSTED = 0.8  # OCR's score from which its reading is the better one
_FULL = re.compile(r"\b(?:filled with|full of)\s+(?P<what>\w+)", re.IGNORECASE)
_LITTLE = re.compile(
    r"\b(?P<amount>(?:a\s+)?(?:small amount|little|bit|trace|remainder) of|half[- ]full of)\s+(?P<what>\w+)",
    re.IGNORECASE,
)
_PRONOUNS = frozenset("it its she her he his they their this".split())


class Pair(NamedTuple):
    """A matched child and the description that names it: both texts and the thing in each."""

    whole: Description
    child: Description
    whole_thing: Thing
    child_thing: Thing
    match: Match


def find_conflicts(
    regions: Sequence[Region], descriptions: Sequence[Description], matches: Sequence[Match]
) -> list[Conflict]:
    """The conflicts of one image, whole before child, each once, all open.

    A conflict of a description with OCR's reading of the same region names the region twice: first the description's
    value, then OCR's.
    """
    by_id = {r.region_id: r for r in regions}
    by_region = {d.region_id: d for d in descriptions}
    conflicts: list[Conflict] = []
    phrase_starts = {(m.parent_id, m.start) for m in matches if m.how == "same"}
    for match in matches:
        pair = _pair(match, by_id, by_region) if match.how != "part" else None
        if pair:
            conflicts += [*_looks(pair), *_parts(pair, phrase_starts), *_numbers(pair), *_names(pair), *_fill(pair)]
    for region in regions:
        if region.region_id in by_region:
            conflicts += _compare_with_ocr(region, by_region[region.region_id])
            conflicts += _compare_with_above(region, by_id, by_region, matches)
    return list(dict.fromkeys(conflicts))


def _pair(match: Match, by_id: dict[str, Region], by_region: dict[str, Description]) -> Pair | None:
    whole, child = by_region.get(match.parent_id), by_region.get(match.region_id)
    if whole is None or child is None or match.region_id not in by_id:
        return None
    whole_thing = next((t for t in things_of(whole.text) if t.phrase.start == match.start), None)
    named = read_named(by_id[match.region_id], child, by_id[match.region_id].box)
    child_things = things_of(child.text)
    alike = [t for t in child_things if named and same_thing(t.phrase.noun, named.name.noun)]
    child_thing = next(iter([*alike, *child_things]), None)
    return Pair(whole, child, whole_thing, child_thing, match) if whole_thing and child_thing else None


def _conflict(pair: Pair, kind: str, about: str, values: tuple[str, str]) -> Conflict:
    return Conflict(kind, about, (pair.whole.region_id, pair.child.region_id), values)


def _looks(pair: Pair) -> Iterator[Conflict]:
    """Of the matched thing itself; a group's looks are not its member's."""
    if pair.match.how == "same":
        yield from _compare(pair, pair.whole_thing, pair.child_thing)


def _compare(pair: Pair, whole_thing: Thing, child_thing: Thing) -> Iterator[Conflict]:
    whole_looks, child_looks = looks_of(pair.whole.text, whole_thing), looks_of(pair.child.text, child_thing)
    for kind in KINDS:
        clash = _clash([x for x in whole_looks if x.kind == kind], [x for x in child_looks if x.kind == kind])
        if clash:
            about = f"{_NAMES.get(kind, kind)} of the {whole_thing.phrase.noun}"
            yield _conflict(pair, _NAMES.get(kind, "attribute"), about, (clash[0].value, clash[1].value))


def _clash(whole_looks: list[Look], child_looks: list[Look]) -> tuple[Look, Look] | None:
    """The first two that tell differently: main looks before covers; what agrees once on the whole is no clash."""
    for cover in (False, True):
        second_looks = [look for look in child_looks if look.cover == cover]
        first_looks = [look for look in whole_looks if not look.cover]
        if first_looks and second_looks and all(differ(a, b) for a in first_looks for b in second_looks):
            return first_looks[0], second_looks[0]
    return None


def _parts(pair: Pair, phrase_starts: set[tuple[str, int]]) -> Iterator[Conflict]:
    """Of what both tell of the thing: the hair of a woman, the boats on a lake."""
    if pair.match.how != "same":
        return
    for part in things_of(pair.whole.text):
        start = part.phrase.start
        if part == pair.whole_thing or (pair.whole.region_id, start) in phrase_starts or not _belongs(pair, part):
            continue
        for other in things_of(pair.child.text):
            if other != pair.child_thing and part.phrase.noun == other.phrase.noun and part.many == other.many:
                yield from _compare(pair, part, other)
                yield from _count(pair, part, other)


def _belongs(pair: Pair, part: Thing) -> bool:
    """Whether the whole's sentence about the part is about the matched thing: it stands there, or a pronoun does."""
    sentences = {p.sentence for p in pair.whole_thing.phrases}
    before = [p for p in read_phrases(pair.whole.text) if p.sentence == part.phrase.sentence]
    opening = pair.whole.text[: part.phrase.start].rsplit(". ", 1)[-1]
    near = pair.whole_thing.phrase.end <= part.phrase.start < pair.whole_thing.phrase.end + 40
    is_pronoun = next(iter(words_of(opening)), "") in _PRONOUNS and bool(before)
    return (part.phrase.sentence in sentences and near) or (
        is_pronoun and pair.whole_thing == things_of(pair.whole.text)[0]
    )


def _numbers(pair: Pair) -> Iterator[Conflict]:
    if pair.match.how == "same":
        yield from _count(pair, pair.whole_thing, pair.child_thing)


def _count(pair: Pair, whole_thing: Thing, child_thing: Thing) -> Iterator[Conflict]:
    mentions = [p for t in things_of(pair.child.text) if t.phrase.noun == child_thing.phrase.noun for p in t.phrases]
    first, second = quantity(whole_thing.phrases), quantity(mentions)
    if first and second and (first.number, first.degree) != (second.number, second.degree):
        yield _conflict(pair, "number", f"number of {whole_thing.phrase.words[-1]}", (first.words, second.words))


def _names(pair: Pair) -> Iterator[Conflict]:
    """Two names of one thing that are neither synonyms nor kinds of each other: a pavilion and a pagoda."""
    first, second = pair.whole_thing.phrase, pair.child_thing.phrase
    related = same_thing(first.noun, second.noun) or is_kind_of(first.noun, second.noun)
    related = related or is_kind_of(second.noun, first.noun)
    if pair.match.how != "same" or related or second.noun in first.words or first.noun in second.words:
        return
    person = is_kind_of(first.noun, "person") and is_kind_of(second.noun, "person")
    if of_other_sex(first.noun, second.noun) if person else kinds_of(first.noun) & kinds_of(second.noun):
        yield _conflict(pair, "kind", f"what the {first.noun} is", (" ".join(first.words), " ".join(second.words)))


def _fill(pair: Pair) -> Iterator[Conflict]:
    """ "a small amount of coffee" against "filled with coffee"."""
    for first, second, turned in ((pair.whole, pair.child, False), (pair.child, pair.whole, True)):
        little, full = _LITTLE.search(first.text), _FULL.search(second.text)
        if little and full and little["what"].lower() == full["what"].lower():
            amount = str(little["amount"]).removesuffix(" of")
            values = (full[0], amount) if turned else (amount, full[0])
            yield _conflict(pair, "attribute", f"amount of {full['what']}", values)


def _compare_with_ocr(region: Region, description: Description) -> Iterator[Conflict]:
    """The annotator's reading of a text, where OCR read the same text otherwise; case, spaces and end marks apart."""
    reading = " ".join(region.text.split())
    for start, end in quotations(description.text) if reading else ():
        quotation = description.text[start:end].strip()
        if _plain(quotation) != _plain(reading) and fuzz.ratio(_plain(quotation), _plain(reading)) >= _ALIKE:
            yield Conflict("text", "what is written", (region.region_id, region.region_id), (quotation, reading))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,:;!")


def _compare_with_above(
    region: Region, by_id: dict[str, Region], by_region: dict[str, Description], matches: Sequence[Match]
) -> Iterator[Conflict]:
    """With the parent and the root: quoted text, guesses, the time of day."""
    description = by_region[region.region_id]
    for above in _above(region, by_id, by_region):
        certain = by_region[above.region_id]
        yield from _compare_quotations(certain, description)
        if above.region_id == region.parent_id:
            yield from _compare_guesses(certain, description, [m for m in matches if m.region_id == region.region_id])
        first, second = time_of_day(certain.text), time_of_day(description.text)
        if above.parent_id is None and first and second and first != second:
            yield Conflict("attribute", "time of day", (certain.region_id, description.region_id), (first, second))


def _above(region: Region, by_id: dict[str, Region], by_region: dict[str, Description]) -> Iterator[Region]:
    """Its parent, and the root where that is another; those that are described."""
    parent = by_id.get(region.parent_id or "")
    root, region_ids = parent, {region.region_id}
    while root and root.parent_id in by_id and root.region_id not in region_ids:
        region_ids.add(root.region_id)
        root = by_id[root.parent_id]
    yield from (r for r in dict.fromkeys((parent, root)) if r is not None and r.region_id in by_region)


def _compare_quotations(whole: Description, child: Description) -> Iterator[Conflict]:
    for a, b in quotations(whole.text):
        for c, d in quotations(child.text):
            first, second = whole.text[a:b].strip(), child.text[c:d].strip()
            if first.casefold() != second.casefold() and fuzz.ratio(first.casefold(), second.casefold()) >= _ALIKE:
                yield Conflict("text", "what is written", (whole.region_id, child.region_id), (first, second))


def _compare_guesses(whole: Description, child: Description, matches: Sequence[Match]) -> Iterator[Conflict]:
    """A guess at what something is, where the whole names one of its alternatives as certain."""
    for mark in find_marks(child.text, whole=False):
        guess = child.text[mark.start : mark.end].strip(" ,.")
        if mark.kind != "guess" or not any(is_and(w) for w in words_of(guess)):
            continue
        nouns = [p.noun for p in read_phrases(guess)]
        thing = next((t for t in things_of(whole.text) for n in nouns if t.phrase.noun == n), None)
        if thing and (matches or not thing.many):
            name = whole.text[thing.phrase.start : thing.phrase.end]
            yield Conflict("kind", "what it is", (whole.region_id, child.region_id), (name, guess))


def settle_by_rules(
    conflicts: Sequence[Conflict],
    regions: Sequence[Region],
    descriptions: Sequence[Description],
    matches: Sequence[Match],
) -> list[Conflict]:
    """The conflicts in their order, settled (`kept`, `rule`) where the match is unique, else as they are.

    Unique: the child is "same" as a phrase of that description that no other region matches. Text, guesses and the
    time of day need no match.
    """
    by_id = {r.region_id: r for r in regions}
    texts = {d.region_id: d.text for d in descriptions}
    places: dict[tuple[str, int], int] = defaultdict(int)
    for match in matches:
        places[match.parent_id, match.start] += match.how != "part"
    unique = {(m.parent_id, m.region_id) for m in matches if m.how == "same" and places[m.parent_id, m.start] == 1}
    return [_settle(c, by_id, texts, unique) if not c.rule else c for c in conflicts]


def _settle(
    conflict: Conflict, by_id: dict[str, Region], texts: dict[str, str], unique: set[tuple[str, str]]
) -> Conflict:
    whole, child = conflict.region_ids[:2]
    first, second = conflict.values[:2]
    if conflict.kind == "text":
        value, rule = _read(by_id.get(child), whole == child, first, second)
    elif conflict.about == "time of day":
        value, rule = first, WHOLE
    elif conflict.about == "what it is":
        value, rule = first, CERTAIN
    elif (whole, child) not in unique or child not in texts:
        return conflict
    elif conflict.kind == "number":
        vague = first in _VAGUE_WORDS and second not in _VAGUE_WORDS
        value, rule = (second, EXACT) if vague else (first, WHOLE)
    else:
        value, rule = second, CLOSE_UP
    return replace(conflict, kept=value, rule=rule)


def _read(region: Region | None, by_ocr: bool, first: str, second: str) -> tuple[str, str]:
    """The better reading of a text: OCR's where its score is high; else what was said, by the close-up of two."""
    if by_ocr:
        return (second, OCR) if region and region.score >= _TRUSTED else (first, ANNOTATOR)
    if region and region.text and region.score >= _TRUSTED:
        return max((second, first), key=lambda reading: fuzz.ratio(reading, region.text)), OCR
    return second, CLOSE_UP


_VAGUE_WORDS = frozenset("few some several multiple various many numerous countless".split())
