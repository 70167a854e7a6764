"""Question-answer pairs in replies that are JSON, or nearly: cut off, with trailing commas, single quotes, bare quotes
inside a string, several objects, wrapped in a list or in {"qa": [...]}.

A strict parser stops at the first fault, so only the keys and values of an object are read, in order. Time is
linear in the reply's length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Literal, NamedTuple, get_args

from ouro.annotate.cleaning import visible

_CLOSES = r"""(?:\s*(?:[,:}\]]|\Z)|\s+["'{\[]|[ \t]*\n)"""  # what follows the end of a string; other quotes are content
_DOUBLE = rf'"(?:[^"\\]++|\\(?:.|\Z)|"(?!{_CLOSES}))*+(?:"|\Z)'
_SINGLE = rf"'(?:[^'\\]++|\\(?:.|\Z)|'(?!{_CLOSES}))*+(?:'|\Z)"
_TOKEN = re.compile(rf"""[{{}}\[\],:]|{_DOUBLE}|{_SINGLE}|[^{{}}\[\],:"'\s][^{{}}\[\],:\s]*""", re.DOTALL)
_OPENING = re.compile(r"""\{|["'](?:q|questions?|query)[\s_]{0,3}\d{0,4}["']\s{0,9}:|\?["']\s{0,9}:""", re.IGNORECASE)
_GLUE = re.compile(r"""["'][^"'\n]{0,40}["']\s{0,9}:\s{0,9}[\[{]""")
_QUESTION = frozenset(["q", "question", "questions", "query"])
_ANSWER = frozenset(["a", "answer", "answers", "ans", "response"])
_NEAR = 400  # characters from an object's brace to its question
_LITERALS = {"true": "yes", "false": "no", "null": "", "none": ""}


class Found(NamedTuple):
    """An object of a reply, at characters [start, end).

    `pairs`: question and answer, either may be missing (""); `others`: its fields that are neither;
    `cut`: the reply ended inside its last value, which is part of the last pair.
    """

    start: int
    end: int
    pairs: list[tuple[str, str]]
    others: list[str]
    cut: bool


def json_objects(reply: str) -> Iterator[Found]:
    """The objects of a reply that hold questions, in order, apart from each other."""
    at, brace = 0, -1
    for match in _OPENING.finditer(reply):
        if match.start() < at:
            continue
        if match.group() == "{":
            brace = match.start()
            continue
        inside = brace >= at and match.start() - brace <= _NEAR
        if inside or not match.group().startswith("?"):  # {"What is it?": ...} needs its brace
            json_object = _read(reply, brace if inside else match.start())
            at = json_object.end
            yield json_object


def without_glue(text: str) -> str:
    """Text between objects, without the keys that open lists: {"qa": [."""
    return _GLUE.sub(" ", text)


_Role = Literal["question", "answer", "pair", "other"]


class _Field(NamedTuple):
    key: str
    values: list[str]


def _read(reply: str, start: int) -> Found:
    tokens: list[str] = []
    depth, end = 0, len(reply)
    for match in _TOKEN.finditer(reply, start):
        tokens.append(match.group())
        depth += (match.group() in "{[") - (match.group() in "}]")
        if depth <= 0 and match.group() in "}]":
            end = match.end()
            break
    fields = _fields(tokens)
    roles = [_role(f.key) for f in fields]
    by_role = {role: [f for f, r in zip(fields, roles, strict=True) if r == role] for role in get_args(_Role)}
    questions, answers = ([v for f in by_role[role] for v in f.values or [""]] for role in ("question", "answer"))
    pairs = [*zip_longest(questions, answers, fillvalue=""), *((f.key, ", ".join(f.values)) for f in by_role["pair"])]
    others = [" ".join([f.key, *f.values]).strip() for f in by_role["other"]]
    cut = depth > 0 and bool(fields) and roles[-1] != "other" and _is_cut_off(tokens[-1])
    return Found(start, end, [(q, a) for q, a in pairs if q or a], [o for o in others if o], cut)


def _fields(tokens: list[str]) -> list[_Field]:
    """Keys with their values: a list has several, words outside of strings are one. The first key is ""."""
    fields, bare = [_Field("", [])], list[str]()
    for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
        is_key = after == ":" and token[0] in "\"'"
        if not is_key and token not in "{}[],:":
            bare.append(_text(token))
        if bare and (is_key or not after or token in "{}[],"):
            fields[-1].values.append(" ".join(bare))
            bare = []
        if is_key:
            fields.append(_Field(_text(token), []))
    return fields


def _text(token: str) -> str:
    """The text of a string or a bare word; true is "yes"."""
    quote = token[0]
    if quote not in "\"'":
        return _LITERALS.get(token.lower(), token)
    body = token[1:-1] if len(token) > 1 and token.endswith(quote) else token[1:]
    try:
        return visible(str(json.loads(f'"{body}"', strict=False)))
    except ValueError:
        return re.sub(r"\\(.|$)", r"\1", body, flags=re.DOTALL)


def _role(key: str) -> _Role:
    """What a key's value is; {"What is it?": "a cat"} is a pair by itself."""
    name = re.sub(r"[\W\d_]+", "", key.lower())
    if name in _QUESTION or name in _ANSWER:
        return "question" if name in _QUESTION else "answer"
    return "pair" if key.rstrip().endswith("?") else "other"


def _is_cut_off(token: str) -> bool:
    """Whether the reply's last token is a value without an end."""
    if token[0] in "\"'":
        body = token[1:]
        escaped = len(body) - len(body[:-1].rstrip("\\")) - 1  # backslashes in front of the last quote
        return not body.endswith(token[0]) or escaped % 2 == 1
    return token not in "{}[],:"
