"""What a sentence says again beside its news: "a balcony with red columns" loses the columns that were context.

Whole phrases and clauses go, and only where a whole sentence remains. A phrase was told when one earlier sentence has
all its words, and has them of the same thing: what a cat wears is news of a dog.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from ouro.annotate.english.chunks import PARTICIPLES
from ouro.annotate.english.free_text import NounPhrase, read_phrases
from ouro.annotate.english.phrases import mask, words_of
from ouro.annotate.merging.repeats import content, news
from ouro.annotate.merging.things import NO_THINGS
from ouro.annotate.merging.trimming import is_whole, main_verb, main_verb_at, with_final_mark

_LONGEST = 600  # characters of a sentence that is shortened; a longer one is no prose
_HAVING: Final = frozenset("with has have had wears wear wearing features featuring having contains containing".split())
_PARTS: Final = frozenset("with of featuring having containing wearing".split())  # between a thing and what it has
_PLACES: Final = frozenset("on in at against under behind beside near inside above below by next to over from".split())
_LINKS: Final = _PARTS | _PLACES | PARTICIPLES
_INSIDES: Final = frozenset("inside outside interior exterior surface".split())  # say nothing without their "of"
_TOGETHER: Final = frozenset("between both either mix mixture combination blend contrast".split())  # want their "and"
_AND = re.compile(
    r",? and (?:(?P<clause>(?:the|a|an|two|three|some|several)\s)|(?P<verb>(?:has|have|is|are|was|were)\s))"
)
_PRONOUN = re.compile(r"\b(?:it|its|they|their|them|he|his|him|she|her|one|other|others|both)\b", re.IGNORECASE)
_NEW_SUBJECT = re.compile(r"\b(?:it|they|he|she|which|that|who|there|while|as)\b", re.IGNORECASE)


class Context(NamedTuple):
    """Earlier sentences, canonical words for the described object, and for those that show it (`above`)."""

    sentences: Sequence[str]
    object_words: frozenset[str] = frozenset()
    above: frozenset[str] = frozenset()


class Shorter(NamedTuple):
    """What remains of a sentence, and what was left out of it ("": nothing)."""

    text: str
    cut: str = ""


def drop_repeated_end(text: str, context: Context) -> Shorter:
    """The sentence without what was told at its end."""
    end = _find_repeat(text, context)
    return (
        Shorter(text)
        if end is None
        else Shorter(with_final_mark(text[:end].rstrip(" ,"), text), text[end:].strip(" ,"))
    )


def short_name(name: str, context: Context) -> str:
    """ "the cup of coffee" as "the cup" where that it holds coffee was context."""
    end = _find_repeat(name, context)
    return name if end is None else name[:end]


def drop_repeated_start(text: str, context: Context) -> Shorter:
    """The sentence without a first clause that was told: "The tire is black and the rim is silver." keeps its rim, and
    "The sign is red and has a frame." its subject and the frame. A clause that speaks on from the first keeps it."""
    for joint in _AND.finditer(mask(text), 0, _LONGEST):
        start, rest = text[: joint.start()], text[joint.end() :]
        at = main_verb_at(start)
        if at is None or not _is_repeated(start, context):
            continue
        if joint["verb"] and not _PRONOUN.fullmatch(start[:at].strip()):
            return Shorter(f"{start[:at]}{joint['verb']}{rest}", start[at:])
        rest = f"{joint['clause'] or ''}{rest}"
        if joint["clause"] and main_verb(rest) is not None and not _PRONOUN.search(rest):
            return Shorter(rest[:1].upper() + rest[1:], start)
    return Shorter(text)


def what_it_has(text: str, context: Context) -> str:
    """ "a layer of crema." of "a cup with a layer of crema.", where the layer alone is news; "" of any other."""
    first = next(iter(read_phrases(text)), None)
    at = mask(text).find(" with ")
    if first is None or at < 0 or main_verb(text) is not None or first.start > 0:
        return ""
    head, rest = text[:at], text[at + len(" with ") :]
    between = words_of(text[first.end : at])
    contents = [content(sentence) for sentence in context.sentences]
    if (
        "," in head
        or (between and between[0] != "of")
        or len(between) > 3
        or news(head, contents)
        or not news(rest, contents)
    ):
        return ""
    return _without_first(rest, context)


def is_of_another(text: str, context: Context) -> bool:
    """Whether a sentence tells of what a thing has that was told of other things alone."""
    phrases = read_phrases(text[:_LONGEST])
    for at, phrase in enumerate(phrases):
        owner, how = _owner(text, phrases, at)
        if owner is None or not _HAVING & {*how}:
            continue
        words = content(text[phrase.start : phrase.end]).words
        same = [s for s in context.sentences if words and words <= content(s).senses]
        owners = content(owner.noun).senses | context.object_words | context.above
        if same and not any(_has_same(text[phrase.start : phrase.end], sentence, owners) for sentence in same):
            return True
    return False


def _without_first(rest: str, context: Context) -> str:
    """Of "a glass facade and a flag" the flag, where the facade was context."""
    first, *others = read_phrases(rest) or (None,)
    if first is None or not others or words_of(rest[first.end : others[0].start]) != ["and"]:
        return rest
    return rest[others[0].start :] if _is_repeated(rest[: first.end], context) else rest


def _find_repeat(text: str, context: Context) -> int | None:
    """Where the end that was told begins; None without one that can go."""
    phrases = read_phrases(text) if len(text) <= _LONGEST else ()
    for before, after in pairwise(phrases):
        tail = text[before.end :]
        gap = words_of(text[before.end : after.start]) if after.start > before.end else []
        if not _may_end(text, before, gap) or not _stands(text, text[: before.end].rstrip(" ,")):
            continue
        governor, link = _governor(text, phrases, before) if gap == ["and"] else (before, gap[-1:])
        near = context._replace(
            object_words=context.object_words | content(before.noun).senses | content(governor.noun).senses
        )
        if _is_repeated(tail, near) and (not _PLACES & {*link} or _is_repeated_together(after, near)):
            return before.end
    return None


def _may_end(text: str, before: NounPhrase, gap: list[str]) -> bool:
    """Whether a sentence may end at a phrase, by the words that follow it."""
    if gap == ["and"]:
        start = text[: before.end]
        clause = main_verb(text[before.end :]) is not None
        return clause or ("," not in start and _TOGETHER.isdisjoint(words_of(start)))
    if gap[-1:] == ["of"] and (before.noun in _INSIDES | NO_THINGS or before.group):
        return False
    *rest, last = gap or [""]
    return last in _PARTS | _PLACES and all(w in _LINKS or w.endswith(("ed", "ing")) for w in rest)


def _stands(text: str, rest: str) -> bool:
    return is_whole(rest) and (main_verb(text) is None or main_verb(rest) is not None)


def _governor(text: str, phrases: Sequence[NounPhrase], phrase: NounPhrase) -> tuple[NounPhrase, list[str]]:
    """Of "a star with a hue and spikes", at the hue, what has both and the word that says so."""
    for at in range(phrases.index(phrase), 0, -1):
        gap = words_of(text[phrases[at - 1].end : phrases[at].start])
        if gap != ["and"]:
            return phrases[at - 1], gap[-1:]
    return phrase, []


def _is_repeated(part: str, context: Context) -> bool:
    """Whether one sentence says all that a part of a sentence says, of the same thing or of nobody."""
    words = content(part).words
    for sentence in context.sentences:
        earlier = content(sentence)
        is_said = bool(words) and words <= earlier.senses and not news(part, [earlier])
        if is_said and _has_same(part, sentence, context.object_words | context.above):
            return True
    return False


def _is_repeated_together(phrase: NounPhrase, context: Context) -> bool:
    """Whether a sentence names the thing together with what it is at."""
    place = content(phrase.noun).senses
    things = context.object_words - place
    return any(place & (senses := content(sentence).senses) and things & senses for sentence in context.sentences)


def _has_same(part: str, sentence: str, owners: frozenset[str]) -> bool:
    """Whether a sentence tells one of the part's things of one of the owners, or of nobody."""
    senses = frozenset[str]().union(*(content(p.noun).senses for p in read_phrases(part)))
    mentions = list(_mentions(sentence, senses))
    return not mentions or any(not owner or bool(owner & (owners | senses)) for owner in mentions)


def _mentions(sentence: str, senses: frozenset[str]) -> Iterator[frozenset[str]]:
    """For each mention of the wanted in a sentence the words for what has it."""
    phrases = read_phrases(sentence)
    for at, phrase in enumerate(phrases):
        if content(phrase.noun).senses & senses:
            owner, _ = _owner(sentence, phrases, at)
            yield content(owner.noun).senses if owner else frozenset()


def _owner(sentence: str, phrases: Sequence[NounPhrase], at: int) -> tuple[NounPhrase | None, list[str]]:
    """What has a thing, by standing before it in its clause past those that it is listed with and amounts, and the
    words between; (None, []) without one."""
    while at:
        between = sentence[phrases[at - 1].end : phrases[at].start]
        if _NEW_SUBJECT.search(between):
            return None, []
        if not {"and", "of"}.issuperset(words_of(between)):
            return phrases[at - 1], words_of(between)
        at -= 1
    return None, []
