"""Does a description bear a question-answer pair out? It is read as things (noun phrases with their places and
holders); no topic is known. The stage synthesize keeps what passes.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from ouro.annotate.merge import BOUNDARY, DETERMINERS, Phrase, noun_phrases, singular
from ouro.annotate.replies import Written

# ---- what a description says ---------------------------------------------------------------------------------

_WORD = re.compile(r"[\w'-]+(?:\.\d+)?|[,;:]")
_QUOTED = re.compile(r'"[^"]*"|(?:(?<=\bsays )|(?<=\breads ))[^,;]*?(?= (?:at|in) the |[,;]|$| and (?:a|an|the) )')
_NEGATIONS = frozenset("no not without never none nothing neither isn't aren't doesn't".split())
_LITTLE = frozenset("a an the is are was were".split())
_LINKS = frozenset("that which of".split())
_HAS = frozenset("has have had holds contains includes carries features displays".split())
_WITH = frozenset("with holding containing including carrying featuring displaying".split())
_PREPOSITIONS = BOUNDARY - frozenset("and or with is are was were has have that which who while as says".split())
_IN = frozenset("on in at inside within upon".split())
_AREAS = frozenset("the side corner part half hand edge area far".split())
_POSITIONS = {
    **{p: p for p in "top bottom left right center background foreground".split()},
    **{"middle": "center", "centre": "center", "upper": "top", "lower": "bottom"},
}
_IMAGE = r"(?:the|this) (?:image|picture|photo|photograph|scene|frame)\b"
_NUMBERS = {w: n for n, w in enumerate("zero one two three four five six seven eight nine ten".split())}
_DETERMINED = {"the": 0, "a": 1, "an": 1, "another": 1, **_NUMBERS}


class Thing(NamedTuple):
    """A noun phrase of a description and what its sentence says of it."""

    head: str
    modifiers: frozenset[str]
    number: int | None  # 0: named before ("the"), None: not said ("some")
    rest: str  # its sentence after the phrase
    sentence: int
    places: list[frozenset[str]]  # {"top", "left"}
    holders: list[int]  # the things that have it, or that it is on or in

    @property
    def said(self) -> set[str]:
        """The words said of it: its modifiers and what directly follows ("is red", "made of glass")."""
        ends = (BOUNDARY | DETERMINERS | _HAS | {",", ";", ":"}) - _LINKS - {"is", "are", "was", "were"}
        follows = takewhile(lambda word: word not in ends, _WORD.findall(self.rest))
        return {*self.modifiers, *follows} - _LITTLE - _LINKS


class Told(NamedTuple):
    """A description: its things, its sentences without negations (`_core`), these without inscriptions, its words."""

    things: list[Thing]
    sentences: list[str]
    unquoted: list[str]
    words: Counter[str]


@lru_cache(maxsize=64)
def _read(description: str) -> Told:
    things: list[Thing] = []
    sentences = [s for s in re.split(r"[.!?](?:\s+|$)", description.lower()) if s]
    for number, sentence in enumerate(sentences):
        _read_sentence(sentence, number, things)
    affirmed = [s for s in sentences if not _NEGATIONS & set(s.split())]
    words = Counter(w for s in sentences for w in _WORD.findall(s))
    words.update({singular(w) for w in words} - {*words})
    unquoted = [_core(_QUOTED.sub("_", s)) for s in affirmed]
    return Told([_resolved(t, things) for t in things], [_core(s) for s in affirmed], unquoted, words)


def _read_sentence(sentence: str, number: int, things: list[Thing]) -> None:
    """Append the things of a sentence up to its first negation.

    What a thing "has" it holds, with all that "," and "and" add; a thing "on" or "in" the next is held by that one.
    A place ("at the top left") is that of the last thing and of the one before its preposition.
    """
    text = _QUOTED.sub(lambda m: "_" * len(m.group()), sentence)
    at, last, subject, owner = 0, -1, -1, -1  # indices into things; subject: the last thing behind no preposition
    for phrase in noun_phrases(text):
        gap = re.findall(r"[\w']+", text[at : phrase.start])
        link, at = gap[-1] if gap else "", phrase.end
        if _NEGATIONS & {*gap, *phrase.words}:
            return
        place = _position(phrase.words) if phrase.words[0] == "the" else frozenset[str]()
        if place:
            of_a_thing = re.match(rf" of (?!{_IMAGE})", text[at:])
            for i in {subject, last} - {-1} if link in _IN | {"to"} and not of_a_thing else ():
                things[i].places.append(place)
            continue
        determined = 0 if link == "the" else _DETERMINED.get(phrase.words[0])
        listed = set(gap) <= {"and", "or"} and determined != 0
        owned = _HAS & set(gap) or _WITH & set(gap)
        if owned:
            owner = subject if _HAS & set(gap) else last
        elif link in _IN and last >= 0:
            things[last].holders.append(len(things))
        elif not listed and link not in _PREPOSITIONS:
            owner = -1
        holders = [owner] if owner >= 0 and (owned or listed) else []
        last = len(things)
        subject = subject if subject >= 0 and link in _PREPOSITIONS else last
        things.append(Thing(phrase.head, phrase.modifiers, determined, sentence[at:], number, [], holders))


def _resolved(thing: Thing, things: Sequence[Thing]) -> Thing:
    """A thing named before ("the table") with what is known of the one thing that this can mean."""
    same = [t for t in things if t.head == thing.head and t.number != 0]
    same = [t for t in same if not thing.places or any(p in t.places for p in thing.places)]
    if thing.number != 0 or len(same) != 1:
        return thing
    places, holders = [*thing.places, *same[0].places], [*thing.holders, *same[0].holders]
    return thing._replace(modifiers=thing.modifiers | same[0].modifiers, places=places, holders=holders)


def _position(words: Sequence[str]) -> frozenset[str]:
    """The place that "the upper left corner" names: {"top", "left"}; empty when it names a thing."""
    named = [w for w in "-".join(words).split("-") if w not in _AREAS]
    return frozenset(_POSITIONS[w] for w in named) if all(w in _POSITIONS for w in named) else frozenset()


def _core(text: str) -> str:
    """A text's words in the singular, without articles and copulas, with its commas, between blanks."""
    return f" {' '.join(singular(w) for w in _WORD.findall(text) if w not in _LITTLE)} "


