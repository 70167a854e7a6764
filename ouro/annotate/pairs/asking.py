"""Normalise a question, parse the things that it names, and find them in a description."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ouro.annotate.english.phrases import Phrase, noun_phrases, singular
from ouro.annotate.pairs.reading import IMAGE, WORD, Thing, Told, position

_QUESTION_WORDS = frozenset(
    (
        "what which who where when how many much is are was were there do does did the a an of in on at to color "
        "colour pattern shape kind type object objects thing things item items say says read reads it this that holds "
        "hold floor left right above below next image scene picture word text written has have material size texture"
    ).split()
)
ANYTHING = frozenset(["object", "thing", "item"])
_FLOOR = frozenset(["floor", "ground"])
_FILLER = re.compile(
    rf"^in {IMAGE},? | (?:of|in|on|from) {IMAGE}| (?:located|placed|positioned|situated|visible|depicted)\b"
    r"| (?:that|which) (?:is|are)(?= (?:on|in|at) )"
)
NEAR = r"(?:on|in|at|above|over|below|under|near|by)"
SIDE = r"(?:directly )?(?:to the )?(?P<side>left of|right of|above|below)"


def plain_question(question: str) -> str:
    """A question in one form: lower case, without its mark, fillers and "in the image"."""
    text = _FILLER.sub("", " ".join(question.lower().rstrip("? ").split())).strip()
    text = re.sub(
        r"^(?:what|which) (?:object|thing|item|shape)( (?:on|in) the .+)? is ([a-z]+)$",
        r"what is the \2 object\1",
        text,
    )
    return re.sub(r"^what (?:object |thing |shape )?(?:is|are) (?=(?:on|in|inside) the )", "what is the object ", text)


def named_things(text: str) -> tuple[Phrase, ...]:
    """The noun phrases of "red star on the table", the thing first; empty when the text has more than that."""
    out: list[Phrase] = []
    before = ""
    parts = re.split(r" (on|in|inside|at|to|of) (?:the|a|an) ", re.sub(r"^(?:the|a|an|any|some) ", "", text))
    for link, part in zip(["", *parts[1::2]], parts[::2], strict=True):
        phrases = noun_phrases(f"the {part}")
        of_a_thing = link == "of" and (before in ("", "to") or not position(out[-1].words))
        before = link
        if of_a_thing or len(phrases) != 1 or phrases[0].end != len(part) + 4:
            return ()
        out += phrases
    return tuple(out)


def fits(thing: Thing, phrase: Phrase) -> bool:
    """Whether the phrase can mean the thing: same noun, and no attribute or place that the thing lacks."""
    attributes = thing.modifiers.union(*thing.places)
    return (thing.head == phrase.head or phrase.head in ANYTHING) and phrase.modifiers <= attributes


def lies(description: Told, thing: Thing, where: Phrase, depth: int = 4) -> bool:
    """Whether a thing is at a place, or on or in a thing, at most through three others."""
    if place := position(where.words):
        return any(place <= p for p in thing.places)
    if where.head in _FLOOR and where.head not in description.words:  # a thing without a holder
        return not thing.holders
    holders = (description.things[h] for h in thing.holders if depth)
    return any(fits(h, where) or lies(description, h, where, depth - 1) for h in holders)


def may_lie(description: Told, thing: Thing, where: Phrase) -> bool:
    """Whether a thing is at a place, or the description gives it none."""
    return lies(description, thing, where) or not (thing.places if position(where.words) else thing.holders)


def find(description: Told, phrases: Sequence[Phrase]) -> list[Thing]:
    """The things that the phrases can mean; a place may be that of the holder."""
    thing, *within = phrases
    return [
        t
        for t in description.things
        if fits(t, thing)
        and all(
            lies(description, t, w)
            or any(lies(description, description.things[h], w) for h in t.holders if position(w.words))
            for w in within
        )
    ]


def named_words(question: str) -> set[str]:
    """The content words of a question, in the singular."""
    return {singular(w) for w in WORD.findall(question) if w not in _QUESTION_WORDS}
