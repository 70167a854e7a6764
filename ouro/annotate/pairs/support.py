"""Check a question-answer pair against what is told of an image. The stage synthesize keeps pairs that pass."""

from __future__ import annotations

import re
from typing import Final

from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD
from ouro.annotate.pairs.answers import FRAMES, as_statement, is_frame
from ouro.annotate.pairs.lookups import look_up
from ouro.annotate.pairs.replies import Written
from ouro.annotate.pairs.statements import Statement, state
from ouro.annotate.prose.checking import Checker
from ouro.annotate.prose.evidence import Evidence
from ouro.annotate.prose.gaps import PLACE
from ouro.annotate.prose.passages import content_words, is_value
from ouro.annotate.prose.reader import read
from ouro.annotate.prose.things import AREAS, stem
from ouro.annotate.prose.words import PLAIN, is_said

_REASONS: Final = {
    "attribute": "attribute_of_another_object", "number": "count_not_supported", "place": "answer_apart_from_question",
    "relation": "answer_apart_from_question", "quotation": "answer_not_in_description",
}  # fmt: skip


_LABEL: Final = re.compile(r"(?:(?<=for )|(?<=of ))[A-Z][\w-]*(?: [A-Z][\w-]*)*")
_LONGEST: Final = 500  # characters of a question or an answer


def support(pair: Written, evidence: Evidence | str) -> str:
    """ "" when what is told of an image supports the pair, else the reason against it.

    Question and answer are read as the statement that they make (`statements.state`), and all of it has to be told:
    things, attributes, numbers, places, relations, quotations. A yes has to be told like any answer, and so what
    follows it; a no has to be told otherwise, or to deny a thing that nobody names.

    Reasons: answer_not_in_description, question_names_unknown_object, attribute_of_another_object,
    answer_apart_from_question, count_not_supported, contradicts_description, not_checkable, too_long.
    """
    evidence = Evidence.of_text(evidence) if isinstance(evidence, str) else evidence
    if max(len(pair.question), len(pair.answer)) > _LONGEST:
        return "too_long"
    figure = look_up(pair.question, pair.answer, evidence)
    if figure is not None:
        return "" if figure else "answer_apart_from_question"
    question = _LABEL.sub(lambda m: f'"{m[0]}"' if evidence.is_written(m[0]) else m[0], pair.question)
    statement = state(question, pair.answer)
    if statement is None or statement.polar is None:
        return _judge_open(pair, statement.text if statement else "", evidence)
    return _judge_polar(pair, statement, evidence)


def _judge_open(pair: Written, text: str, evidence: Evidence) -> str:
    missing, refuted = _check(text, evidence) if text else (["unread"], False)
    unknown = any(m.startswith("unknown") for m in missing) and evidence.quoted(pair.answer)[0]  # "What is the total?"
    if text and f'"{pair.answer}"' not in text and (unknown or (missing and evidence.is_written(pair.answer))):
        missing, _ = _check(text.replace(pair.answer.strip(" ."), f'"{pair.answer}"'), evidence)
    if missing and not refuted and f'"{pair.answer.strip(chr(34))}"' in text and _are_relations(missing):
        return ""  # the logo on the apron, of a region that shows just the logo
    if missing and (sentence := as_statement(pair.question, pair.answer)) and not _check(sentence, evidence)[0]:
        return ""
    if not missing or (_is_unread(missing, refuted) and _is_told(pair, evidence)):
        return ""
    where = re.match(r"where\b", pair.question, re.IGNORECASE) or PLACE.search(pair.answer)
    if (
        not where
        and not refuted
        and not any(m.startswith(("number", "place")) for m in missing)
        and _is_told(pair, evidence, True)
    ):
        return ""
    return _reason(missing, pair) if text else "not_checkable"


def _judge_polar(pair: Written, statement: Statement, evidence: Evidence) -> str:
    missing, refuted = _check(statement.text, evidence)
    rest = as_statement(pair.question, statement.rest) or statement.rest
    unsupported = bool(rest) and bool(_check(rest, evidence)[0])
    if not statement.polar:
        if not missing:
            return "contradicts_description"
        return "" if (refuted or statement.rest) and not unsupported else "not_checkable"
    if refuted:
        return "contradicts_description"
    asked = [w for w in content_words(pair.question) if stem(w) not in PLAIN]
    if missing and statement.rest and not unsupported and all(is_said(evidence, w) for w in asked):
        return ""  # "Is the shop open?", "Yes, there is a card that says OPEN"
    return "not_checkable" if missing or unsupported else ""


def _are_relations(missing: list[str]) -> bool:
    return all(m.startswith("relation:") for m in missing)


def _is_unread(missing: list[str], refuted: bool) -> bool:
    """Whether all that is missing is what the reading may have got wrong: a question's frame, words without a noun."""
    reasons = {m.partition(":")[0] for m in missing}
    if any(w in FRAMES - AREAS - {"name", "text"} for m in missing for w in m.partition(":")[2].split()[:1]):
        return not reasons & {"number", "place"}
    return reasons <= {"unread", "unknown_object", "unknown_word"} or (reasons == {"attribute"} and not refuted)


def _is_told(pair: Written, evidence: Evidence, near: bool = False) -> bool:
    """Whether one sentence tells all that the answer adds, in a region that tells all that the question names."""
    asked = [w for w in content_words(pair.question) if not is_frame(w) and stem(w) not in PLAIN]
    known = {stem(w) for w in asked}
    told = [w for w in content_words(pair.answer) if stem(w) not in known | PLAIN and not is_frame(w)]
    if not told or all(is_value(w) for w in told):
        return False
    return evidence.passages.tell(told, asked, near)


def _check(text: str, evidence: Evidence) -> tuple[list[str], bool]:
    """What nobody tells of a text, and whether anything is told otherwise."""
    reading = read(text)
    missing: list[str] = []
    refuted = False
    checker = Checker(reading, evidence, strict=True)
    for number in range(len(reading.sentences)):
        missing += checker.missing(number)
        refuted = refuted or checker.refuted
    return missing, refuted


def _reason(missing: list[str], pair: Written) -> str:
    reasons = [m.partition(":")[0] for m in missing]
    for reason in reasons:
        if reason in _REASONS:
            return _REASONS[reason]
    unknown = {stem(w) for m in missing for w in WORD.findall(m.partition(":")[2])}
    answer = {stem(w) for w in WORD.findall(pair.answer.lower()) if w not in STOP and w not in DETERMINERS}
    return "answer_not_in_description" if unknown & answer else "question_names_unknown_object"