def _words(text: str) -> set[str]:
    """A text's words but articles, copulas and what leads a place."""
    return {w for w in _WORD.findall(text) if w not in _LITTLE | {"on", "in", "at", "to", ",", ";", ":"}}


# ---- what a question asks ------------------------------------------------------------------------------------

_QUESTION_WORDS = frozenset(
    (
        "what which who where when how many much is are was were there do does did the a an of in on at to color "
        "colour pattern shape kind type object objects thing things item items say says read reads it this that holds "
        "hold floor left right above below next image scene picture word text written has have material size texture"
    ).split()
)
_ANYTHING = frozenset(["object", "thing", "item"])
_FLOOR = frozenset(["floor", "ground"])
_FILLER = re.compile(
    rf"^in {_IMAGE},? | (?:of|in|on|from) {_IMAGE}| (?:located|placed|positioned|situated|visible|depicted)\b"
    r"| (?:that|which) (?:is|are)(?= (?:on|in|at) )"
)
_NEAR = r"(?:on|in|at|above|over|below|under|near|by)"
_SIDE = r"(?:directly )?(?:to the )?(?P<side>left of|right of|above|below)"


def _plain(question: str) -> str:
    """A question in one form: lower case, without its mark, fillers and "in the image"."""
    text = _FILLER.sub("", " ".join(question.lower().rstrip("? ").split())).strip()
    text = re.sub(
        r"^(?:what|which) (?:object|thing|item|shape)( (?:on|in) the .+)? is ([a-z]+)$",
        r"what is the \2 object\1",
        text,
    )
    return re.sub(r"^what (?:object |thing |shape )?(?:is|are) (?=(?:on|in|inside) the )", "what is the object ", text)


def _named(text: str) -> tuple[Phrase, ...]:
    """The noun phrases of "red star on the table", the thing first; empty when it says more than that."""
    out: list[Phrase] = []
    before = ""
    parts = re.split(r" (on|in|inside|at|to|of) (?:the|a|an) ", re.sub(r"^(?:the|a|an|any|some) ", "", text))
    for link, part in zip(["", *parts[1::2]], parts[::2], strict=True):
        phrases = noun_phrases(f"the {part}")
        of_a_thing = link == "of" and (before in ("", "to") or not _position(out[-1].words))
        before = link
        if of_a_thing or len(phrases) != 1 or phrases[0].end != len(part) + 4:
            return ()
        out += phrases
    return tuple(out)


