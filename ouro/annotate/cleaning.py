"""Plain text of what a model wrote: without markup, control tokens, thinking and characters that cannot be seen.

Pure functions of any text, in time linear in its length. Models that are asked for prose answer in Markdown, end with
the tokens of their chat template, or think aloud first; none of that describes a picture.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ouro.core.control_tokens import UNSEEN, break_quoted_tokens, remove_control_tokens

_UNSEEN = re.compile(f"[{UNSEEN}]")
_BAR = "[|｜]"
_STARTS = re.compile(
    rf"(?:<{_BAR}(?:im_start|start_header_id){_BAR}>|<start_of_turn>|<im_start>)"
    rf"(?:[ \t]*(?:system|user|assistant|model)\b)?(?:<{_BAR}end_header_id{_BAR}>)?"
)
_ENDS = re.compile(
    rf"<{_BAR}(?:im_end|end[\w▁]{{0,40}}|eo[mst]\w{{0,40}}){_BAR}>|</s>|<eos>|<im_end>|<end_of_turn>|<end_of_utterance>"
)
_ATTRIBUTES = r"(?:\s[^<>=]{0,60}=[^<>]{0,300})?\s{0,5}/?"
_BLOCKS = re.compile(
    rf"</?(?:br|p|div|li|ul|ol|tr|td|th|table|thead|tbody|h[1-6]|hr|pre|blockquote|section|body|html){_ATTRIBUTES}>",
    re.IGNORECASE,
)
_INLINES = re.compile(
    rf"</?(?:b|i|u|s|a|em|strong|span|code|sub|sup|small|mark|font|center|img|ref|box|quad){_ATTRIBUTES}>"
    r"|<!--[^<>]{0,1000}-->",
    re.IGNORECASE,
)

_FENCE = re.compile(r"[ \t]*(?:`{3,}|~{3,})[\w+.-]*[ \t]*")
_MARKS = re.compile(r"[ \t]*(?:(?:[-*+•▪●◦‣–—]|#{1,6}|>+|\d{1,3}[.)])(?:[ \t]+|$))+")
_BOLD_LINE = re.compile(r"[ \t]*\*\*[^*]{1,200}\*\*:?[ \t]*")
_LINK = re.compile(r"!?\[([^\[\]\n]{0,300})\]\([^()\s]{0,2000}\)")
_EMPHASIS = re.compile(
    r"(?<![\w*])\*(?=[^\s*])([^*\n]{1,300})(?<=[^\s*])\*(?![\w*])"
    r"|(?<!\w)(_{1,2})(?=[^\s_])([^_\n]{1,300})(?<=[^\s_])\2(?!\w)"
)
_MARKUP = re.compile(r"[<>|｜*_#`~\[\]]")
_ALNUM = re.compile(r"[^\W_]")
_PASSES = 4  # more is no markup but an attack: markup within markup is removed from the inside


class Spoken(NamedTuple):
    """A reply in two parts: the thinking ("" without any), and the answer that follows it."""

    thinking: str
    answer: str


def apart_from_thinking(reply: str) -> Spoken:
    """Split a reply: thinking is all before the last </think>, or all after a <think> that is never closed."""
    thinking, end, answer = reply.rpartition("</think>")
    if end:
        return Spoken(thinking.replace("<think>", " "), answer)
    answer, _, thinking = reply.partition("<think>")
    return Spoken(thinking, answer)


def visible(text: str) -> str:
    """A text without the characters that cannot be seen; lone surrogates, which no file encoding takes, go too."""
    return _UNSEEN.sub("", text)


def without_tags(text: str) -> str:
    """A text without unseen characters, control tokens and HTML tags; block tags and ends of turns end a line."""
    text = _STARTS.sub("\n", visible(text))
    text = remove_control_tokens(_ENDS.sub("\n", text)).text
    return _INLINES.sub("", _BLOCKS.sub("\n", text))


def plain_text(reply: str) -> str:
    """A reply as one line of prose; "" when it has no letter and no digit. Cleaning twice changes nothing more.

    Headings, list items and rows of a table become sentences. Of several turns the first with a letter or digit counts.
    """
    text = reply
    for _ in range(_PASSES):
        before, text = text, _clean_once(text)
        if text == before:
            return text
    text = " ".join(_MARKUP.sub(" ", text).split())
    marks = _MARKS.match(text)
    text = text[marks.end() :] if marks else text
    return text if _ALNUM.search(text) else ""


def _clean_once(reply: str) -> str:
    """One pass of `plain_text`: the answer's first turn without tags, fences and marks."""
    text = break_quoted_tokens(visible(apart_from_thinking(reply).answer))
    text = _STARTS.sub("\n", text)
    text = next((turn for turn in _ENDS.split(text) if _ALNUM.search(turn)), "")
    lines = [line for line in without_tags(text).splitlines() if not _FENCE.fullmatch(line)]
    return _join_lines([_plain_line(line) for line in lines if _ALNUM.search(line)])


def _plain_line(line: str) -> tuple[str, bool]:
    """A line without its marks; whether it had the mark of a block: a heading, a list item, a row of a table."""
    marks = _MARKS.match(line)
    block = marks is not None or _BOLD_LINE.fullmatch(line) is not None
    text = line[marks.end() :].strip() if marks else line.strip()
    if text.endswith("#") and text.rstrip("#").endswith((" ", "\t")):  # "## Title ##", but not "C#"
        text = text.rstrip("#").rstrip()
    if text.startswith("|") and text.endswith("|"):
        text, block = ", ".join(cell.strip() for cell in text.split("|") if cell.strip()), True
    text = _LINK.sub(r"\1", text.replace("**", "").replace("~~", "").replace("`", ""))
    return _EMPHASIS.sub(lambda m: m[1] or m[3], text), block


def _join_lines(lines: list[tuple[str, bool]]) -> str:
    """Join lines to one; a sentence ends where a block begins or ends."""
    out: list[str] = []
    after_block = False
    for text, block in lines:
        words = " ".join(text.split())
        if out and words and (block or after_block) and out[-1][-1] not in ".!?:;,…":
            out[-1] += "."
        out += [words] if words else []
        after_block = block
    return " ".join(out)
