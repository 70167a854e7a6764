"""Noun phrases of free prose, as a vision-language model writes it: what each names, how many, which, and where.

"chrome exhaust pipes", "a row of bright lights" (which names lights), "one of the two tall towers on the left" (one
tower). A phrase needs neither a determiner nor a known noun.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from functools import lru_cache
from typing import Final, NamedTuple

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.chunks import (
    DETERMINERS,
    PARTICIPLES,
    WORD,
    Chunk,
    Token,
    find_chunks,
    is_adjective,
    is_and,
    tokens_of,
)
from ouro.annotate.english.kinds import is_known, noun
from ouro.annotate.english.mentions import Spot, read_spot
from ouro.annotate.english.phrases import BOUNDARY, NUMBERS, ORDINALS, is_plural, mask, sentences

_GROUPS: Final = frozenset(
    (
        "row set pair group bunch stack pile collection series variety couple number lot lots plenty cluster array "
        "line herd flock crowd assortment selection handful range closeup close-up view kind type "
        "sort piece part portion section dozens hundreds thousands millions dozen majority mix combination layer "
        "batch string chain swarm rest inside interior half"
    ).split()
)
_NEGATION = re.compile(
    r"(?:\b(?:no|not|without|never|neither|nor|lacks?|lacking|free of|devoid of|absence of|cannot)|n['’]t)\b"
    r"(?:\s+[\w'’-]+){0,3}\s*",
    re.IGNORECASE,
)
_AREA = "left|right|top|bottom|upper|lower|center|centre|middle"
_PLACE = re.compile(
    rf"\b(?:on|in|at|to|towards?|near|along)\s+(?:the|its)\s+(?:far\s+|very\s+)?"
    rf"(?P<spot>(?:{_AREA})(?:[- ](?:{_AREA}))?)"
    r"(?:[- ]hand)?(?:\s+(?:side|corner|half|part|edge|area|portion|third|section))?"
    r"(?:\s+of\s+(?:the|this)\s+(?:image|picture|photo|photograph|scene|frame|view))?"
    r"(?=\s*(?:$|[.,;:!?)])|\s+(?:and|with|that|which|is|are|there|in|on|by|next|has|while|of)\b)",
    re.IGNORECASE,
)
_BESIDE = re.compile(
    r"(?:on|to)\s+(?:the|its)\s+(?:left|right)\s+of\s+(?!(?:the|this)\s+(?:image|picture|photo|scene)\b)", re.I
)
_OPENS = re.compile(r"(?:,|;|:|\band\b|\bwhile\b|\bwhereas\b|\bbut\b)\s*\Z")
_COPULA = re.compile(r"\s+(?:is|are|appears?(?:\s+to\s+be)?|looks?)\s+((?:[\w'’-]+[ ,]+){0,6}[\w'’-]+)", re.IGNORECASE)
_LINKS = frozenset(
    "of with in on at over under near beside behind above below around between against from by for".split()
)


class NounPhrase(NamedTuple):
    """Characters [start, end) of a text that name a thing, with its determiner and its group ("a row of ...").

    `words`: without determiner and group, lower case; `noun`: what they name (see kinds.noun); `number`: None where the
    text does not say; `of`: the words of a complement or owner ("handle of a cup", "a cup's handle": cup); `looks`: its
    attributes, also those said of it ("the cup is red"); `group`: it is told of as a row, a pair, a part.
    """

    start: int
    end: int
    words: tuple[str, ...]
    noun: str
    determiner: str = ""
    number: int | None = None
    plural: bool = False
    ordinal: int | None = None
    negated: bool = False
    spot: Spot | None = None
    of: tuple[str, ...] = ()
    looks: frozenset[str] = frozenset()
    group: bool = False
    sentence: int = 0
    link: str = ""  # the preposition before it

    @property
    def definite(self) -> bool:
        """It speaks again of what was named: "the cup", "this cup"."""
        return self.determiner in ("the", "this", "that", "these", "those")

    @property
    def modifiers(self) -> tuple[str, ...]:
        """The words before the noun."""
        return self.words[: max(0, len(self.words) - len(self.noun.partition(" of ")[0].split()))]


@lru_cache(maxsize=1024)
def read_phrases(text: str) -> tuple[NounPhrase, ...]:
    """All noun phrases, in order. What stands in quotation marks names nothing; an empty text has none."""
    masked = mask(text)
    phrases: list[NounPhrase] = []
    for number, (start, end) in enumerate(sentences(text)):
        tokens = tokens_of(masked, start, end)
        sentence_phrases = _merge_groups(masked, tokens, find_chunks(masked, tokens), start)
        sentence_phrases = _add_spots(masked, _add_looks(masked, sentence_phrases), start, end)
        phrases += [p._replace(sentence=number) for p in sentence_phrases]
    return tuple(phrases)


def read_name(name: str) -> NounPhrase | None:
    """The first noun phrase of a name ("a red traffic light", "glasses", "cat's eye"); None where it has none."""
    return next(iter(read_phrases(name[:300])), None)


def _merge_groups(masked: str, tokens: list[Token], chunks: list[Chunk], start: int) -> list[NounPhrase]:
    """Chunks as phrases; "a row of" and "one of" go with what follows them, other complements are noted."""
    phrases: list[NounPhrase] = []
    at = 0
    while at < len(chunks):
        phrase = _phrase(masked, tokens, chunks[at], start)
        words = [tokens[i][2] for i in range(chunks[at].first, chunks[at].last)]
        after = chunks[at + 1] if at + 1 < len(chunks) and _is_of(tokens, chunks[at], chunks[at + 1]) else None
        if after and (words[-1] in _GROUPS or all(w in DETERMINERS or w in _GROUPS for w in words)):
            phrase = _group(phrase, _phrase(masked, tokens, after, start), words)
            at += 1
        elif after:
            phrase = _complete(phrase, _content(tokens, after))
        if phrase.noun and not _is_bare_adjective(phrase):
            phrases.append(phrase)
        at += 1
    return phrases


def _is_bare_adjective(phrase: NounPhrase) -> bool:
    """ "visible", "made", "red" by themselves are no things."""
    last = phrase.words[-1]
    twice = len(phrase.words) > 1 and bool(readings(last)) and bool(readings(phrase.words[-2]))  # "white cream"
    bare = not phrase.determiner and not phrase.plural and phrase.noun == last and not twice
    return bare and (is_adjective(last) or last in PARTICIPLES)


def _is_of(tokens: list[Token], chunk: Chunk, after: Chunk) -> bool:
    return after.first == chunk.last + 1 and tokens[chunk.last][2] == "of"


def _group(group: NounPhrase, inner: NounPhrase, words: list[str]) -> NounPhrase:
    """What is in a group, with the group's characters: "one of the cups" is one cup, "a row of lights" lights."""
    one = words[0] in ("one", "each", "another") and words[-1] in DETERMINERS
    number = 1 if one else inner.number if words[-1] in _GROUPS else NUMBERS.get(words[0], inner.number)
    pair = words[-1] == "pair" and inner.plural and inner.words[-1] != "glasses"  # "scissors" are no plural here
    number = 2 if pair and inner.number is None else number
    return inner._replace(
        start=group.start, number=number, plural=inner.plural and not one, negated=group.negated or inner.negated,
        group=words[-1] in _GROUPS, determiner=group.determiner or inner.determiner, link=group.link,
    )  # fmt: skip


