"""Which pairs of an image stay, and how far two answers agree."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.annotate.pairs.agreement import agreement
from ouro.annotate.pairs.filters import acceptance, is_near_duplicate, leaks_answer, similarity, wording, yes_no_surplus
from ouro.annotate.pairs.replies import Written
from ouro.core.records import QAPair, Rejected


@pytest.mark.parametrize(
    ("question", "answer", "leaks"),
    [
        ("What color is the red car?", "Red.", True),
        ("Where is the boat on the beach?", "on the beach", True),
        ("What number is on bus 12?", "12", True),
        ("What do the two red cars have?", "a red car", True),
        ("What color is the car?", "red", False),
        ("What color is the red car's roof?", "dark red", False),
        ("Is the car red or blue?", "blue", False),
        ("Is there a yes on the sign?", "yes", False),
        ("What is it?", "the", False),
    ],
)
def test_a_question_that_gives_its_answer_away_leaks(question: str, answer: str, leaks: bool) -> None:
    assert leaks_answer(Written(question, answer)) == leaks


def test_two_wordings_of_one_question_are_alike_and_two_questions_are_not() -> None:
    star = wording("What color is the star on the table?")
    assert star == ("what", "color", "star", "on", "table")
    assert wording("What is the color of the star on the table in the image?") == (*star, "in")
    assert similarity(star, wording("Which color is the star on the table?")) == 1.0
    assert similarity(star, wording("What color is the circle on the table?")) == 0.8  # 2 * 4 of 10
    left = wording("Is the star left of the circle?"), wording("Is the circle left of the star?")
    assert similarity(*left) == pytest.approx(1 / 3)  # one word of three stays in its place
    assert is_near_duplicate(star, [star], 0.9) and not is_near_duplicate(star, [star], 1.0)
    assert not is_near_duplicate(star, [left[0]], 0.9)


@settings(deadline=None)
@given(st.text(max_size=80), st.text(max_size=80))
def test_likeness_of_any_two_texts_is_a_share(a: str, b: str) -> None:
    assert 0 <= similarity(wording(a), wording(b)) <= 1 == similarity(wording(a), wording(a))


@pytest.mark.parametrize(
    ("answers", "most", "gone"),
    [
        ("yes yes no red red red", 1.0, []),
        ("yes yes no red red red", 0.5, [1]),  # half are yes or no, but most of these are yes
        ("yes no yes no red", 0.5, [1, 2, 3]),  # 1 of 2 is left; 3, 2, 1 by turns, the latest of the commoner first
        ("yes yes yes", 0.9, [1, 2]),  # a single one may stay
        ("Yes. yes No red red red red", 0.6, [1]),  # 2 of 3 would be yes
        ("red blue", 0.0, []),
        ("yes", 0.0, []),
    ],
)
def test_a_surplus_of_yes_and_no_goes_the_latest_first(answers: str, most: float, gone: list[int]) -> None:
    assert sorted(yes_no_surplus(answers.split(), most)) == gone


@settings(deadline=None)
@given(st.lists(st.sampled_from(["yes", "no", "red", "two"]), max_size=30), st.floats(0, 1))
def test_what_stays_keeps_the_share_or_is_a_single_yes_or_no(answers: list[str], most: float) -> None:
    gone = yes_no_surplus(answers, most)
    left = Counter(a for i, a in enumerate(answers) if i not in gone)
    polar = left["yes"] + left["no"]
    assert all(answers[i] in ("yes", "no") for i in gone)
    assert polar <= 1 or polar <= most * left.total() + 1e-6
    assert polar <= 1 or max(left["yes"], left["no"]) <= max(most, 0.5) * polar + 1e-6
    assert bool(gone) or left == Counter(answers)
    assert polar >= 1 or not {"yes", "no"} & {*answers}


def test_acceptance_counts_by_aspect() -> None:
    pairs = [QAPair("a", "i", "style", "q?", "a"), QAPair("b", "i", "style", "r?", "a")]
    rejected = [
        Rejected("synthesize", "i/style/2", "unparsable"),
        Rejected("synthesize", "i/scene context/0", "cut_off"),
    ]
    assert acceptance(pairs, rejected) == {"scene context": [0, 1], "style": [2, 3]}


# ---- agreement -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "other", "agree"),
    [
        ("red", "Red.", 1.0),
        ("the red car", "a red car", 1.0),
        ("two", "2", 1.0),
        ("1,000", "1000", 1.0),
        ("3.50", "3.5", 1.0),
        ("two", "3", 0.0),
        ("yes", "Yes, there is one.", 1.0),
        ("no", "yes", 0.0),
        ("no", "There is none.", 0.0),
        ("red", "The car is red.", 0.5),  # 2 * 1 of 1 + 3 words: "car is red"
        ("on the left side", "left", 0.5),  # 2 * 1 of 3 + 1: "on left side"
        ("red", "blue", 0.0),
        ("red", "", 0.0),
        ("", "the", 1.0),  # no word in either
    ],
)
def test_agreement(answer: str, other: str, agree: float) -> None:
    assert agreement(answer, other) == agree


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_agreement_is_a_share_the_same_both_ways_and_full_with_itself(a: str, b: str) -> None:
    assert 0.0 <= agreement(a, b) == agreement(b, a) <= 1.0
    assert agreement(a, a) == 1.0
