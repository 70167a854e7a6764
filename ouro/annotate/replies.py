"""Replies of a VLM that was asked for question-answer pairs, in pieces: nothing of a reply is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_LIST_MARK = re.compile(r"^\s*(?:\d+[.)](?!\d)|[-*](?!\d))\s*(?=\S)")
_PAIR_MARK = re.compile(r"(?:^|(?<=\s))(?:q(?:uestion)?|a(?:nswer)?)\s*\d*\s*:", re.IGNORECASE)
_ABBREVIATED = r"(?<!\b[a-z])(?<!\b(?:dr|mr|ms|st|vs|jr|sr))(?<!\b(?:mrs|etc))(?<!\bprof)"
_STOP = re.compile(rf"(?<=\?)|{_ABBREVIATED}\.(?=\s|$)", re.IGNORECASE)
_MARKED_STOP = re.compile(rf"(?<=\?)|(?i:{_ABBREVIATED})\.(?=\s+[A-Z]|\s*$)")  # "approx. 5" is one answer
_LONGEST_QUESTION, _LONGEST_ANSWER = 300, 120


class Written(NamedTuple):
    """A parsed pair."""

    question: str
    answer: str


class Leftover(NamedTuple):
    """A stretch of a reply that is no whole pair: "unparsable" or "cut_off"."""

    text: str
    reason: str


def parse_pairs(reply: str) -> list[Written]:
    """The question-answer pairs of a reply."""
    return [piece for piece in parse_reply(reply) if isinstance(piece, Written)]


def parse_reply(reply: str, max_new_tokens: int = 0) -> list[Written | Leftover]:
    """Pairs and what lies between them, in order: 'Q: ...? A: ....' lines or 'question? answer.' sentences.

    A last answer without its full stop is "cut_off" where that is known: the reply may be `max_new_tokens` long
    (a token is at least one byte; 0: no limit) and every answer before it has one.
    """
    out: list[Written | Leftover] = []
    question, stops, stopped = "", list[bool](), False
    for text, stopped in _pieces(reply):
        if text.endswith("?"):
            out += [Leftover(question, "unparsable")] if question else []
            question = text
            continue
        fits = 4 <= len(question) <= _LONGEST_QUESTION and len(text) <= _LONGEST_ANSWER
        out.append(Written(question, text) if fits else Leftover(f"{question} {text}".strip(), "unparsable"))
        stops += [stopped] if fits else []
        question = ""
    if question:
        return [*out, Leftover(question, "unparsable")]
    may_be_cut = 0 < max_new_tokens <= len(reply.encode()) and not reply.endswith("\n")
    if may_be_cut and len(stops) > 1 and all(stops[:-1]) and not stopped and isinstance(out[-1], Written):
        out[-1] = Leftover(" ".join(out[-1]), "cut_off")
    return out


def _pieces(reply: str) -> Iterator[tuple[str, bool]]:
    """Questions and statements of a reply without its marks; whether each ends with a full stop."""
    for line in reply.splitlines():
        line = _LIST_MARK.sub("", line.replace("**", ""))
        for number, part in enumerate(_PAIR_MARK.split(line)):
            at = 0
            ends = [m.span() for m in (_MARKED_STOP if number else _STOP).finditer(part)]
            for start, end in [*ends, (len(part), len(part))]:
                text = " ".join(part[at:start].split())
                if re.search(r"\w", text):
                    stopped = end > start or text.endswith(".")
                    yield text if re.search(r"\.\w\.$", text) else text.rstrip("."), stopped  # "U.S." keeps its stop
                at = end
