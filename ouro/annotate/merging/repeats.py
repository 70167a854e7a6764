"""Whether a sentence says anything that was not said before: by its content words and which of them belong together.

A sentence is a repeat when all its content words were said, and each modifier stands in one earlier sentence with its
noun. Synonyms count as one word. What sets a picture apart from a description ("the image shows", "can be seen",
"in the foreground") is no content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ouro.annotate.english.chunks import DETERMINERS
from ouro.annotate.english.free_text import read_phrases
from ouro.annotate.english.kinds import synonyms_of
from ouro.annotate.english.phrases import BOUNDARY, NUMBERS, words_of
from ouro.annotate.merging.things import quotations
from ouro.annotate.prose.things import stem

_COUNTS = frozenset(NUMBERS) - {"a", "an", "another", "one"}
_BESIDE = frozenset("near next beside behind above below over under between around inside outside across".split())
_EMPTY = (BOUNDARY | DETERMINERS | frozenset(
    (
        "it itself they them he she him this these those there here be been being am do does did can could may might "
        "must will would also too very quite just only some any all both each such more most other others own "
        "image picture photo photograph close-up closeup view shot scene background foreground part parts portion "
        "piece show shows shown depict depicts depicted feature features featuring display displays see seen visible "
        "appear appears seem seems look looks contain contains including includes include wear wears wearing hold "
        "holds holding stand stands standing sit sits sitting lie lies lying rest rests resting place placed set "
        "against side various several many thing things item items object objects color colored colour coloured "
        "made make making like well reads read say says written following "
        "text word words letters hue tone tint finish appearance coloring structure design"
    ).split()
)) - _COUNTS - _BESIDE - {"no"}  # fmt: skip
_WRITING = frozenset("text texts word words letter letters lettering writing".split())  # say nothing without a modifier
_SUFFIXES = ("-colored", "-coloured")
_CONTAINING = re.compile(r"\b(?:filled with|full of|consist(?:s|ing) of|composed of|made up of)\b", re.IGNORECASE)


class Content(NamedTuple):
    """A sentence's content words, the (modifier, noun) pairs among them, its words with their synonyms, and what it
    quotes, as words."""

    words: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    senses: frozenset[str]
    quotations: frozenset[str]


@lru_cache(maxsize=8192)
def content(text: str) -> Content:
    """What a text is about, in canonical words."""
    text = _CONTAINING.sub("with", text)
    plain = [w for w in words_of(text) if _is_content(w)]
    words = frozenset(_word(w) for w in plain)
    pairs: set[tuple[str, str]] = set()
    heads: set[str] = set()
    for phrase in read_phrases(text):
        *before, head = [_word(w) for w in phrase.words if _is_content(w) or w == phrase.words[-1] in _WRITING] or [""]
        pairs.update((modifier, head) for modifier in before)
        heads.add(head)
    quoted = frozenset(" ".join(words_of(text[start:end])) for start, end in quotations(text))
    return Content(words, frozenset(pairs), words.union(heads, *(_senses(w) for w in plain)), quoted - {""})


def _is_content(word: str) -> bool:
    return word not in _EMPTY and any(c.isalnum() for c in word)


def _word(word: str) -> str:
    for suffix in _SUFFIXES:
        word = word.removesuffix(suffix)
    return stem(word)


@lru_cache(maxsize=65536)
def _senses(word: str) -> frozenset[str]:
    return frozenset(stem(name) for name in synonyms_of(word) if " " not in name)


def news(text: str, earlier: Iterable[Content], old_words: frozenset[str] = frozenset()) -> frozenset[str]:
    """The content words of a sentence that were not told, or not with their noun, and what it alone quotes.

    `old_words`: words that are no news.
    """
    contents = list(earlier)
    sentence = content(text)
    words = frozenset[str]().union(*(c.senses for c in contents)) | old_words
    fresh = set(sentence.words - words)
    for modifier, head in sentence.pairs:
        if {modifier, head} & old_words or {modifier, head} & fresh:
            continue
        if not any(modifier in c.senses and head in c.senses for c in contents):
            fresh.add(modifier)
    quotations = [quotation for c in contents for quotation in c.quotations]
    return frozenset(fresh).union(q for q in sentence.quotations if not any(q in one for one in quotations))
