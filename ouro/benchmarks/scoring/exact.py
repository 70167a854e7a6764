"""Exact answers, yes and no, containment: GQA, VSR, POPE, ST-VQA, EST-VQA.

Each function names its source and what others do. None of them corrects spelling, folds accents or drops articles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ouro.core.text import without_punctuation

if TYPE_CHECKING:
    from collections.abc import Sequence


def gqa_match(reply: str, answer: str) -> bool:
    """GQA: the reply stripped, without final periods, in lower case, equals the answer as it stands in the file.

    Sources: `eval.py` of GQA compares raw strings; published numbers prepare the reply with
    `scripts/convert_gqa_for_eval.py` of LLaVA, which this follows. Answers in the file are lower-case; one with a
    capital or a final period can never be matched.
    Others: lmms-eval deletes all ASCII punctuation on both sides (`t-shirt` equals `tshirt`) and does not strip;
    VLMEvalKit, Qwen-VL and InternVL keep a final period, which makes `yes.` wrong.
    """
    return reply.strip().rstrip(".").lower() == answer


def vsr_answer(reply: str) -> bool | None:
    """VSR: the answer of the reply, or None if it gives neither or both; None is wrong whatever the label.

    Source: `YOrN_Extraction` of VLMEvalKit (`vlmeval/dataset/utils/yorn.py`): lower case, VQA punctuation removed,
    then exactly one of the words yes and no. Deviation: where neither word occurs, exactly one of true and false counts
    (the question may be asked that way, as InstructBLIP does); there VLMEvalKit says Unknown.
    """
    words = without_punctuation(reply.lower()).split()
    if "yes" in words or "no" in words:
        return _one_of(words, "yes", "no")
    return _one_of(words, "true", "false")


def _one_of(words: Sequence[str], yes: str, no: str) -> bool | None:
    mentions = (yes in words, no in words)
    return mentions[0] if mentions[0] != mentions[1] else None


def pope_answer(reply: str) -> bool:
    r"""POPE: False if the first sentence holds the word No, no or not, else True.

    Source: `evaluate.py` of POPE, which LLaVA repeats: text up to the first period, commas removed, split at single
    spaces. No deviation, so all that it does not recognise is yes: an empty reply, `NO`, `nope`, `No!`, `No\n`.
    Others: lmms-eval needs the whole reply to be yes or no (`Yes.` is wrong); VLMEvalKit needs one of the two words,
    and counts a reply without as wrong.
    """
    words = reply.split(".")[0].replace(",", "").split(" ")
    return {"No", "no", "not"}.isdisjoint(words)


def contains(reply: str, references: Sequence[str]) -> bool:
    """ST-VQA, EST-VQA: whether a reference occurs in the reply, without regard to case and line ends.

    Source: the OCRBench rule (`lmms_eval/tasks/ocrbench/utils.py`), which reports of vision-language models use for
    EST-VQA(En): lower case, stripped, a newline is a space. No deviation, so a reference is also found inside a longer
    word or number (`7` in `1977`), and an empty one everywhere.
    Others: the official scores are ANLS for ST-VQA (see anls.py), and for EST-VQA a score that needs the place of the
    evidence.
    """
    text = _flat(reply)
    return any(_flat(reference) in text for reference in references)


def _flat(text: str) -> str:
    return text.lower().strip().replace("\n", " ")
