"""How well a child's name fits a thing that a description tells of: by which rule, and what speaks for it."""

from __future__ import annotations

from typing import Final, NamedTuple

from ouro.annotate.english.attributes import clashes, exclude_each_other, readings
from ouro.annotate.english.chunks import is_adjective
from ouro.annotate.english.free_text import NounPhrase
from ouro.annotate.english.kinds import is_kind_of, is_known, kinds_of, same_thing
from ouro.annotate.english.mentions import apart
from ouro.annotate.merging.things import Named, Thing

SCORES: Final = {
    "name": 1.0,
    "head": 0.9,
    "synonym": 0.85,
    "compound": 0.8,
    "kind": 0.7,
    "general": 0.63,
    "person": 0.65,
}
_LEAST = 0.6  # below it nothing is matched
_CLASSES = ("plant", "animal", "food")
_MEN = frozenset("boy guy gentleman male father son brother husband king prince groom monk waiter".split())
_WOMEN = frozenset("girl lady female mother daughter sister wife queen princess bride nun waitress actress".split())
ANYONE = frozenset("man boy guy gentleman male woman girl lady female person child people".split())
_COMPANIES = frozenset("crowd audience throng team family couple".split())
_GENERAL = frozenset("surface structure text container device vessel decoration clothing fabric panel mark".split())


class Fit(NamedTuple):
    """How well a child fits a thing, and by which rule."""

    score: float
    rule: str


def fit(child: Named, thing: Thing, rank: int) -> Fit | None:
    """The best rule for a child and a thing, with what looks, number, place and order add to it."""
    rules = [rule for p in thing.phrases if (rule := _rule(child.name, p))]
    if not rules or exclude_each_other(child.name.words, thing.phrase.words):
        return None
    rule = max(rules, key=SCORES.__getitem__)
    score = SCORES[rule] + _likeness(child, thing) + 0.03 * min(3, len(child.words & thing.context))
    spot = next((p.spot for p in thing.phrases if p.spot is not None), None)
    if spot is not None:
        steps = apart(spot, child.spot)
        if steps is None:
            return None
        score += 0.1 - 0.05 * steps
    ordinal = thing.phrase.ordinal
    if ordinal is not None and ordinal > 0 and not thing.many:
        score += 0.1 if ordinal == rank else -0.3
    return Fit(score, rule) if score >= _LEAST else None


def _likeness(child: Named, thing: Thing) -> float:
    """What attributes, other parts of compounds and number speak for or against."""
    common_words = (child.looks | set(child.name.modifiers)) & (thing.looks | set(thing.phrase.words))
    clash = [c for c in clashes(child.looks, thing.looks) if c.kind not in ("size", "height")]
    child_nouns, thing_nouns = _nouns_before(child.name), _nouns_before(thing.phrase) - {child.name.noun}
    strange = bool(child_nouns and thing_nouns) and child_nouns.isdisjoint(thing_nouns)
    number = 0.15 if child.name.plural and not thing.many else 0.03 if thing.many and not child.name.plural else 0.0
    strangeness = (0.05 if thing.many else 0.35) if strange else 0.0
    return 0.03 * len(common_words) - 0.08 * min(2, len(clash)) - strangeness - number


def _nouns_before(phrase: NounPhrase) -> frozenset[str]:
    """The nouns that a compound opens with: bicycle of "bicycle wheel"."""
    return frozenset(w for w in phrase.modifiers if is_known(w) and not is_adjective(w))


def _rule(name: NounPhrase, phrase: NounPhrase) -> str | None:
    """By which rule a phrase names the child's object; None where it does not."""
    if _same_head(name, phrase):
        words = set(name.modifiers) - {w for w in name.modifiers if readings(w)}
        whole = words <= set(phrase.words) | set(phrase.of) and (words or " " in name.noun)
        return "name" if whole else "head"
    if same_thing(name.noun, phrase.noun):
        return "synonym"
    if len(phrase.words) > 1 and same_thing(name.noun, phrase.words[-2]) and _is_class(name.noun, phrase.noun):
        return "compound"
    if name.noun in _COMPANIES and phrase.plural and is_person(phrase.noun):
        return "kind"
    if not phrase.determiner and not phrase.plural:
        return None  # "coffee", "dusk": no kind of anything here
    if is_kind_of(name.noun, phrase.noun) or is_kind_of(phrase.noun, name.noun):
        return "general" if {name.noun, phrase.noun} & _GENERAL else "kind"
    return None


def _same_head(a: NounPhrase, b: NounPhrase) -> bool:
    """One noun, or a compound and its last word: "coffee mug" and "mug", but not "hot dog" and "dog"."""
    if a.noun == b.noun:
        return True
    longer, shorter = (a.noun, b.noun) if len(a.noun) > len(b.noun) else (b.noun, a.noun)
    return longer.endswith(f" {shorter}") and is_kind_of(longer, shorter)


def _is_class(name: str, kind: str) -> bool:
    """Whether "a tulip flower" is a tulip: the last word tells of what kind the one before it is."""
    return is_kind_of(name, kind) or any(is_kind_of(kind, k) and name not in kinds_of(kind) for k in _CLASSES)


def is_person(name: str) -> bool:
    return name == "person" or is_kind_of(name, "person")


def of_other_sex(a: str, b: str) -> bool:
    """A man and a woman, by their names; "astronaut" is either."""
    return {_sex(a), _sex(b)} == {"man", "woman"}


def _sex(name: str) -> str:
    last = name.split()[-1] if name else ""
    if last in _WOMEN or last.endswith("woman"):
        return "woman"
    return "man" if last in _MEN or (last.endswith("man") and last != "human") else ""


def may_be_one_person(child: Named, phrase: NounPhrase) -> bool:
    """The only person here and there: an astronaut and a woman; man and woman where they look alike."""
    if not (is_person(child.name.noun) and is_person(phrase.noun)) or child.name.plural or phrase.plural:
        return False
    if of_other_sex(child.name.noun, phrase.noun):
        return bool(set(child.name.words) & set(phrase.words)) or child.size >= 0.25
    return child.size >= 0.02
