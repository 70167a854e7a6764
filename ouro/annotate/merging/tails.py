"""The end of a sentence that says again what was told: "a balcony with red columns" loses its columns.

Whole phrases go, from behind a noun to the sentence's end, and only where a whole sentence remains. A phrase was told
when one earlier sentence has all its words, and has them of the same thing: what a cat wears is news of a dog.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ouro.annotate.english.free_text import NounPhrase, read_phrases
from ouro.annotate.english.phrases import PARTICIPLES, is_plural, mask, words_of
from ouro.annotate.merging.repeats import content, news
from ouro.annotate.merging.trimming import is_whole, main_verb, with_final_mark

_PARTS: Final = frozenset("with of featuring having containing wearing".split())  # between a thing and what it has
_PLACES: Final = frozenset("on in at against under behind beside near inside above below by next to over from".split())
_TOGETHER: Final = frozenset("between both either mix mixture combination blend contrast".split())  # want their "and"
_NEW_SUBJECT = re.compile(r"\b(?:it|they|he|she|which|that|who|there|while|as)\b", re.IGNORECASE)


def without_told_end(text: str, told: Sequence[str], names: frozenset[str]) -> str:
    """The sentence without what `told` sentences say at its end; the same text where nothing goes.

    `names`: canonical words for the described object and those that it is a part of.
    """
    phrases = read_phrases(text)
    for before, after in zip(phrases, phrases[1:], strict=False):
        gap = words_of(text[before.end : after.start]) if after.start > before.end else []
        governor = _governor(text, phrases, before) if gap == ["and"] else gap
        kept = text[: before.end].rstrip(" ,")
        if not _may_end(text, before, gap) or not _stands(text, kept):
            continue
        if _is_told(text[before.end :], before, governor, told, names):
            return with_final_mark(kept, text)
    return text


def has_form(text: str, told: Sequence[str]) -> str:
    """ "has a layer of crema." of "a cup with a layer of crema.", where the cup is no news and the layer is; "" where the
    text is no such phrase."""
    first = next(iter(read_phrases(text)), None)
    at = mask(text).find(" with ")
    if first is None or at < 0 or main_verb(text) is not None or first.start > 0:
        return ""
    head, rest = text[:at], text[at + len(" with ") :]
    between = words_of(text[first.end : at])
    known = [content(sentence) for sentence in told]
    if "," in head or (between and between[0] != "of") or len(between) > 3 or news(head, known):
        return ""
    if not news(rest, known):
        return ""
    return f"{'have' if first.plural else 'has'} {rest}"


def _may_end(text: str, before: NounPhrase, gap: list[str]) -> bool:
    """Whether a sentence may end at a phrase, by the words that follow it."""
    if gap == ["and"]:
        start = text[: before.end]
        return "," not in start and _TOGETHER.isdisjoint(words_of(start))
    *rest, last = gap or [""]
    return last in _PARTS | _PLACES and all(w in _PARTS | _PLACES | PARTICIPLES or w.endswith(("ed", "ing")) for w in rest)


def _stands(text: str, kept: str) -> bool:
    return is_whole(kept) and (main_verb(text) is None or main_verb(kept) is not None)


def _governor(text: str, phrases: Sequence[NounPhrase], phrase: NounPhrase) -> list[str]:
    """Of "with a hue and spikes" what stands before the hue."""
    at = phrases.index(phrase)
    while at:
        gap = words_of(text[phrases[at - 1].end : phrases[at].start])
        if gap != ["and"]:
            return gap
        at -= 1
    return []


def _is_told(tail: str, head: NounPhrase, gap: list[str], told: Sequence[str], names: frozenset[str]) -> bool:
    mine = content(tail)
    heads = content(head.noun).senses
    for sentence in told:
        theirs = content(sentence)
        if not mine.words or not mine.words <= theirs.senses or news(tail, [theirs]):
            continue
        if heads & theirs.senses if gap[-1:] and gap[-1] in _PLACES else _has_same(tail, sentence, heads | names):
            return True
    return False


def _has_same(tail: str, sentence: str, owners: frozenset[str]) -> bool:
    """Whether a sentence tells the tail's things of one of the owners, or of nobody."""
    wanted = frozenset[str]().union(*(content(p.noun).senses for p in read_phrases(tail)))
    phrases = read_phrases(sentence)
    for at, phrase in enumerate(phrases):
        if not content(phrase.noun).senses & wanted:
            continue
        owner = _owner(sentence, phrases, at)
        if owner and not content(owner).senses & (owners | wanted):
            return False
    return True


def _owner(sentence: str, phrases: Sequence[NounPhrase], at: int) -> str:
    """What stands before a thing in its clause, past those that it is listed with; "" without one."""
    while at:
        between = sentence[phrases[at - 1].end : phrases[at].start]
        if _NEW_SUBJECT.search(between):
            return ""
        if [w for w in words_of(between) if w != "and"]:
            return phrases[at - 1].noun
        at -= 1
    return ""
