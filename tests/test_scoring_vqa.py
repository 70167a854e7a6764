"""VQA soft accuracy on pairs of a reply and an answer that ten people gave; quirks of the references included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.scoring.vqa import Rule, soft_accuracy
from ouro.core.text import normalise

RULES: tuple[Rule, ...] = ("evalai", "vqav2", "vqaeval")
text = st.text(alphabet="aA the1,.'?-%\n", max_size=10)


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("1,000", "1000", True),
        ("No.5", "no. 5", False),
        ("t-shirt", "t shirt", True),
        ("t-shirt", "tshirt", False),
        ("100%", "100 %", False),
        ("100%", "100", False),
        ("$5", "5", False),
        ("The two dogs", "2 dogs", True),
        ("two dogs.", "2 dogs", True),
        ("dogs", "dog", False),
        ("caf\u00e9", "cafe\u0301", False),
        ("\uff12", "2", False),
        ("don\u2019t", "don't", False),
        ("dont", "don't", True),
        ("", "the", True),  # an answer that is only an article is empty
        ("", "blue", False),
        ("It is blue. I am sure.", "blue", False),
        ("blue, red", "blue red", True),
        ("unanswerable", "unanswerable", True),
        ("I do not know", "unanswerable", False),  # no special credit
    ],
)
def test_reply_and_answer_after_normalisation(reply: str, answer: str, right: bool) -> None:
    assert soft_accuracy(reply, [answer] * 10) == float(right)


@given(text, st.lists(text, min_size=10, max_size=10))
def test_soft_accuracy_is_in_0_1_and_minds_no_order(reply: str, answers: list[str]) -> None:
    for rule in RULES:
        score = soft_accuracy(reply, answers, rule=rule)
        assert 0.0 <= score <= 1.0
        assert soft_accuracy(reply, answers[::-1], rule=rule) == pytest.approx(score)
        assert soft_accuracy(answers[0], [answers[0]] * 10, rule=rule) == 1.0


@given(st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), max_size=4).map(" ".join))
def test_case_and_outer_space_never_matter(words: str) -> None:
    assert normalise(f" {words.upper()}\n") == normalise(words)
