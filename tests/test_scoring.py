"""VQA soft accuracy. Expected values are derived by hand from the definition."""

from __future__ import annotations

import pytest

from ouro.benchmarks.scoring.vqa import soft_accuracy
from ouro.core.text import CONTRACTIONS, normalise

REST = [f"other {k}" for k in range(10)]


def _answers(same: int, answer: str = "blue") -> list[str]:
    return [answer] * same + REST[same:]


@pytest.mark.parametrize(
    ("same", "expected"),
    [
        (0, 0.0),
        (1, 9 * (1 / 3) / 10),  # the one who said it sees 0 others, the nine others see 1
        (2, (2 * (1 / 3) + 8 * (2 / 3)) / 10),
        (3, (3 * (2 / 3) + 7 * 1) / 10),
        (4, 1.0),
        (10, 1.0),
    ],
)
def test_soft_accuracy_leaves_one_annotator_out(same: int, expected: float) -> None:
    assert soft_accuracy("Blue.", _answers(same)) == pytest.approx(expected, abs=1e-12)


def test_scores_are_not_rounded() -> None:
    assert soft_accuracy("blue", _answers(1)) == pytest.approx(0.3, abs=1e-12)
    assert soft_accuracy("blue", _answers(3)) == pytest.approx(0.9, abs=1e-12)


@pytest.mark.parametrize("prediction", ["", "greenish", "not green", "green, because it is so", "gr een"])
def test_ten_identical_answers_need_an_exact_match(prediction: str) -> None:
    assert soft_accuracy("The green", ["green"] * 10) == 1.0
    assert soft_accuracy(prediction, ["green"] * 10) == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes.", "yes"),
        ("  A Red\tStar \n", "red star"),
        ("two", "2"),
        ("None", "0"),
        ("twofold", "twofold"),  # whole words only
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("Im", "im"),  # the references' entry has a capital and never fires
        ("somebody'd", "somebodyd"),  # sic
        ("1,000", "1000"),
        ("2.", "2"),  # the references' typo: a digit before the period does not protect it
        ("3.5.", "3.5"),
        (".5", ".5"),
        ("t-shirt", "t shirt"),
        ("t - shirt", "t shirt"),
        ("t- shirt", "t shirt"),
        ("a-b - c", "ab c"),  # one space beside a hyphen deletes all of them
        ("100%", "100%"),
        ("100 %", "100 %"),
        ("No.5", "no.5"),
        ("no. 5", "no 5"),
        ("dog's", "dog 's"),
        ("what?", "what"),
        ("he\u2019s", "he\u2019s"),  # a curly apostrophe is not folded
        ("\uff12", "\uff12"),  # nor a full-width digit
        ("the", ""),
        ("yes\u2028no", "yes no"),
        ("." * 40, "." * 8),  # at most 32 periods go
    ],
)
def test_normalise_follows_the_evalai_processor(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_the_first_step_can_be_left_out() -> None:
    assert normalise("dog's, cat", split_words=False) == "dog's cat"
    assert normalise("red,blue") == "redblue"
    assert normalise("red,blue", split_words=False) == "red blue"


def test_vqaeval_compares_raw_text_when_all_annotators_agree() -> None:
    agreed, split = ["yes"] * 10, ["yes"] * 9 + ["no"]
    assert soft_accuracy("Yes.", agreed, rule="vqaeval") == 0.0
    assert soft_accuracy("yes\n", agreed, rule="vqaeval") == 1.0
    assert soft_accuracy("Yes.", split, rule="vqaeval") == 1.0
    assert soft_accuracy("Yes.", agreed, rule="vqav2") == 1.0


def test_combining_accents_are_another_word() -> None:
    assert soft_accuracy("cafe\u0301", ["caf\u00e9"] * 10) == 0.0


def test_every_contraction_only_moves_apostrophes() -> None:
    assert len(CONTRACTIONS) == 114
    assert all(k.replace("'", "") == v.replace("'", "") and k != v for k, v in CONTRACTIONS.items())


@pytest.mark.parametrize("n", [0, 1, 9, 11])
def test_another_number_of_answers_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"got {n} answers, expected 10"):
        soft_accuracy("yes", ["yes"] * n)
