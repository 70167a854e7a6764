"""The protocol of the benchmark, with answerers whose accuracy is known by construction."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.controls import majority_answers, wrong_images
from ouro.benchmarks.evaluate import Asked, Run, evaluate
from ouro.benchmarks.summary import Comparison, compare, summarise
from ouro.benchmarks.vqa import Question

COLORS = ("red", "green", "blue", "black")


def _questions(n: int = 40) -> list[Question]:
    """n images with two questions each; a quarter of the images has each colour, half has a star."""
    made: list[Question] = []
    for k in range(n):
        made.append(Question(2 * k, f"i{k}", "what color ?", (COLORS[k % 4],) * 10, "color"))
        made.append(Question(2 * k + 1, f"i{k}", "a star ?", (("yes", "no")[k % 2],) * 10, "existence"))
    return made


def _seeing(asked: Sequence[Asked]) -> list[str]:
    """Answers from the image that it is given, not from the question's own."""
    return [
        COLORS[int(a.image_id[1:]) % 4] if a.question.question_type == "color"
        else ("yes", "no")[int(a.image_id[1:]) % 2]
        for a in asked
    ]  # fmt: skip


def _blind(asked: Sequence[Asked]) -> list[str]:
    return ["Red." if a.question.question_type == "color" else "yes" for a in asked]


def _run(answer: object, name: str = "m") -> Run:
    questions = _questions()
    wrong = wrong_images((q.image_id for q in questions), np.random.default_rng(0))
    return evaluate(questions, answer, model=name, arm="image", wrong=wrong)  # type: ignore[arg-type]


@given(st.sets(st.text(max_size=3), min_size=2, max_size=30), st.integers(0, 99))
def test_every_image_gets_another_and_each_is_used_once(images: set[str], seed: int) -> None:
    wrong = wrong_images(images, np.random.default_rng(seed))
    assert wrong == wrong_images(sorted(images) * 2, np.random.default_rng(seed))
    assert set(wrong) == set(wrong.values()) == images
    assert all(a != b for a, b in wrong.items())


def test_one_image_cannot_be_shuffled() -> None:
    with pytest.raises(ValueError, match="got 1 image"):
        wrong_images(["i", "i"], np.random.default_rng(0))


def test_majority_is_counted_after_normalisation_and_ties_are_alphabetical() -> None:
    questions = [
        Question(0, "i", "?", ("Two",) * 6 + ("3",) * 4, "count"),
        Question(1, "j", "?", ("2.",) * 4 + ("3",) * 6, "count"),
        Question(2, "k", "?", ("no",) * 9 + ("yes",), "existence"),
    ]
    assert majority_answers(questions) == {"count": "2", "existence": "no"}


def test_a_seeing_model_keeps_its_margin_and_a_blind_one_has_none() -> None:
    seeing = summarise(_run(_seeing), resamples=200, seed=0)
    assert seeing.macro.accuracy.value == 1.0
    assert seeing.macro.margin.value == pytest.approx(1.0 - seeing.macro.shuffled.value)
    assert seeing.macro.margin.low > 0.2
    blind = summarise(_run(_blind), resamples=200, seed=0)
    rows = {row.question_type: row for row in blind.rows}
    assert rows["color"].accuracy.value == rows["color"].majority == 0.25
    assert rows["existence"].accuracy.value == rows["existence"].majority == 0.5
    assert blind.macro.accuracy.value == blind.macro.majority == pytest.approx(0.375)
    assert (blind.macro.margin.value, blind.macro.margin.low, blind.macro.margin.high) == (0.0, 0.0, 0.0)
    assert (blind.n_images, blind.overall.n, rows["color"].n) == (40, 80, 40)


def test_every_prediction_is_kept_with_both_images() -> None:
    run = _run(_seeing)
    wrong = wrong_images((f"i{k}" for k in range(40)), np.random.default_rng(0))
    for p in run.predictions:
        assert p.wrong_image_id == wrong[p.image_id] != p.image_id
        assert p.score == 1.0 and p.answer == p.truth
        assert p.wrong_score == float(p.wrong_answer == p.truth)
    assert [p.question_id for p in run.predictions] == list(range(80))
    assert run.rows()[3]["arm"] == "image" and len(run.rows()) == 80


def test_comparison_is_paired_and_survives_json() -> None:
    made = compare(_run(_blind, "base"), _run(_seeing, "boot"), resamples=200, seed=0)
    gain = made.macro.accuracy_gain
    assert gain.value == pytest.approx(1 - 0.375)
    assert 0 < gain.low <= gain.value <= gain.high
    assert made.macro.margin_gain.value == pytest.approx(made.macro.boot_margin.value)
    same = compare(_run(_seeing, "base"), _run(_seeing, "boot"), resamples=200, seed=0)
    assert same.overall.accuracy_gain.low == same.overall.accuracy_gain.high == 0.0
    assert Comparison.from_json(json.loads(json.dumps(made.to_json()))) == made
    json.dumps(summarise(_run(_blind), resamples=100, seed=0).to_json(), allow_nan=False)


def test_runs_on_other_wrong_images_are_not_compared() -> None:
    questions = _questions()
    wrong = wrong_images((q.image_id for q in questions), np.random.default_rng(9))
    other = evaluate(questions, _seeing, model="boot", arm="image", wrong=wrong)
    with pytest.raises(ValueError, match="same questions and wrong images"):
        compare(_run(_seeing), other, resamples=100, seed=0)
    regions = Run("boot", "image+regions", other.predictions)
    with pytest.raises(ValueError, match="expected the same"):
        compare(other, regions, resamples=100, seed=0)


def test_unscorable_questions_are_refused_before_anything_is_generated() -> None:
    def never(asked: Sequence[Asked]) -> list[str]:
        raise AssertionError(f"asked {len(asked)} questions")

    short = [Question(3, "i", "?", ("yes",), "t")]
    with pytest.raises(ValueError, match="question_id 3: got 1 answers, expected 10"):
        evaluate(short, never, model="m", arm="image", wrong={"i": "j"})
    with pytest.raises(ValueError, match="no other image assigned to image 'i0'"):
        evaluate(_questions(1), never, model="m", arm="image", wrong={"i0": "i0"})
    with pytest.raises(ValueError, match="no questions"):
        evaluate([], never, model="m", arm="image", wrong={})


def test_a_missing_answer_is_an_error_not_a_shift() -> None:
    with pytest.raises(ValueError, match="m gave 79 answers to 80 questions"):
        _run(lambda asked: _blind(asked)[1:])