def _fits(thing: Thing, phrase: Phrase) -> bool:
    """Whether the phrase can mean the thing: its noun, and no attribute or place that it has not."""
    known = thing.modifiers.union(*thing.places)
    return (thing.head == phrase.head or phrase.head in _ANYTHING) and phrase.modifiers <= known


def _lies(told: Told, thing: Thing, where: Phrase, depth: int = 4) -> bool:
    """Whether a thing is at a place, or on or in a thing, at most through three others."""
    if place := _position(where.words):
        return any(place <= p for p in thing.places)
    if where.head in _FLOOR and where.head not in told.words:  # what nothing holds
        return not thing.holders
    held = (told.things[h] for h in thing.holders if depth)
    return any(_fits(h, where) or _lies(told, h, where, depth - 1) for h in held)


def _may_lie(told: Told, thing: Thing, where: Phrase) -> bool:
    return _lies(told, thing, where) or not (thing.places if _position(where.words) else thing.holders)


def _find(told: Told, named: Sequence[Phrase]) -> list[Thing]:
    """The things that `named` can mean; a place may be that of the holder."""
    thing, *within = named
    return [
        t
        for t in told.things
        if _fits(t, thing)
        and all(
            _lies(told, t, w) or any(_lies(told, told.things[h], w) for h in t.holders if _position(w.words))
            for w in within
        )
    ]


# ---- support -------------------------------------------------------------------------------------------------


def support(pair: Written, description: str) -> str:
    """ "" when the description bears the pair out, else the reason it does not.

    Checked: attributes, places, holders and inscriptions, in the noun phrase of the thing asked about or in what
    directly follows it ("at the ..."), only where the thing is on or in what the question says; left of, right of,
    above and below, by the places of things with one holder; numbers, by counting phrases ("the" names again, "two"
    counts two); "yes" and "no" by the same. One thing that fits suffices where a question fits several.
    A "no" takes the description for complete, but for things it gives no attributes or no place.

    Cannot be checked: whether an answer is of the kind asked for (a pattern for a colour), synonyms and kinds of
    things ("animal" for a dog), things named without an article, and any other question: an open one passes when one
    sentence has all its words and the answer, a yes only word for word; the rest is "not_checkable".

    Reasons: answer_not_in_description, question_names_unknown_object, attribute_of_another_object,
    answer_apart_from_question, count_not_supported, contradicts_description, not_checkable.
    """
    told = _read(description)
    question, answer = _plain(pair.question), " ".join(pair.answer.lower().split()).strip(" .")
    if answer in ("yes", "no"):
        holds = _holds(question, told)
        return "not_checkable" if holds is None else "" if holds == (answer == "yes") else "contradicts_description"
    if question.startswith("how many "):
        total = _asked_total(question, told)
        right = total == _NUMBERS.get(answer, int(answer) if answer.isdecimal() else -1)
        return "not_checkable" if total is None else "" if right else "count_not_supported"
    words = _words(answer)
    if not words or any(w not in told.words and singular(w) not in told.words for w in words):
        return "answer_not_in_description"
    if any(w not in told.words for w in _content(question)):
        return "question_names_unknown_object"
    return _open(question, answer, told)


def _content(question: str) -> set[str]:
    """What a question names: its words less function words, in the singular."""
    return {singular(w) for w in _WORD.findall(question) if w not in _QUESTION_WORDS}


def _open(question: str, answer: str, told: Told) -> str:
    """The reason against an open question's answer, by the first form that the question has."""
    for form, holds in _FORMS:
        match = form.fullmatch(question)
        named = _named(match["thing"]) if match else ()
        if not match or not named:
            continue
        found = _find(told, named)
        if found:
            fits = any(holds(told, thing, answer, match) for thing in found)
            return "" if fits else "attribute_of_another_object"
        if any(t.head == named[0].head for t in told.things):
            return "question_names_unknown_object"
        if holds is _has_attribute and named[0].head not in _ANYTHING:
            said = any(_literal(t, told) for t in (f"{answer} {match['thing']}", f"{match['thing']} {answer}"))
            return "" if said else "attribute_of_another_object"
    wanted = _content(question) | set(_core(answer).split())
    together = any(wanted <= set(s.split()) for s in told.sentences)
    return "" if together else "answer_apart_from_question"


