"""Yes-no and how-many questions against a description: what holds, what does not, what is left open."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from ouro.annotate.english.phrases import BOUNDARY, DETERMINERS, Phrase, singular
from ouro.annotate.pairs.asking import ANYTHING, SIDE, find, fits, lies, may_lie, named_things
from ouro.annotate.pairs.reading import DETERMINED, NEGATIONS, POSITIONS, Thing, Told, beside, literal


def holds_true(question: str, told: Told) -> bool | None:
    """Whether what a yes-no question says holds; None where the description does not decide it."""
    if NEGATIONS & set(question.split()):
        return None
    if literal(re.sub(r"^(?:is|are|was|were|does|do|did|has|have) (?:there )?(?:any |some )?", "", question), told):
        return True
    if match := re.fullmatch(rf"(?:is|are) the (?P<a>.+?) {SIDE} the (?P<b>.+)", question):
        named = named_things(match["a"]), named_things(match["b"])
        pairs = [(a, b) for a in find(told, named[0]) for b in find(told, named[1])] if all(named) else []
        return _any([beside(told, a, b, match["side"]) for a, b in pairs])
    if match := re.fullmatch(r"(?:is|are) there (.+)", question):
        return _exists(named_things(match[1]), told)
    if match := re.fullmatch(r"(?:does|do) the (.+) (?:have|hold|contain) (.+)", question):
        return _exists(named_things(f"{match[2]} on the {match[1]}"), told)
    if match := re.fullmatch(r"(?:is|are|was|were) the (.+)", question):
        return _predicated(match[1].split(), told)
    return None


def _any(found: Sequence[bool | None]) -> bool | None:
    return True if True in found else False if False in found else None


def _exists(named: Sequence[Phrase], told: Told) -> bool | None:
    if not named:
        return None
    thing, *within = named
    asked = DETERMINED.get(thing.words[0], 0)
    if asked > 1:
        total = _total(named, told)
        return None if total is None else total == asked
    if find(told, named):
        return True
    same = [t for t in told.things if t.head == thing.head]
    open_ = [t for t in same if (fits(t, thing) or not t.modifiers) and all(may_lie(told, t, w) for w in within)]
    return None if open_ or (not same and thing.head in told.words) else False


def _predicated(words: Sequence[str], told: Told) -> bool | None:
    """Of "circle on the table red" the longest beginning that names known things, and what is said of them."""
    for cut in range(len(words) - 1, 0, -1):
        named, predicate = named_things(" ".join(words[:cut])), " ".join(words[cut:])
        found = find(told, named) if named else []
        if not found or words[cut] in POSITIONS:
            continue
        if match := re.fullmatch(r"(?:on|in|inside|at|to) (?:the|a|an) (.+)", predicate):
            where = named_things(match[1])
            if len(where) != 1:
                return None
            may = any(may_lie(told, t, where[0]) for t in found)
            return True if any(lies(told, t, where[0]) for t in found) else None if may else False
        return _described(set(words[cut:]), found, told)
    return None


def _described(words: set[str], found: Sequence[Thing], told: Told) -> bool | None:
    """Whether the words are said of a thing; False only where it is described and they are said of another."""
    if words & (BOUNDARY | DETERMINERS):
        return None
    if any(words <= t.said for t in found):
        return True
    return False if all(t.said for t in found) and all(w in told.words for w in words) else None


def asked_total(question: str, told: Told) -> int | None:
    text = re.sub(r"^how many | (?:are|is|were|there|seen|can be|do you see|in total)\b", "", question)
    text = re.sub(r"(.+?) (?:does|do) the (.+) (?:have|hold|contain)", r"\1 on the \2", text)
    named = named_things(text)
    return _total(named, told) if named else None


def _total(named: Sequence[Phrase], told: Told) -> int | None:
    """How many of the named things there are; None where the phrases do not decide it."""
    thing, *within = named
    found = [t for t in find(told, named) if t.number != 0]
    if thing.head in ANYTHING:  # what a thing itself holds; a sign is told by its text, not counted
        held = [t for t in found if any(fits(told.things[h], w) for h in t.holders for w in within)]
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