def _complete(phrase: NounPhrase, of: tuple[str, ...]) -> NounPhrase:
    """With its complement; "body of water" is one name."""
    whole = f"{phrase.noun} of {' '.join(of)}"
    return phrase._replace(of=(*phrase.of, *of), noun=whole if is_known(whole) else phrase.noun)


def _content(tokens: list[Token], chunk: Chunk) -> tuple[str, ...]:
    return tuple(w for _, _, w in tokens[chunk.first : chunk.last] if w not in DETERMINERS)


def _phrase(masked: str, tokens: list[Token], chunk: Chunk, start: int) -> NounPhrase:
    """One chunk as a phrase; its noun is "" where it has determiners alone."""
    words = [tokens[i][2] for i in range(chunk.first, chunk.last)]
    leads = [w for w in words if w in DETERMINERS]
    content = tuple(w for w in words if w not in DETERMINERS)
    first, last = tokens[chunk.first][0], tokens[chunk.last - 1][1]
    plural = bool(content) and is_plural(content[-1])
    return NounPhrase(
        first, last, content, noun(" ".join(content)), leads[0] if leads else "", _number(leads, content, plural),
        plural,
        next((ORDINALS[w] for w in content[:-1] if w in ORDINALS), None),
        "no" in leads or _is_negated(masked, max(start, first - 60), first), None,
        tuple(owner for w in content[:-1] if (owner := _owner(w))), frozenset(w for w in content[:-1] if readings(w)),
        link=tokens[chunk.first - 1][2] if chunk.first else "",
    )  # fmt: skip