def _literal(text: str, told: Told) -> bool:
    return any(_core(text) in sentence for sentence in told.unquoted)


def _has_attribute(told: Told, thing: Thing, answer: str, match: re.Match[str]) -> bool:
    about = {thing.head} if _named(match["thing"])[0].head in _ANYTHING else set[str]()
    return _words(answer) <= thing.said | about


def _has_place(told: Told, thing: Thing, answer: str, match: re.Match[str]) -> bool:
    where = _named(re.sub(r"^(?:on|in|inside|at|to) ", "", answer))
    follows = re.split(r"[,;]| and | with | has | have | that (?:says|reads) ", thing.rest)[0]
    return f" {answer} " in f"{follows} " or (len(where) == 1 and _lies(told, thing, where[0]))


def _has_holder(told: Told, thing: Thing, answer: str, match: re.Match[str]) -> bool:
    where = _named(answer)
    return len(where) == 1 and not _position(where[0].words) and _lies(told, thing, where[0])


def _has_inscription(told: Told, thing: Thing, answer: str, match: re.Match[str]) -> bool:
    said = re.match(
        rf"\W*(?:{_NEAR} (?:\w+ ){{1,4}}?)?(?:(?:that|which) )?(?:says?|saying|reads?|reading)\W+(?P<text>.+)",
        thing.rest,
    )
    return said is not None and re.match(rf"{re.escape(answer)}(?!\w)", said["text"]) is not None


def _has_neighbour(told: Told, thing: Thing, answer: str, match: re.Match[str]) -> bool:
    """Whether the answer is on that side of the thing: in its row or column, unless nothing else there is."""
    beside = [t for t in told.things if _beside(told, t, thing, match["side"])]
    other = 0 if match["side"] in ("above", "below") else 1
    off = [abs(_spot(t)[other] - _spot(thing)[other]) for t in beside]
    in_line = [t for t, o in zip(beside, off, strict=True) if o == 0]
    return any(_words(answer) <= t.modifiers | {t.head} for t in in_line or beside)


_Check = Callable[[Told, Thing, str, re.Match[str]], bool]
_FORMS: list[tuple[re.Pattern[str], _Check]] = [
    (re.compile(r"(?:what|which) \w+ (?:is|are|was|were) the (?P<thing>.+)"), _has_attribute),
    (re.compile(r"what (?:is|are) the \w+ of the (?P<thing>.+)"), _has_attribute),
    (re.compile(r"what is the (?P<thing>(?:\w+ )?object(?: .+)?)"), _has_attribute),
    (re.compile(r"where (?:is|are|was|were) (?P<thing>(?:the|a|an) .+)"), _has_place),
    (re.compile(r"(?:what|who|which)(?: \w+)? (?:holds|contains|carries|has|supports) the (?P<thing>.+)"), _has_holder),
    (re.compile(r"what (?:does|do|did) the (?P<thing>.+) (?:say|read)"), _has_inscription),
    (re.compile(r"what (?:\w+ )?is (?:written|printed) on the (?P<thing>.+)"), _has_inscription),
    (re.compile(rf"what (?:\w+ )?(?:is|are) {_SIDE} the (?P<thing>.+)"), _has_neighbour),
]


def _spot(thing: Thing) -> tuple[int, int]:
    """Column and row of its last place: -1, 0 or 1 from the left and from the top."""
    place = thing.places[-1]
    return ("right" in place) - ("left" in place), ("bottom" in place) - ("top" in place)


def _beside(told: Told, a: Thing, b: Thing, side: str) -> bool | None:
    """Whether `a` is on that side of `b`; None without places, without one holder, in one row or column."""
    homes = [{(told.things[h].head, *map(frozenset, told.things[h].places)) for h in t.holders} for t in (a, b)]
    if (
        a is b
        or homes[0] != homes[1]
        or any(not t.places or t.places[-1] & {"background", "foreground"} for t in (a, b))
    ):
        return None
    axis = 1 if side in ("above", "below") else 0
    step = _spot(a)[axis] - _spot(b)[axis]
    return None if step == 0 else (step < 0) == (side in ("left of", "above"))


# ---- yes, no and how many ------------------------------------------------------------------------------------


