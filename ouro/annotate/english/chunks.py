"""Where the noun phrases of free prose begin and end: words between function words, verbs and marks.

By word lists and endings, with kinds.json to tell a noun from a verb that looks like one: no parser, linear time.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ouro.annotate.english.attributes import attribute, readings
from ouro.annotate.english.kinds import is_known
from ouro.annotate.english.phrases import (
    BOUNDARY,
    NUMBERS,
    ORDINALS,
    POSSESSIVES,
    WORD,
    is_ing_noun,
    is_plural,
    is_verb,
)

MANY: Final = frozenset(
    "some several many few both all various numerous multiple these those other countless most".split()
)
DETERMINERS: Final = (
    frozenset("a an the this that another each every any no either".split()) | MANY | POSSESSIVES | frozenset(NUMBERS)
)
_SINGULAR = frozenset("a an one another each every this".split())
_SUBJECTS = frozenset("it he she they we".split())  # a verb follows
_PLURAL_FIRST = frozenset("sports goods arms games savings women men ladies mens womens systems".split())
STOP: Final = BOUNDARY | frozenset(
    (
        "it he she they them him there here we you i be been being can could may might must will would should do does "
        "did not n't without never nor neither also too very quite only just so then than where when while who whose "
        "whom what how why if because but or as both upright either yet still off out up down away together apart "
        "about around overhead like per via within throughout among amid atop onto beneath underneath alongside "
        "despite during after before since until appears appear seems seem is are was were has have had having its' "
        "possibly likely perhaps probably maybe"
    ).split()
)
# Verbs of descriptions beside those of phrases.is_verb; the first end a phrase whatever stands before them.
_SURE = frozenset("add create make give provide show depict include contain explain describe suggest".split())
_FINITE = _SURE | frozenset(
    (
        "feature display cover extend put attach emerge grow rise shine connect help indicate belong consist adorn "
        "fill occupy play jump graze swim rest hang stretch cast surround"
    ).split()
)
_POSTURES = frozenset("stands sits lies hangs leans rests".split())
_AFTER_PLURALS = frozenset("line cross flank dot frame overlook cover face touch meet".split())  # "buildings line"
PARTICIPLES = frozenset(
    (
        "made seen worn held set hung laid topped written drawn lit built shown cut torn bent taken known visible full"
    ).split()
)
# Adjectives that no ending shows.
_PLAIN = frozenset(
    (
        "bright dark light large big small round square tall short long wide thick thin old new young soft smooth "
        "rough sharp flat deep clean clear fresh warm cool cold hot dry wet plain heavy strong dense lush ornate "
        "single double modern classic vintage pale faint narrow broad bare blunt loose tight neat crisp raw ripe blank "
        "simple whole asleep awake alive alight ajar"
    ).split()
)
_ADJECTIVE = re.compile(r".{2,}(?:y|ful|ous|ic|al|ive|ish|less|ed|ern|able|ible|ular|ilar|ant|ent|er|est|ing)")

_CONTRACTIONS = frozenset("it's he's she's there's that's here's they're we're you're i'm who's what's".split())

Token = tuple[int, int, str]  # start, end, the word in lower case


class Chunk(NamedTuple):
    """Tokens [first, last): determiners, then attributes and a noun."""

    first: int
    last: int


def tokens_of(masked: str, start: int, end: int) -> list[Token]:
    """The words of a sentence."""
    words = ((m.start(), m.end(), m.group().lower().replace("’", "'")) for m in WORD.finditer(masked, start, end))
    return [(a, b, "is" if word in _CONTRACTIONS else word) for a, b, word in words]


def find_chunks(masked: str, tokens: list[Token]) -> list[Chunk]:
    """Maximal runs of words that are no function words and no verbs, each with the determiners before it, in order."""
    chunks: list[Chunk] = []
    first = -1
    for at, token in enumerate(tokens):
        if first >= 0 and not _goes_on(masked, tokens, first, at):
            chunks.append(Chunk(first, at))
            first = -1
            verb = _is_verb_here(masked, tokens, chunks[-1].first, at) or _is_shared_verb(tokens, chunks[-1].first, at)
            verb = verb or (_is_verb_form(token[2]) and is_adjective(tokens[at - 1][2]))
        else:
            verb = first < 0 and _opens_no_phrase(masked, tokens, at)
        if first < 0 and not verb and (token[2] in DETERMINERS or not (token[2] in STOP or is_and(token[2]))):
            first = at
    return [*chunks, *([Chunk(first, len(tokens))] if first >= 0 else [])]


def is_and(word: str) -> bool:
    return word in ("and", "or", "nor", "but")


def is_adjective(word: str) -> bool:
    """Whether a word tells how a thing is, as far as lists and endings show."""
    if readings(word) or word in _PLAIN or word in ORDINALS:
        return True
    return not is_known(word) and not is_plural(word) and _ADJECTIVE.fullmatch(word) is not None


def _goes_on(masked: str, tokens: list[Token], first: int, at: int) -> bool:
    """Whether token `at` belongs to the phrase that started at `first`."""
    word, before = tokens[at][2], tokens[at - 1][2]
    gap = masked[tokens[at - 1][1] : tokens[at][0]]
    if gap.strip() == ",":
        follows = word not in DETERMINERS and not is_and(word) and word not in STOP and not _is_verb_form(word)
        return is_adjective(before) and follows
    if not gap.isspace():
        return False
    if word in DETERMINERS:
        return before not in POSSESSIVES and all(tokens[i][2] in DETERMINERS for i in range(first, at))
    if is_and(word):
        return _joins(masked, tokens, at)
    if is_and(before):
        return True
    if word == "can":
        return before in DETERMINERS or is_known(f"{before} can")
    if word.isdecimal() and at > first and is_known(before) and _before_function_word(masked, tokens, at):
        return False  # "the bar for wind 95 and the bar for solar 60"
    if attribute(word) in (attribute("open"), attribute("closed")) and is_known(before) and at > first:
        return False  # "with its lid open"
    link = tokens[first - 1][2] if first else ""
    looks = is_adjective(before) if link in ("is", "are") else link == "in" and bool(readings(before))
    if looks and _is_verb_form(word):
        return False  # "a boat that is white lies there", "an awning in white and blue covers it"
    return word not in STOP and not _is_verb_here(masked, tokens, first, at) and not _is_shared_verb(tokens, first, at)


def _joins(masked: str, tokens: list[Token], at: int) -> bool:
    """Whether "and" joins two attributes of one thing: "red and white stripes", but not "a cup and a plate"."""
    if at + 1 == len(tokens) or not masked[tokens[at][1] : tokens[at + 1][0]].isspace():
        return False
    return is_adjective(tokens[at - 1][2]) and is_adjective(tokens[at + 1][2])


def _is_verb_here(masked: str, tokens: list[Token], first: int, at: int) -> bool:
    """Whether a word behind a noun is its verb: "standing", "parked on", "holds", "visible"; no "parked car"."""
    word, before = tokens[at][2], tokens[at - 1][2]
    compound = at > 1 and is_known(f"{tokens[at - 2][2]} {before}")  # "traffic light"
    material = at > 1 and tokens[at - 2][2] in ("of", "from") and word.endswith("s")  # "a box of metal stands on"
    material = material and _before_function_word(masked, tokens, at) and not is_known(f"{before} {word}")
    if word in _POSTURES and before not in DETERMINERS and _before_function_word(masked, tokens, at):
        return True
    if before in DETERMINERS or (is_adjective(before) and not compound and not material and word not in _SURE):
        return False
    if word.endswith("ing") and len(word) > 4:
        return not is_ing_noun(word) and not is_known(word)
    if (
        _disagrees(masked, tokens, first, at)
        or word.endswith("ly")
        or (_is_followed_by_determiner(masked, tokens, at) and _agrees(word, before))
    ):
        return True
    if word.endswith("ed") or word in PARTICIPLES:
        return _before_function_word(masked, tokens, at)
    base = _base(word)
    if base in _SURE or word in _AFTER_PLURALS:
        return base in _SURE or is_plural(before)
    unknown = word.endswith("s") and not is_known(word) and _before_function_word(masked, tokens, at)
    ends = _before_function_word(masked, tokens, at) and not is_known(f"{before} {word}")  # "capped with snow rise in"
    return (base in _FINITE or is_verb(word) or unknown) and (_agrees(word, before) or ends)


def _disagrees(masked: str, tokens: list[Token], first: int, at: int) -> bool:
    """ "a crane towers over": no noun with that article; "gulls circle the ship": no compound begins with a plural."""
    word, before = tokens[at][2], tokens[at - 1][2]
    if not _before_function_word(masked, tokens, at) or word in PARTICIPLES:
        return False
    if is_plural(word):
        return tokens[first][2] in _SINGULAR and not is_plural(before)
    return is_plural(before) and before not in _PLURAL_FIRST


def _is_shared_verb(tokens: list[Token], first: int, at: int) -> bool:
    """ "a dog and a cat sit there"."""
    return first > 0 and is_and(tokens[first - 1][2]) and at - first > 1 and is_verb(tokens[at][2])


def _agrees(verb: str, before: str) -> bool:
    """ "the net divides", "the nets divide", "a row of nets divides"; "-ed" goes with all."""
    return verb.endswith(("ed", "s")) or is_plural(before)


def _is_followed_by_determiner(masked: str, tokens: list[Token], at: int) -> bool:
    """ "divides the court": two phrases never stand side by side without a mark."""
    if at + 1 == len(tokens) or not masked[tokens[at][1] : tokens[at + 1][0]].isspace():
        return False
    return tokens[at + 1][2] in DETERMINERS or tokens[at + 1][2].isdecimal()


def _before_function_word(masked: str, tokens: list[Token], at: int) -> bool:
    if at + 1 == len(tokens) or not masked[tokens[at][1] : tokens[at + 1][0]].isspace():
        return True
    after = tokens[at + 1][2]
    return after in STOP or after in DETERMINERS or is_and(after) or after.endswith("ly") or after in PARTICIPLES


def _opens_no_phrase(masked: str, tokens: list[Token], at: int) -> bool:
    """Whether a word is a verb ("are crossing the road"), or the "that" before one ("a sign that reads")."""
    word = tokens[at][2]
    if at and tokens[at - 1][2] in _SUBJECTS and masked[tokens[at - 1][1] : tokens[at][0]].isspace():
        return word not in DETERMINERS
    if word == "that" and at and at + 1 < len(tokens):
        return _is_verb_form(tokens[at + 1][2]) or tokens[at + 1][2] in STOP
    return _is_verb_form(word) or (word.endswith("ing") and _is_followed_by_determiner(masked, tokens, at))


def _is_verb_form(word: str) -> bool:
    """Whether a word that would open a phrase is a verb of descriptions: "shows", "wearing"."""
    if word.endswith("ing"):
        stem = word[:-3]
        return not is_ing_noun(word) and any(is_verb(s) or s in _FINITE for s in (stem, f"{stem}e", stem[:-1]))
    return word.endswith("s") and (_base(word) in _FINITE or is_verb(word))


def _base(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
