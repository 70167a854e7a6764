"""Check yes-no and how-many questions against a description: true, false or undecided."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from ouro.annotate.english.phrases import BOUNDARY, DETERMINERS, Phrase, singular
from ouro.annotate.pairs.asking import ANYTHING, SIDE, find, fits, lies, may_lie, named_things
from ouro.annotate.pairs.reading import DETERMINED, NEGATIONS, POSITIONS, Thing, Told, beside, literal


def holds_true(question: str, description: Told) -> bool | None:
    """Whether the statement of a yes-no question is true; None where the description does not decide it."""
    if NEGATIONS & set(question.split()):
        return None
    if literal(
        re.sub(r"^(?:is|are|was|were|does|do|did|has|have) (?:there )?(?:any |some )?", "", question), description
    ):
        return True
    if match := re.fullmatch(rf"(?:is|are) the (?P<a>.+?) {SIDE} the (?P<b>.+)", question):
        phrases = named_things(match["a"]), named_things(match["b"])
        pairs = (
            [(a, b) for a in find(description, phrases[0]) for b in find(description, phrases[1])]
            if all(phrases)
            else []
        )
        return _combine([beside(description, a, b, match["side"]) for a, b in pairs])
    if match := re.fullmatch(r"(?:is|are) there (.+)", question):
        return _exists(named_things(match[1]), description)
    if match := re.fullmatch(r"(?:does|do) the (.+) (?:have|hold|contain) (.+)", question):
        return _exists(named_things(f"{match[2]} on the {match[1]}"), description)
    if match := re.fullmatch(r"(?:is|are|was|were) the (.+)", question):
        return _check_predicate(match[1].split(), description)
    return None


def _combine(verdicts: Sequence[bool | None]) -> bool | None:
    return True if True in verdicts else False if False in verdicts else None


def _exists(phrases: Sequence[Phrase], description: Told) -> bool | None:
    if not phrases:
        return None
    thing, *within = phrases
    number = DETERMINED.get(thing.words[0], 0)
    if number > 1:
        total = _count_things(phrases, description)
        return None if total is None else total == number
    if find(description, phrases):
        return True
    same = [t for t in description.things if t.head == thing.head]
    undecided = [
        t for t in same if (fits(t, thing) or not t.modifiers) and all(may_lie(description, t, w) for w in within)
    ]
    return None if undecided or (not same and thing.head in description.words) else False


def _check_predicate(words: Sequence[str], description: Told) -> bool | None:
    """Of "circle on the table red" the longest prefix that names known things, and whether the rest is true of them."""
    for cut in range(len(words) - 1, 0, -1):
        phrases, predicate = named_things(" ".join(words[:cut])), " ".join(words[cut:])
        things = find(description, phrases) if phrases else []
        if not things or words[cut] in POSITIONS:
            continue
        if match := re.fullmatch(r"(?:on|in|inside|at|to) (?:the|a|an) (.+)", predicate):
            where = named_things(match[1])
            if len(where) != 1:
                return None
            may = any(may_lie(description, t, where[0]) for t in things)
            return True if any(lies(description, t, where[0]) for t in things) else None if may else False
        return _check_attributes(set(words[cut:]), things, description)
    return None


def _check_attributes(words: set[str], things: Sequence[Thing], description: Told) -> bool | None:
    """Whether a thing has the attributes; False only where all are described and the words belong to another."""
    if words & (BOUNDARY | DETERMINERS):
        return None
    if any(words <= t.said for t in things):
        return True
    return False if all(t.said for t in things) and all(w in description.words for w in words) else None


def asked_total(question: str, description: Told) -> int | None:
    text = re.sub(r"^how many | (?:are|is|were|there|seen|can be|do you see|in total)\b", "", question)
    text = re.sub(r"(.+?) (?:does|do) the (.+) (?:have|hold|contain)", r"\1 on the \2", text)
    phrases = named_things(text)
    return _count_things(phrases, description) if phrases else None


def _count_things(phrases: Sequence[Phrase], description: Told) -> int | None:
    """How many of the named things there are; None where the phrases do not decide it."""
    thing, *within = phrases
    things = [t for t in find(description, phrases) if t.number != 0]
    if thing.head in ANYTHING:  # contents of the thing itself; a sign has its text and is not counted
        contents = [t for t in things if any(fits(description.things[h], w) for h in t.holders for w in within)]
        things = [t for t in contents if not re.match(r" that (?:says|reads) ", t.rest)]
    unmodified = [t for t in description.things if t.head == thing.head and not t.modifiers and t.number != 0]
    plurals = sum(n for w, n in description.words.items() if w != thing.head and singular(w) == thing.head)
    numbered = sum((t.number or 0) > 1 for t in description.things if t.head == thing.head)
    if not things or plurals > numbered or (unmodified and thing.modifiers) or not all(t.number for t in things):
        return None
    per_sentence: dict[int, int] = defaultdict(int)
    for t in things:
        per_sentence[t.sentence] += t.number or 0
    total = sum(per_sentence.values())
    if not numbered:
        return total
    most = max(per_sentence.values())  # "two cars. there is a blue car": one of the two
    return most if total <= 2 * most else None
