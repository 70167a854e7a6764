"""GQA, VSR, POPE, containment, and the ratios of yes-no questions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.scoring.binary import Confusion, confusion
from ouro.benchmarks.scoring.exact import contains, gqa_match, pope_answer, vsr_answer


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("yes", "yes", True),
        (" Yes.\n", "yes", True),
        ("YES...", "yes", True),
        ("yes .", "yes", False),  # a space before the period stays
        ("yes. ", "yes", True),
        ("yes!", "yes", False),
        ("yes, it is", "yes", False),
        ("t-shirt", "tshirt", False),  # lmms-eval: right
        ("mens", "men's", False),
        ("the cat", "cat", False),
        ("two", "2", False),
        ("", "yes", False),
        (".", "", True),
        ("Yes", "Yes", False),  # answers in the file are lower-case
    ],
)
def test_gqa_strips_drops_periods_and_lowers(reply: str, answer: str, right: bool) -> None:
    assert gqa_match(reply, answer) is right


@given(st.text(alphabet="abc xyz", min_size=1).map(lambda text: text.strip().lower()))
def test_gqa_minds_no_case_outer_space_or_final_period(answer: str) -> None:
    assert gqa_match(f" {answer.upper()}.\n", answer)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("yes", True),
        ("Yes.", True),
        ("(YES)", True),
        ("Yes, it is left of the plate.", True),
        ("no", False),
        ("No!", False),
        ("No, it is not true", False),  # yes and no come before true and false
        ("Yes. That is false reasoning", True),
        ("yes and no", None),
        ("nope", None),
        ("yesterday", None),
        ("yes-no", None),
        ("not", None),
        ("", None),
        ("True", True),  # VLMEvalKit: Unknown
        ("false.", False),
        ("true or false", None),
        ("it is true; no", False),
        ("yes\nno", None),
        ("\uff59\uff45\uff53", None),  # full-width letters are not folded
    ],
)
def test_vsr_needs_exactly_one_of_the_two_words(reply: str, answer: bool | None) -> None:
    assert vsr_answer(reply) is answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("no", False),
        ("No", False),
        ("No, there is none", False),
        ("There is not", False),
        ("It is, no", False),
        ("no. yes", False),
        ("Yes. There is no cup", True),  # first sentence only
        (".no", True),
        ("yes", True),
        ("", True),
        ("NO", True),
        ("nope", True),
        ("none", True),
        ("No!", True),
        ("No\n", True),
        ("\nNo", True),
        ("no,", False),
        ("(no)", True),
        ("isn't", True),
        ("I cannot say", True),
    ],
)
def test_pope_says_yes_unless_a_word_of_the_first_sentence_denies(reply: str, answer: bool) -> None:
    assert pope_answer(reply) is answer


@pytest.mark.parametrize(
    ("reply", "references", "is_contained"),
    [
        ("The sign says Golden Cafe.", ["golden cafe"], True),
        ("golden\ncafe", ["Golden Cafe"], True),
        ("golden  cafe", ["golden cafe"], False),
        ("cafe", ["golden cafe"], False),  # not the other way round
        ("1977", ["7"], True),  # inside a number
        ("no", ["7", "no "], True),  # references are stripped
        ("", ["cafe"], False),
        ("", [""], True),
        ("anything", [""], True),
        ("cafe\u0301", ["caf\u00e9"], False),
        ("x", [], False),
    ],
)
def test_contains_finds_a_reference_in_the_reply(reply: str, references: list[str], is_contained: bool) -> None:
    assert contains(reply, references) is is_contained


@given(st.text(max_size=9), st.lists(st.text(max_size=4), max_size=3), st.text(max_size=3))
def test_more_text_or_references_never_lose_containment(reply: str, references: list[str], more: str) -> None:
    if contains(reply.strip(), references):
        assert contains(f"{reply.strip()} {more}".strip(), references)
        assert contains(reply, [*references[::-1], more])
    for reference in references:
        assert contains(reference, references)


def test_ratios_of_yes_and_no_by_hand() -> None:
    answers = [True, True, True, False, False]
    true = [True, True, False, True, False]
    counts = confusion(zip(answers, true, strict=True))
    assert counts == Confusion(true_yes=2, false_yes=1, false_no=1, true_no=1)
    assert counts.accuracy == 3 / 5
    assert counts.precision == counts.recall == 2 / 3
    assert counts.f1 == pytest.approx(2 / 3)
    assert counts.yes_share == 3 / 5  # of what was said: the truth happens to have as many
    assert confusion([(True, False)] * 4).yes_share == 1.0


def test_ratios_without_a_denominator_are_0() -> None:
    nothing, only_no = Confusion(), confusion([(False, False)] * 3)
    assert nothing.accuracy == nothing.f1 == nothing.yes_share == 0.0
    assert (only_no.accuracy, only_no.precision, only_no.recall, only_no.f1) == (1.0, 0.0, 0.0, 0.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans())), st.lists(st.tuples(st.booleans(), st.booleans())))
def test_confusions_add_up(a: list[tuple[bool, bool]], b: list[tuple[bool, bool]]) -> None:
    both = confusion(a) + confusion(b)
    assert both == confusion(b + a)
    assert both.total == len(a) + len(b)
    for ratio in (both.accuracy, both.precision, both.recall, both.f1, both.yes_share):
        assert 0.0 <= ratio <= 1.0
    perfect = confusion([(truth, truth) for _, truth in a])
    assert perfect.accuracy == float(bool(a))
    assert perfect.f1 == float(any(truth for _, truth in a))
