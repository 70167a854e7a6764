"""The normal form of a short answer, as VQA's evaluation makes it: case, articles, number words, contractions, marks.

Sources: EvalAIAnswerProcessor of mmf (`mmf/utils/m4c_evaluators.py` at 2dc099a); VQAEval (GT-Vision-Lab/VQA at a013f00,
`PythonEvaluationTools/vqaEvaluation/vqaEval.py`). Quirks of the references are kept, since published numbers contain
them: their pattern for periods has a typo, so that `2.` becomes `2`; they remove at most 32 periods.
"""

from __future__ import annotations

import re

_MAX_PERIODS = 32  # the references pass re.UNICODE (= 32) where re.sub takes its count
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA_DIGIT = re.compile(r"(?<=\d),+(?=\d)")
_PERIOD = re.compile(r"\.(?!\d)")
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
    "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
# The right-hand sides of the references' contraction table: each left-hand side is the same word with an
# apostrophe missing, the one marked "~".
_SPELLINGS = """
ain~t aren~t can~t could~ve couldn~t didn~t doesn~t don~t hadn~t hasn~t haven~t he~d he~s how~d how~ll how~s
isn~t it~d it~ll ma~am mightn~t might~ve mustn~t must~ve needn~t not~ve o~clock oughtn~t shan~t should~ve
shouldn~t somebody~ll somebody~s someone~d someone~ll someone~s something~d something~ll that~s there~d
there~re there~s they~d they~ll they~re they~ve ~twas wasn~t we~ve weren~t what~ll what~re what~s what~ve
when~s where~d where~s where~ve who~d who~ll who~s who~ve why~ll why~re why~s won~t would~ve wouldn~t y~all
you~d you~ll you~re you~ve
"""
# Words with two apostrophes, of which either one may be missing.
_DOUBLE = """
couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've
something'd've there'd've they'd've we'd've who'd've wouldn't've y'all'll you'd've
"""
# Entries out of pattern, kept as they are. Those with a capital (Im, Ive) can never fire and are left out.
_ODD = {
    "ow's'at": "'ow's'at", "'ows'at": "'ow's'at", "'ow'sat": "'ow's'at", "somebody'd": "somebodyd",
    "yall'd've": "y'all'd've", "y'alld've": "y'all'd've", "y'all'dve": "y'all'd've",
}  # fmt: skip


def _contractions() -> dict[str, str]:
    table = {word.replace("~", ""): word.replace("~", "'") for word in _SPELLINGS.split()}
    for word in _DOUBLE.split():
        stem, middle, end = word.split("'")
        table[f"{stem}{middle}'{end}"] = table[f"{stem}'{middle}{end}"] = word
    return table | _ODD


CONTRACTIONS = _contractions()


def normalise(text: str, *, split_words: bool = True) -> str:
    """The EvalAI processor; `split_words=False` leaves out its first step (lmms-eval's VQAv2, VQAEval)."""
    if split_words:
        text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return _words(without_punctuation(collapse_spaces(text)))


def collapse_spaces(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def without_punctuation(text: str) -> str:
    """Whether a sign is deleted or becomes a space is decided on the text as it came in."""
    thousands = _DIGIT_COMMA_DIGIT.search(text) is not None
    out = text
    for sign in _PUNCTUATION:
        beside_space = sign + " " in text or " " + sign in text
        out = out.replace(sign, "" if beside_space or thousands else " ")
    return _PERIOD.sub("", out, count=_MAX_PERIODS)


def _words(text: str) -> str:
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)
