"""VQA soft accuracy: VQAv2, OKVQA, VizWiz, TextVQA.

VQA soft accuracy (Antol et al. 2015; leave-one-out form): the mean over the annotators i of
min(1, #{j != i : answer_j == prediction} / 3). Equal answers 0, 1, 2, 3, >=4 of ten give 0, 0.3, 0.6, 0.9, 1.

Sources: EvalAIAnswerProcessor of mmf (`mmf/utils/m4c_evaluators.py` at 2dc099a) and its copy in lmms-eval
(`lmms_eval/tasks/_task_utils/vqa_eval_metric.py`); VQAEval (GT-Vision-Lab/VQA at a013f00,
`PythonEvaluationTools/vqaEvaluation/vqaEval.py`). Deviations: scores are not rounded (VQAEval rounds to two
decimals); nothing is changed in place. Quirks of the references are kept, since published numbers contain
them: their pattern for periods has a typo, so that `2.` becomes `2`; they remove at most 32 periods.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from ouro.core.text import collapse_spaces, normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORT = 64  # characters of a text whose normal form is remembered
ANNOTATORS = 10
"""Answers a question must have: with fewer, leave-one-out cannot reach 1 as published."""

Rule = Literal["evalai", "vqav2", "vqaeval"]
"""How predictions and answers are normalised before they are compared.

evalai:  both, all steps (mmf; lmms-eval's OKVQA, VizWiz, TextVQA). The default.
vqav2:   both, without the first step, which deletes `,` and `?` and splits off `'s` (lmms-eval's VQAv2).
vqaeval: as vqav2, but only if the ten raw answers are not all identical (VQAEval of 2021).
"""


def soft_accuracy(prediction: str, answers: Sequence[str], *, rule: Rule = "evalai") -> float:
    """VQA soft accuracy of one prediction, in 0..1; with ten identical answers, exact match.

    Raises ValueError unless there are ten answers (mmf asserts the same).
    """
    if len(answers) != ANNOTATORS:
        raise ValueError(
            f"soft accuracy: got {len(answers)} answers, expected {ANNOTATORS}; "
            "a benchmark with one answer a question repeats it ten times"
        )
    normal_prediction = _normalise_pair(prediction, answers, rule)
    truth = [_normalise_pair(answer, answers, rule) for answer in answers]
    same = [answer == normal_prediction for answer in truth]
    total = sum(same)
    return sum(min(1.0, (total - agrees) / 3) for agrees in same) / len(same)


def _normalise_pair(text: str, answers: Sequence[str], rule: Rule) -> str:
    if rule == "vqaeval" and len({collapse_spaces(answer) for answer in answers}) == 1:
        return collapse_spaces(text)
    return normal_form(text, rule)


def normal_form(text: str, rule: Rule) -> str:
    """A text as it is compared, where the annotators do not all agree."""
    return (_cached_normalise if len(text) <= SHORT else _normalise)(text, rule == "evalai")


def _normalise(text: str, split_words: bool) -> str:
    return normalise(text, split_words=split_words)


_cached_normalise = lru_cache(maxsize=1 << 16)(_normalise)  # a benchmark's answers are few words, and often the same
