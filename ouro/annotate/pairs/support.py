"""Check a question-answer pair against a description. The stage synthesize keeps pairs that pass."""

from __future__ import annotations

import re
from collections.abc import Callable

from ouro.annotate.english.phrases import singular
from ouro.annotate.pairs.asking import ANYTHING, NEAR, SIDE, find, lies, named_things, named_words, plain_question
from ouro.annotate.pairs.reading import NUMBERS, Thing, Told, beside, content_words, core, literal, position, read, spot
from ouro.annotate.pairs.replies import Written
from ouro.annotate.pairs.yes_no import asked_total, holds_true


def support(pair: Written, description: str) -> str:
    """ "" when the description supports the pair, else the reason against it.

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
    reading = read(description)
    question, answer = plain_question(pair.question), " ".join(pair.answer.lower().split()).strip(" .")
    if answer in ("yes", "no"):
        holds = holds_true(question, reading)
        return "not_checkable" if holds is None else "" if holds == (answer == "yes") else "contradicts_description"
    if question.startswith("how many "):
        total = asked_total(question, reading)
        right = total == NUMBERS.get(answer, int(answer) if answer.isdecimal() else -1)
        return "not_checkable" if total is None else "" if right else "count_not_supported"
    words = content_words(answer)
    if not words or any(w not in reading.words and singular(w) not in reading.words for w in words):
        return "answer_not_in_description"
    if any(w not in reading.words for w in named_words(question)):
        return "question_names_unknown_object"
    return _check_open_question(question, answer, reading)


def _check_open_question(question: str, answer: str, description: Told) -> str:
    """The reason against the answer of an open question, by the first form that matches; "" for none."""
    for form, holds in _FORMS:
        match = form.fullmatch(question)
        phrases = named_things(match["thing"]) if match else ()
        if not match or not phrases:
            continue
        things = find(description, phrases)
        if things:
            fits = any(holds(description, thing, answer, match) for thing in things)
            return "" if fits else "attribute_of_another_object"
        if any(t.head == phrases[0].head for t in description.things):
            return "question_names_unknown_object"
        if holds is _has_attribute and phrases[0].head not in ANYTHING:
            is_literal = any(
                literal(t, description) for t in (f"{answer} {match['thing']}", f"{match['thing']} {answer}")
            )
            return "" if is_literal else "attribute_of_another_object"
    words = named_words(question) | set(core(answer).split())
    in_one_sentence = any(words <= set(s.split()) for s in description.sentences)
    return "" if in_one_sentence else "answer_apart_from_question"


def _has_attribute(description: Told, thing: Thing, answer: str, match: re.Match[str]) -> bool:
    about = {thing.head} if named_things(match["thing"])[0].head in ANYTHING else set[str]()
    return content_words(answer) <= thing.said | about


def _has_place(description: Told, thing: Thing, answer: str, match: re.Match[str]) -> bool:
    where = named_things(re.sub(r"^(?:on|in|inside|at|to) ", "", answer))
    follows = re.split(r"[,;]| and | with | has | have | that (?:says|reads) ", thing.rest)[0]
    return f" {answer} " in f"{follows} " or (len(where) == 1 and lies(description, thing, where[0]))


def _has_holder(description: Told, thing: Thing, answer: str, match: re.Match[str]) -> bool:
    where = named_things(answer)
    return len(where) == 1 and not position(where[0].words) and lies(description, thing, where[0])


def _has_inscription(description: Told, thing: Thing, answer: str, match: re.Match[str]) -> bool:
    inscription = re.match(
        rf"\W*(?:{NEAR} (?:\w+ ){{1,4}}?)?(?:(?:that|which) )?(?:says?|saying|reads?|reading)\W+(?P<text>.+)",
        thing.rest,
    )
    return inscription is not None and re.match(rf"{re.escape(answer)}(?!\w)", inscription["text"]) is not None


def _has_neighbour(description: Told, thing: Thing, answer: str, match: re.Match[str]) -> bool:
    """Whether the answer is on that side of the thing, in its row or column; anywhere there if nothing is in line."""
    neighbours = [t for t in description.things if beside(description, t, thing, match["side"])]
    axis = 0 if match["side"] in ("above", "below") else 1
    offsets = [abs(spot(t)[axis] - spot(thing)[axis]) for t in neighbours]
    in_line = [t for t, o in zip(neighbours, offsets, strict=True) if o == 0]
    return any(content_words(answer) <= t.modifiers | {t.head} for t in in_line or neighbours)


_Check = Callable[[Told, Thing, str, re.Match[str]], bool]
_FORMS: list[tuple[re.Pattern[str], _Check]] = [
    (re.compile(r"(?:what|which) \w+ (?:is|are|was|were) the (?P<thing>.+)"), _has_attribute),
    (re.compile(r"what (?:is|are) the \w+ of the (?P<thing>.+)"), _has_attribute),
    (re.compile(r"what is the (?P<thing>(?:\w+ )?object(?: .+)?)"), _has_attribute),
    (re.compile(r"where (?:is|are|was|were) (?P<thing>(?:the|a|an) .+)"), _has_place),
    (re.compile(r"(?:what|who|which)(?: \w+)? (?:holds|contains|carries|has|supports) the (?P<thing>.+)"), _has_holder),
    (re.compile(r"what (?:does|do|did) the (?P<thing>.+) (?:say|read)"), _has_inscription),
    (re.compile(r"what (?:\w+ )?is (?:written|printed) on the (?P<thing>.+)"), _has_inscription),
    (re.compile(rf"what (?:\w+ )?(?:is|are) {SIDE} the (?P<thing>.+)"), _has_neighbour),
]
