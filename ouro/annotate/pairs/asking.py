"""A question in its plain form, the things that it names, and which things of a description these are."""

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
    """The noun phrases of "red star on the table", the thing first; empty when it says more than that."""
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
    """Whether the phrase can mean the thing: its noun, and no attribute or place that it has not."""
    known = thing.modifiers.union(*thing.places)
    return (thing.head == phrase.head or phrase.head in ANYTHING) and phrase.modifiers <= known


def lies(told: Told, thing: Thing, where: Phrase, depth: int = 4) -> bool:
    """Whether a thing is at a place, or on or in a thing, at most through three others."""
    if place := position(where.words):
        return any(place <= p for p in thing.places)
    if where.head in _FLOOR and where.head not in told.words:  # what nothing holds
        return not thing.holders
    held = (told.things[h] for h in thing.holders if depth)
    return any(fits(h, where) or lies(told, h, where, depth - 1) for h in held)


def may_lie(told: Told, thing: Thing, where: Phrase) -> bool:
    return lies(told, thing, where) or not (thing.places if position(where.words) else thing.holders)


def find(told: Told, named: Sequence[Phrase]) -> list[Thing]:
    """The things that `named` can mean; a place may be that of the holder."""
    thing, *within = named
    return [
        t
        for t in told.things
        if fits(t, thing)
        and all(
            lies(told, t, w) or any(lies(told, told.things[h], w) for h in t.holders if position(w.words))
            for w in within
        )
    ]


def named_words(question: str) -> set[str]:
    """What a question names: its words less function words, in the singular."""
    return {singular(w) for w in WORD.findall(question) if w not in _QUESTION_WORDS}