def _number(leads: list[str], content: tuple[str, ...], plural: bool) -> int | None:
    word = next((w for w in leads if w in NUMBERS), None)
    if word is not None:
        return NUMBERS[word]
    if plural:
        return next((int(w) for w in content[:1] if w.isdecimal() and len(w) < 5), None)
    return 1 if leads else None


def _is_negated(masked: str, start: int, end: int) -> bool:
    """Whether a "no" or "without" stands at most three words before `end` in the same clause."""
    return any(m.end() == end for m in _NEGATION.finditer(masked, start, end))


def _owner(word: str) -> str:
    return next((word[: -len(end)] for end in ("'s", "’s", "s'", "s’") if word.endswith(end) and len(word) > 3), "")


def _add_looks(masked: str, phrases: list[NounPhrase]) -> list[NounPhrase]:
    """With what the sentence says of each: "the cup is red"; "the rim of the cup is red" is said of the rim."""
    out = list(phrases)
    for at, phrase in enumerate(phrases):
        words = _predicate(masked, phrase.end)
        if words:
            at = _subject(phrases, at)
            out[at] = out[at]._replace(looks=out[at].looks | words)
    return out


def _subject(phrases: list[NounPhrase], at: int) -> int:
    """Of "the rim of the cup on the table" the rim."""
    while at and phrases[at].link in _LINKS:
        at -= 1
    return at


def _predicate(masked: str, end: int) -> frozenset[str]:
    """Attributes behind "is" or "are", up to the next preposition."""
    match = _COPULA.match(masked, end)
    words: list[str] = []
    for word in WORD.findall(match[1].lower()) if match else ():
        if word in BOUNDARY and not is_and(word):
            break
        words.append(word)
    return frozenset(w for w in words if readings(w))


def _add_spots(masked: str, phrases: list[NounPhrase], start: int, end: int) -> list[NounPhrase]:
    """With the places: of the phrase right before it, of the verb's subject, or of what follows "At the top, ..."."""
    places = [(m.start(), m.end(), read_spot(m["spot"])) for m in _PLACE.finditer(masked, start, end)]
    inside = {at for a, b, _ in places for at in range(a, b)}
    candidates = [p for p in phrases if p.start not in inside]
    ends, starts = [p.end for p in candidates], [p.start for p in candidates]
    out = [p._replace(spot=_adjective_spot(p)) for p in candidates]
    for first, last, spot in places:
        if _BESIDE.match(masked, first):  # "to the right of it"
            continue
        before, after = bisect_right(ends, first) - 1, bisect_left(starts, last)
        opens = masked[last : last + 1] == "," and _OPENS.search(masked[max(start, first - 12) : first]) is not None
        if before >= 0 and not (opens and after < len(candidates)):
            last_one = candidates[before]
            close = masked[last_one.end : first].isspace() and last_one.link not in ("of", "in", "on", "at")
            at = before if close else _subject(candidates, before)
        elif after < len(candidates):
            at = after
        else:
            continue
        out[at] = out[at]._replace(spot=spot)
    return out


def _adjective_spot(phrase: NounPhrase) -> Spot | None:
    """ "the left cup"."""
    words = [w for w in phrase.modifiers if w in _AREA.split("|")]
    return read_spot(" ".join(words)) if words and phrase.definite else None
