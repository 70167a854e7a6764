"""One protocol for every model: answer the questions, again about wrong images, and score both.

`evaluate` asks one model in one arm ("image": the full image alone; "image+regions": with regions beside it)
and keeps every prediction. Adding up and comparing runs: ouro.benchmarks.summary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from ouro.benchmarks.controls import majority_answers
from ouro.benchmarks.scoring.vqa import ANNOTATORS, Rule, soft_accuracy
from ouro.benchmarks.vqa import Question

Arm = Literal["image", "image+regions"]


class Asked(NamedTuple):
    """A question and the image it is put about, which is not its own in the shuffled-image control."""

    question: Question
    image_id: str


Answerer = Callable[[Sequence[Asked]], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One question: what the model said about its image and about a wrong one, with scores in 0..1."""

    question_id: int
    image_id: str
    question_type: str
    question: str
    truth: str
    answer: str
    score: float
    wrong_image_id: str
    wrong_answer: str
    wrong_score: float
    majority_score: float

    @property
    def margin(self) -> float:
        return self.score - self.wrong_score

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Run:
    """All predictions of one model in one arm, in the order of the questions."""

    model: str
    arm: Arm
    predictions: tuple[Prediction, ...]

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model, "arm": self.arm, "predictions": [p.to_json() for p in self.predictions]}

    def rows(self) -> list[dict[str, Any]]:
        """Flat rows, one a question, for a table of predictions."""
        return [{"model": self.model, "arm": self.arm, **p.to_json()} for p in self.predictions]


def evaluate(
    questions: Sequence[Question],
    answer: Answerer,
    *,
    model: str,
    arm: Arm,
    wrong: Mapping[str, str],
    rule: Rule = "evalai",
) -> Run:
    """Ask `answer` every question about its own image, then about `wrong[image_id]`, and score both.

    `wrong` comes from controls.wrong_images; give every model the same, so that runs can be paired. `answer`
    gets all questions at once and returns as many strings, in order. Raises ValueError, before anything is
    generated, on questions that cannot be scored, and when `answer` returns another number of strings.
    """
    _check(questions, wrong)
    said = _ask(answer, [Asked(q, q.image_id) for q in questions], model)
    said_wrong = _ask(answer, [Asked(q, wrong[q.image_id]) for q in questions], model)
    constant = majority_answers(questions, rule=rule)
    predictions = [
        Prediction(
            question_id=q.question_id,
            image_id=q.image_id,
            question_type=q.question_type,
            question=q.question,
            truth=max(q.answers, key=q.answers.count),
            answer=own,
            score=soft_accuracy(own, q.answers, rule=rule),
            wrong_image_id=wrong[q.image_id],
            wrong_answer=other,
            wrong_score=soft_accuracy(other, q.answers, rule=rule),
            majority_score=soft_accuracy(constant[q.question_type], q.answers, rule=rule),
        )
        for q, own, other in zip(questions, said, said_wrong, strict=True)
    ]
    return Run(model, arm, tuple(predictions))


def _check(questions: Sequence[Question], wrong: Mapping[str, str]) -> None:
    if not questions:
        raise ValueError("evaluate: got no questions, expected at least one; check the benchmark files")
    for q in questions:
        if len(q.answers) != ANNOTATORS:
            raise ValueError(
                f"evaluate: question_id {q.question_id}: got {len(q.answers)} answers, expected {ANNOTATORS}"
            )
        if wrong.get(q.image_id, q.image_id) == q.image_id:
            raise ValueError(
                f"evaluate: question_id {q.question_id}: no other image assigned to image {q.image_id!r}; "
                "make `wrong` with controls.wrong_images over the images of all questions"
            )


def _ask(answer: Answerer, asked: Sequence[Asked], model: str) -> list[str]:
    said = list(answer(asked))
    if len(said) != len(asked):
        raise ValueError(f"evaluate: {model} gave {len(said)} answers to {len(asked)} questions, expected one for each")
    return said
