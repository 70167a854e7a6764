"""Which option a reply takes: one table of replies, a column for each rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.scoring.choice import Mode, blank_match, choose_option

MODES: tuple[Mode, ...] = ("strict", "letter", "lenient", "iconqa")
CHOICES = ("solid", "liquid", "gas")

# reply, then the index by strict, letter, lenient, iconqa
TABLE = [
    ("B", 1, 1, 1, 1),
    ("B. liquid", 1, 1, 1, 1),
    ("B.", None, 1, 1, 1),
    ("B. ", 1, 1, 1, 1),
    (" B", None, None, 1, 1),
    ("B ", None, None, 1, 1),
    ("B\n", None, None, 1, 1),
    (" B. liquid", None, 1, 1, 1),
    ("b", None, 1, None, 1),
    ("b.", None, 1, None, 1),
    ("b. liquid", None, None, 1, 1),  # lenient: by text
    ("(B)", None, 1, 1, 1),
    ("(b)", None, 1, None, 1),
    ("(B) liquid", None, None, 1, 1),
    ("[B]", None, 1, 1, 1),
    ("**B**", None, 1, 1, 1),
    ("B)", None, 1, 1, 1),
    ("B) liquid", None, None, 1, 1),
    ("B: liquid", None, None, 1, 1),
    ("B, liquid", None, None, 1, None),
    ("B.liquid", None, 1, 1, None),
    ("B because it flows", None, None, 1, None),
    ("B because it flows downhill and fast", None, None, None, None),  # not among the last four words
    ("Option B", None, None, 1, None),
    ("The answer is B.", 1, None, 1, None),
    ("The answer is B", None, None, 1, None),  # strict: one more sign is needed
    ("the answer is B.", None, None, 1, None),
    ("The answer is b.", None, None, 1, None),
    ("The answer is **B**.", None, None, 1, None),
    ("The answer is B. The answer is B.", None, None, 1, None),  # strict: not once
    ("The answer is B. The answer is C.", None, None, 1, None),
    ("Not A but B", None, None, None, None),
    ("A, B", None, None, None, None),
    ("A liquid", None, None, 0, None),  # the article
    ("a liquid", None, None, 1, None),
    ("The answer is a liquid", None, None, 0, None),  # the article again, by `answer is`
    ("liquid", None, None, 1, 1),
    ("Liquid.", None, None, 1, 1),
    ("gasoline", None, None, 2, None),  # inside a word
    ("a liquid or a gas", None, None, None, None),
    ("liquid " * 9, None, None, None, None),  # longer than twice all options
    ("D", None, None, None, None),
    ("D. plasma", None, None, None, None),
    ("The answer is D.", None, None, None, None),
    ("Z", None, None, None, None),
    ("liquid, not Z", None, None, None, None),  # lenient: Z is a refusal
    ("E", None, None, None, None),
    ("2", None, None, None, None),
    ("", None, None, None, None),
    (".", None, None, None, None),
    ("\uff22", None, None, None, None),  # full-width
    ("BB", None, None, None, None),
    ("I think it flows, so B. I am sure of that, yes, I really am", None, None, None, None),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: repr(row[0]))
def test_the_option_taken_by_each_rule(row: tuple[str, int | None, int | None, int | None, int | None]) -> None:
    reply, *expected = row
    assert [choose_option(reply, CHOICES, mode) for mode in MODES] == expected


def test_strict_knows_five_letters_and_only_those_there_are() -> None:
    six = tuple("uvwxyz")
    assert [choose_option(letter, six, "strict") for letter in "AEF"] == [0, 4, None]
    assert choose_option("E", CHOICES, "strict") is None
    assert choose_option("F", six, "letter") == choose_option("F", six, "lenient") == 5


def test_iconqa_takes_a_letter_before_a_text() -> None:
    assert choose_option("b", ("b", "a"), "iconqa") == 1
    assert choose_option("3", ("2", "3", "5"), "iconqa") == 1
    assert choose_option("same", ("same", "same"), "iconqa") is None


@given(st.text(max_size=20), st.lists(st.text(max_size=5), max_size=6))
def test_an_index_is_one_of_the_options(reply: str, choices: list[str]) -> None:
    for mode in MODES:
        taken = choose_option(reply, choices, mode)
        assert taken is None or 0 <= taken < len(choices)


@given(st.integers(1, 5).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_a_bare_letter_and_a_letter_with_its_text_are_clear_to_every_rule(case: tuple[int, int]) -> None:
    count, index = case
    choices = [f"option{i}" for i in range(count)]
    for mode in MODES:
        assert choose_option("ABCDE"[index], choices, mode) == index
        assert choose_option(f"{'ABCDE'[index]}. {choices[index]}", choices, mode) == index


def test_more_options_than_letters_are_refused() -> None:
    with pytest.raises(ValueError, match="got 27 options, expected at most 26"):
        choose_option("A", ["x"] * 27, "strict")


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("7", "7", True),
        (" 7.\n", "7", True),
        ("Seven", "seven", True),
        ("07", "7", False),  # lmms-eval, by ANLS: 0.5
        ("77", "7", False),
        ("seven", "7", False),
        ("7 dots", "7", False),
        ("", "7", False),
        ("3:30 P.M.", "3:30 p.m.", True),
    ],
)
def test_a_blank_is_compared_as_text(reply: str, answer: str, right: bool) -> None:
    assert blank_match(reply, answer) is right
