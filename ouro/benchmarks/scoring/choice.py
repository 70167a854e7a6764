"""Multiple choice: ScienceQA, AI2D, IconQA. Options are lettered A, B, C ... in their order.

`choose_option` reads which option a reply takes, by one of four published rules. They coincide for a bare letter and,
but for IconQA's, for `B. text`; on replies in other dress they agree on about a third. So a score says its mode.

strict:  ScienceQA as published: `llava/eval/eval_science_qa.py` of LLaVA. The reply is one of A..E; or begins with
         such a letter, a period and a space; or holds `The answer is X` exactly once, with one more sign after the
         letter, so that a reply that ends there is no choice. Nothing is stripped; case matters; a sixth option cannot
         be taken. Others: lmms-eval strips, and takes the letter in either case; the original ScienceQA code drew at
         random where it found nothing.
letter:  AI2D as lmms-eval scores it (`lmms_eval/tasks/ai2d`): a capital with a period at the start, else the whole
         reply; equality without ASCII punctuation and case. `(b)` and `**B**` are choices, `B because` and ` B` are
         not. Others: VLMEvalKit reads leniently; Qwen-VL compares the text of the option.
lenient: `can_infer` of VLMEvalKit (`vlmeval/utils/matching_util.py`): brackets and punctuation are spaces; exactly one
         option letter among the words, first met within the last four; else `answer is X` in any case; else exactly
         one option whose text occurs in a reply not longer than twice all options together. Quirks kept: a capital
         article is the letter A; `the answer is a dog` is A; options are found inside words. Deviation: its list of
         refusals is left out. Others: InternVL takes a first letter, else the text of an option contained.
iconqa:  IconQA's own `tools/sub_acc.py` compares indexes that a classifier predicts. For a reply in words this takes a
         letter (alone, in brackets or asterisks, or before a period, bracket or colon and text), else the one option
         whose text is the reply. Others: lmms-eval scores ANLS, which is not comparable with papers.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Mode = Literal["strict", "letter", "lenient", "iconqa"]

_LETTERS = string.ascii_uppercase
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SPACED = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_LAST_WORDS = 4
_THE_ANSWER_IS = re.compile(r"The answer is ([A-Z]).")
_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)
_LEADING = re.compile(r"\s*([A-Z])\.")
_DRESSED = re.compile(r"[(\[*]*([a-z])(?:[)\]*.:]+\s.*|[)\]*.:]*)", re.DOTALL)


def choose_option(reply: str, choices: Sequence[str], mode: Mode) -> int | None:
    """Index of the option that the reply takes, or None: then the answer is wrong.

    Raises ValueError for more than 26 options.
    """
    if len(choices) > len(_LETTERS):
        raise ValueError(f"multiple choice: got {len(choices)} options, expected at most {len(_LETTERS)}")
    return _RULES[mode](reply, choices)


def blank_match(reply: str, answer: str) -> bool:
    """IconQA's fill-in-the-blank: equal after strip, lower case and without final periods, on both sides.

    Source: `tools/sub_acc.py` of IconQA, which compares without any of the three; `07` is not `7`.
    """
    return _plain(reply) == _plain(answer)


def _plain(text: str) -> str:
    return text.strip().lower().rstrip(".")


def _index(letter: str, choices: Sequence[str]) -> int | None:
    i = _LETTERS.lower().find(letter.lower())
    return i if 0 <= i < len(choices) else None


def _strict(reply: str, choices: Sequence[str]) -> int | None:
    if len(reply) == 1 and reply in "ABCDE":
        return _index(reply, choices)
    if len(reply) > 2 and reply[0] in "ABCDE" and reply[1:3] == ". ":
        return _index(reply[0], choices)
    letters = _THE_ANSWER_IS.findall(reply)
    return _index(letters[0], choices) if len(letters) == 1 and letters[0] in "ABCDE" else None


def _letter(reply: str, choices: Sequence[str]) -> int | None:
    leading = _LEADING.match(reply)
    text = leading[1] if leading else reply.translate(_NO_PUNCTUATION)
    return _index(text, choices) if len(text) == 1 else None


def _lenient(reply: str, choices: Sequence[str]) -> int | None:
    words = reply.translate(_SPACED).split()
    letters = [letter for letter in _LETTERS[: len(choices)] if letter in words]
    if len(letters) == 1 and words.index(letters[0]) >= len(words) - _LAST_WORDS:
        return _index(letters[0], choices)
    if not letters and "Z" in words:
        return None
    match = _ANSWER_IS.search(reply)
    by_letter = _index(match[1], choices) if match else None
    return by_letter if by_letter is not None else _by_contained_text(reply.lower(), choices)


def _by_contained_text(reply: str, choices: Sequence[str]) -> int | None:
    if len(reply) > 2 * sum(map(len, choices)):
        return None
    indices = [i for i, choice in enumerate(choices) if choice.lower() in reply]
    return indices[0] if len(indices) == 1 else None


def _iconqa(reply: str, choices: Sequence[str]) -> int | None:
    text = _plain(reply)
    dressed = _DRESSED.fullmatch(text)
    index = _index(dressed[1], choices) if dressed else None
    if index is not None:
        return index
    same = [i for i, choice in enumerate(choices) if _plain(choice) == text]
    return same[0] if len(same) == 1 else None


_RULES = {"strict": _strict, "letter": _letter, "lenient": _lenient, "iconqa": _iconqa}