def _holds(question: str, told: Told) -> bool | None:
    """Whether what a yes-no question says holds; None where the description does not decide it."""
    if _NEGATIONS & set(question.split()):
        return None
    if _literal(re.sub(r"^(?:is|are|was|were|does|do|did|has|have) (?:there )?(?:any |some )?", "", question), told):
        return True
    if match := re.fullmatch(rf"(?:is|are) the (?P<a>.+?) {_SIDE} the (?P<b>.+)", question):
        named = _named(match["a"]), _named(match["b"])
        pairs = [(a, b) for a in _find(told, named[0]) for b in _find(told, named[1])] if all(named) else []
        return _any([_beside(told, a, b, match["side"]) for a, b in pairs])
    if match := re.fullmatch(r"(?:is|are) there (.+)", question):
        return _exists(_named(match[1]), told)
    if match := re.fullmatch(r"(?:does|do) the (.+) (?:have|hold|contain) (.+)", question):
        return _exists(_named(f"{match[2]} on the {match[1]}"), told)
    if match := re.fullmatch(r"(?:is|are|was|were) the (.+)", question):
        return _predicated(match[1].split(), told)
    return None


def _any(found: Sequence[bool | None]) -> bool | None:
    return True if True in found else False if False in found else None


def _exists(named: Sequence[Phrase], told: Told) -> bool | None:
    if not named:
        return None
    thing, *within = named
    asked = _DETERMINED.get(thing.words[0], 0)
    if asked > 1:
        total = _total(named, told)
        return None if total is None else total == asked
    if _find(told, named):
        return True
    same = [t for t in told.things if t.head == thing.head]
    open_ = [t for t in same if (_fits(t, thing) or not t.modifiers) and all(_may_lie(told, t, w) for w in within)]
    return None if open_ or (not same and thing.head in told.words) else False


def _predicated(words: Sequence[str], told: Told) -> bool | None:
    """Of "circle on the table red" the longest beginning that names known things, and what is said of them."""
    for cut in range(len(words) - 1, 0, -1):
        named, predicate = _named(" ".join(words[:cut])), " ".join(words[cut:])
        found = _find(told, named) if named else []
        if not found or words[cut] in _POSITIONS:
            continue
        if match := re.fullmatch(r"(?:on|in|inside|at|to) (?:the|a|an) (.+)", predicate):
            where = _named(match[1])
            if len(where) != 1:
                return None
            may = any(_may_lie(told, t, where[0]) for t in found)
            return True if any(_lies(told, t, where[0]) for t in found) else None if may else False
        return _described(set(words[cut:]), found, told)
    return None


def _described(words: set[str], found: Sequence[Thing], told: Told) -> bool | None:
    """Whether the words are said of a thing; False only where it is described and they are said of another."""
    if words & (BOUNDARY | DETERMINERS):
        return None
    if any(words <= t.said for t in found):
        return True
    return False if all(t.said for t in found) and all(w in told.words for w in words) else None


def _asked_total(question: str, told: Told) -> int | None:
    text = re.sub(r"^how many | (?:are|is|were|there|seen|can be|do you see|in total)\b", "", question)
    text = re.sub(r"(.+?) (?:does|do) the (.+) (?:have|hold|contain)", r"\1 on the \2", text)
    named = _named(text)
    return _total(named, told) if named else None


def _total(named: Sequence[Phrase], told: Told) -> int | None:
    """How many of the named things there are; None where the phrases do not decide it."""
    thing, *within = named
    found = [t for t in _find(told, named) if t.number != 0]
    if thing.head in _ANYTHING:  # what a thing itself holds; a sign is told by its text, not counted
        held = [t for t in found if any(_fits(told.things[h], w) for h in t.holders for w in within)]
        found = [t for t in held if not re.match(r" that (?:says|reads) ", t.rest)]
    bare = [t for t in told.things if t.head == thing.head and not t.modifiers and t.number != 0]
    plurals = sum(n for w, n in told.words.items() if w != thing.head and singular(w) == thing.head)
    numbered = sum((t.number or 0) > 1 for t in told.things if t.head == thing.head)
    if not found or plurals > numbered or (bare and thing.modifiers) or not all(t.number for t in found):
        return None
    per_sentence: dict[int, int] = defaultdict(int)
    for t in found:
        per_sentence[t.sentence] += t.number or 0
    total = sum(per_sentence.values())
    if not numbered:
        return total
    most = max(per_sentence.values())  # "two cars. there is a blue car": one of the two
    return most if total <= 2 * most else None
