"""Check a question-answer pair against what is told of an image. The stage synthesize keeps pairs that pass."""

from __future__ import annotations

from typing import Final

from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD
from ouro.annotate.pairs.replies import Written
from ouro.annotate.pairs.statements import state
from ouro.annotate.prose.checking import Checker
from ouro.annotate.prose.evidence import Evidence
from ouro.annotate.prose.reader import read
from ouro.annotate.prose.things import stem

_REASONS: Final = {
    "attribute": "attribute_of_another_object", "number": "count_not_supported", "place": "answer_apart_from_question",
    "relation": "answer_apart_from_question", "quotation": "answer_not_in_description",
}  # fmt: skip


def support(pair: Written, evidence: Evidence | str) -> str:
    """ "" when what is told of an image supports the pair, else the reason against it.

    Question and answer are read as the statement that they make (`statements.state`), and all of it has to be told:
    things, attributes, numbers, places, relations, quotations. A yes has to be told like any answer, and so what
    follows it; a no has to be told otherwise, or to deny a thing that nobody names.

    Reasons: answer_not_in_description, question_names_unknown_object, attribute_of_another_object,
    answer_apart_from_question, count_not_supported, contradicts_description, not_checkable.
    """
    evidence = Evidence.of_text(evidence) if isinstance(evidence, str) else evidence
    statement = state(pair.question, pair.answer)
    if statement is None:
        return "not_checkable"
    missing, refuted = _check(statement.text, evidence)
    unknown = any(m.startswith("unknown") for m in missing) and evidence.quoted(pair.answer)[0]  # "What is the total?"
    if unknown or (missing and statement.polar is None and evidence.is_written(pair.answer)):
        missing, refuted = _check(statement.text.replace(pair.answer.strip(" ."), f'"{pair.answer}"'), evidence)
    if statement.polar is not None:
        holds = not missing
        rest = "" if not statement.rest else (_check(statement.rest, evidence)[0] or [""])[0]
        if statement.polar:
            return "contradicts_description" if refuted else "" if holds and not rest else "not_checkable"
        if holds:
            return "contradicts_description"
        return "" if (refuted or statement.rest) and not rest else "not_checkable"
    return _reason(missing, pair) if missing else ""


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
