"""Degenerate replies: empty, endless, repeating, in another script. What can be repaired is, the rest gets a reason
for its rejection. Pure functions of a reply, each in time linear in its length.

A model is asked for so many tokens at most, and how many it used is not known here, so that "endless" is judged by
words: English prose takes 1.1 to 1.3 tokens for each word or mark (Qwen2's tokeniser), the nano language exactly one.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from typing import NamedTuple

from ouro.annotate.cleaning import plain_text
from ouro.core.control_tokens import count_control_tokens, remove_control_tokens

ABBREVIATED = r"(?<!\b[a-z])(?<!\b(?:dr|mr|ms|st|vs|jr|sr))(?<!\b(?:mrs|etc))(?<!\bprof)"
"""In front of a full stop that ends a sentence, where case is ignored."""

_END = re.compile(rf"(?:{ABBREVIATED}\.|[!?…])[\"'”’)\]]*(?=\s|$)", re.IGNORECASE)
_PARTS = re.compile(r"\w+|([^\w\s])\1*")
_LIMIT_SHARE = 0.75  # of max_new_tokens: with as many words and marks a reply may have been cut off
_RUN = re.compile(r"(\S{1,4}?)\1{19,}")
_PERIOD, _REPEATS = 12, 6  # a phrase of up to 12 words six times in a row is a loop; five stars in a list are not
_SENTENCE_WORDS = 3  # shorter sentences ("Yes.") may come again
_FEWEST_WORDS = 4  # fewer words that remain of a loop tell nothing
_DANGLING = frozenset("a an the and or with of in on at to is are has next".split())
_PASSES = 8
_AROUND = string.punctuation + "“”‘’…–—"


class Reading(NamedTuple):
    """The usable text of a reply, or why there is none: "empty_reply", "cut_off", "degenerate", "other_script"."""

    text: str
    reason: str = ""


def read_reply(reply: str, max_new_tokens: int, expected: str = "") -> Reading:
    """A description in one line of plain text, without its repetitions, cut back to its last whole sentence where
    the model had no tokens left. `expected`: text in the scripts that are welcome beside Latin.
    """
    plain = plain_text(reply)
    if not plain:
        return Reading("", "empty_reply")
    text = without_repeats(plain)
    if count_control_tokens(text):  # "<sssss...>" without its loop is <s>
        text = " ".join(remove_control_tokens(text).text.split())
    has_loops = text != plain
    if has_loops and len(text.split()) < _FEWEST_WORDS:
        return Reading("", "degenerate")
    whole = whole_sentences(text)
    if whole != text and may_be_cut(reply, max_new_tokens):
        if not whole and not has_loops:  # a loop explains the length: what stands before it is whole
            return Reading("", "cut_off")
        text = whole or text
    return Reading("", "other_script") if in_other_script(text, expected) else Reading(text)


def may_be_cut(reply: str, max_new_tokens: int) -> bool:
    """Whether a reply is long enough to have run into its limit (a token is at least one byte)."""
    if len(reply.encode(errors="replace")) < max_new_tokens:
        return False
    return sum(1 for _ in _PARTS.finditer(reply)) >= _LIMIT_SHARE * max_new_tokens


def whole_sentences(text: str) -> str:
    """A text up to the end of its last whole sentence; "" without one."""
    end = 0
    for match in _END.finditer(text):
        end = match.end()
    return text[:end]


def without_repeats(text: str) -> str:
    """A text without sentences that it has already, and with every loop of words once.

    A truncated repetition at the end is removed, too.
    """
    for _ in range(_PASSES):
        before = text
        text = _remove_loops(_RUN.sub(r"\1", _remove_known_sentences(text)))
        if text == before:
            break
    return text


def _remove_known_sentences(text: str) -> str:
    ends = [match.end() for match in _END.finditer(text)]
    spans = zip([0, *ends], [*ends, len(text)], strict=True)
    sentences = [stripped_part for a, b in spans if (stripped_part := text[a:b].strip())]
    by_key: dict[str, str] = {}  # its words -> a sentence
    for number, sentence in enumerate(sentences):
        words = _keys(sentence.split())
        by_key.setdefault(" ".join(words) if len(words) >= _SENTENCE_WORDS else str(number), sentence)
    if len(by_key) == len(sentences):
        return text
    last = " ".join(_keys(sentences[-1].split()))
    if whole_sentences(text) != text.rstrip() and any(k != last and k.startswith(last) for k in by_key):
        by_key = {key: sentence for key, sentence in by_key.items() if sentence is not sentences[-1]}
    return " ".join(by_key.values())


def _remove_loops(text: str) -> str:
    original = text.split()
    words = original
    for period in range(1, _PERIOD + 1):
        words = _collapse_loops(words, period)
    if len(words) == len(original):
        return text
    while words and words[-1].lower() in _DANGLING:  # "a dog and" of "a dog and a dog and ..."
        words = words[:-1]
    return " ".join(words)


def _collapse_loops(words: list[str], period: int) -> list[str]:
    """Words with each loop of this period once; its last word is the one at the end of the loop."""
    keys = _keys(words)
    out: list[str] = []
    at = 0
    while at < len(words):
        end = at + period  # words [at, end) repeat after `period` words
        while end < len(words) and keys[end] == keys[end - period]:
            end += 1
        times = (end - at) // period
        if times < _REPEATS:
            step = max(1, end - at - period)  # no loop begins within a shorter one of the same period
            out += words[at : at + step]
            at += step
            continue
        last = at + times * period
        out += [*words[at : at + period - 1], words[last - 1]]
        broken_off = end == len(words) - 1 and keys[end - period].startswith(keys[end])
        at = len(words) if broken_off or end == len(words) else last
    return out


def _keys(words: list[str]) -> list[str]:
    """Words as they are compared: without case and the marks around them."""
    return [word.casefold().strip(_AROUND) for word in words]


# ---- scripts -------------------------------------------------------------------------------------------------


def in_other_script(text: str, expected: str) -> bool:
    """Whether more than half of a text's letters are neither Latin nor in a script that `expected` has."""
    letters = _scripts(text)
    welcome = {"LATIN", *_scripts(expected)}
    return 2 * sum(letters[script] for script in welcome) < letters.total()


def _scripts(text: str) -> Counter[str]:
    """How many letters of each script: the first word of their Unicode names, such as "LATIN", "CJK", "CYRILLIC"."""
    counts: Counter[str] = Counter()
    for letter, times in Counter(unicodedata.normalize("NFKC", text)).items():
        if letter.isalpha():
            counts[unicodedata.name(letter, "UNNAMED").split()[0]] += times
    return counts
