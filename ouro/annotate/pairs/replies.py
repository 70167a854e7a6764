"""Replies of a VLM that was asked for question-answer pairs, in pieces: nothing of a reply is lost.

Models write JSON, "Q: ... A: ..." lines, numbered lists, rows of a table or prose, whatever the prompt asks for.
Any text is taken, in time linear in its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ouro.annotate.cleaning import apart_from_thinking, without_tags
from ouro.annotate.degenerate import ABBREVIATED
from ouro.annotate.pairs.json_pairs import Found, json_objects, without_glue
from ouro.core.control_tokens import remove_control_tokens

_FENCE = re.compile(r"```(?:jsonl?|text|txt|markdown|md|yaml)?", re.IGNORECASE)
_LIST_MARK = re.compile(r"^\s*(?:\d+[.)](?!\d)|[-*•](?!\d))\s*(?=\S)")
_LETTER_MARK = re.compile(r"[ \t]*[QA]\d{0,4}[.)](?=[ \t])", re.IGNORECASE)
_LETTERED = re.compile(r"^[ \t]*Q\d{0,4}[.)][ \t]", re.IGNORECASE | re.MULTILINE)  # then "A." begins an answer, too
_PAIR_MARK = re.compile(
    r"(?:^|(?<=[\s(\[（【？。]))(?:[qｑ](?:uestion)?|[aａ](?:nswer)?|user|assistant|提?问题?|回?答案?)"
    r"\s*(?:\d+\s*)?[:：]",
    re.IGNORECASE,
)
_STOP = re.compile(rf"(?<=[?？])|。|{ABBREVIATED}\.(?=\s|$)", re.IGNORECASE)
_MARKED_STOP = re.compile(rf"(?<=[?？])|。|(?i:{ABBREVIATED})\.(?=\s+[A-Z]|\s*$)")  # "approx. 5" is one answer
_ASKED = ("?", "？")  # what a question ends with
_LONGEST_QUESTION, _LONGEST_ANSWER = 300, 120
_ASKS = re.compile(
    r"(?:what|which|who|whose|whom|where|when|why|how|is|are|was|were|do|does|did|has|have|can|could|in|on|at)\b",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`", "「": "」", "『": "』"}


class Written(NamedTuple):
    """A parsed pair."""

    question: str
    answer: str


class Leftover(NamedTuple):
    """A stretch of a reply that is no whole pair: "unparsable", "cut_off", "thinking" (aloud, before the reply) or
    "other_field" (of a JSON object, beside its question and answer)."""

    text: str
    reason: str


Piece = Written | Leftover


def parse_pairs(reply: str) -> list[Written]:
    """The question-answer pairs of a reply."""
    return [piece for piece in parse_reply(reply) if isinstance(piece, Written)]


def parse_reply(reply: str, max_new_tokens: int = 0) -> list[Piece]:
    """Pairs and what lies between them, in order: JSON, 'Q: ...? A: ....' lines or 'question? answer.' sentences.

    A last answer without its full stop is "cut_off" where that is known: the reply may be `max_new_tokens` long
    (a token is at least one byte; 0: no limit) and every answer before it has one. In JSON the last string decides.
    """
    may_be_cut = 0 < max_new_tokens <= len(reply.encode(errors="replace")) and not reply.endswith("\n")
    thinking, answer = apart_from_thinking(reply)
    thoughts = " ".join(without_tags(thinking).split())
    text = _FENCE.sub(" ", without_tags(answer))
    out: list[Piece] = [Leftover(thoughts, "thinking")] if re.search(r"\w", thoughts) else []
    at = 0
    for json_object in json_objects(text):
        out += _prose_pieces(without_glue(text[at : json_object.start]), False)
        out += _object_pieces(json_object)
        at = json_object.end
    return out + _prose_pieces(without_glue(text[at:]) if at else text, may_be_cut and not at)


def _object_pieces(json_object: Found) -> list[Piece]:
    """The pieces of a JSON object: its pairs, then its other fields."""
    pieces = [_make_pair(_add_question_mark(_one_line(q)), _one_line(a)) for q, a in json_object.pairs]
    if json_object.cut and pieces:
        pieces[-1] = Leftover(_one_line(" ".join(filter(None, json_object.pairs[-1]))), "cut_off")
    return pieces + [Leftover(_one_line(text), "other_field") for text in json_object.others]


def _one_line(text: str) -> str:
    return _strip_decoration(" ".join(text.split()).rstrip(".。") if not re.search(r"\.\w\.$", text) else text)


def _add_question_mark(question: str) -> str:
    """A question with its question mark: in JSON the key alone marks it."""
    return f"{question.rstrip(' .:')}?" if not question.endswith(_ASKED) and _ASKS.match(question) else question


def _make_pair(question: str, answer: str) -> Piece:
    question, answer = (" ".join(remove_control_tokens(text).text.split()) for text in (question, answer))
    whole = question.endswith(_ASKED) and 4 <= len(question) <= _LONGEST_QUESTION
    if whole and len(answer) <= _LONGEST_ANSWER and re.search(r"\w", answer):
        return Written(question, answer)
    return Leftover(f"{question} {answer}".strip(), "unparsable")


def _prose_pieces(text: str, may_be_cut: bool) -> list[Piece]:
    """The pairs of lines and sentences: a statement after a question answers it."""
    out: list[Piece] = []
    question, stops, has_stop = "", list[bool](), False
    for part, has_stop in _parts(text):
        if part.endswith(_ASKED):
            out += [Leftover(question, "unparsable")] if question else []
            question = part
            continue
        out.append(_make_pair(question, part))
        stops += [has_stop] if isinstance(out[-1], Written) else []
        question = ""
    if question:
        return [*out, Leftover(question, "unparsable")]
    if may_be_cut and len(stops) > 1 and all(stops[:-1]) and not has_stop and isinstance(out[-1], Written):
        out[-1] = Leftover(" ".join(out[-1]), "cut_off")
    return out


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """Questions and statements of a reply without its marks; whether each ends with a full stop."""
    lettered = _LETTERED.search(text) is not None
    for line in text.splitlines():
        line = _LIST_MARK.sub("", line.replace("**", ""))
        mark = _LETTER_MARK.match(line) if lettered else None
        line = f"Q: {line[mark.end() :]}" if mark else line
        for number, part in enumerate(_PAIR_MARK.split(line)):
            at = 0
            ends = [m.span() for m in (_MARKED_STOP if number else _STOP).finditer(part)]
            for start, end in [*ends, (len(part), len(part))]:
                words = " ".join(part[at:start].split())
                if re.search(r"\w", words):
                    has_stop = end > start or words.endswith((".", "。"))
                    phrase = words if re.search(r"\.\w\.$", words) else words.rstrip(".。")  # "U.S." keeps its stop
                    yield _strip_decoration(phrase), has_stop
                at = end


def _strip_decoration(text: str) -> str:
    """A question or an answer without decoration: quotes, emphasis, the bars of a table, a leading dash."""
    if len(text) > _LONGEST_QUESTION + _LONGEST_ANSWER:  # too long for either
        return text
    before = ""
    while text != before:
        before = text
        text = re.sub(r"^(?:[-–—>=:→]+\s+|[*_|<→\s]+)|[*_|\s]+$", "", text)
        for opening, closing in _QUOTES.items():
            if text.startswith(opening) and text.endswith(closing) and len(text) > 2 and opening not in text[1:-1]:
                text = text[1:-1]
            elif text.count(opening) % 2 and opening == closing != "'":
                text = text.removeprefix(opening).removesuffix(closing)
        text = text[:-1] if text.endswith((")", "]", ">", "）", "】")) and not set("([<（【") & set(text) else text
    return text
