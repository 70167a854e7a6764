"""What is news of a sentence, and what of it was told before."""

from __future__ import annotations

import pytest

from ouro.annotate.merging.repeats import content, news
from ouro.annotate.merging.tails import Context, drop_repeated_end, drop_repeated_start

# ---- repeats -----------------------------------------------------------------------------------------------------


def test_a_modifier_is_news_where_its_noun_was_without_it() -> None:
    earlier = [content("A red car stands by a house."), content("The door is green.")]
    assert news("There is a red car.", earlier) == frozenset()
    assert news("There is a red door.", earlier) == {"red"}
    assert news("The automobile is by the house.", earlier) == frozenset()
    assert news("There is no car.", earlier) == {"no"}


def test_what_is_quoted_is_news_unless_it_was_quoted() -> None:
    earlier = [content("The storefront of a bakery."), content('A sign reads "Fresh bread".')]
    assert news('The awning has the word "BAKERY" on it.', earlier) >= {"bakery"}
    assert news('It reads "fresh bread".', earlier) == frozenset()


def test_writing_with_a_look_of_its_own_is_news() -> None:
    earlier = [content("A yellow sign with text."), content("The taxi has black wheels.")]
    assert news("A yellow sign with black letters.", earlier) == {"black"}
    assert news("A yellow sign with letters.", earlier) == frozenset()


def test_filled_with_and_full_of_tell_only_what_is_in_it() -> None:
    assert news("A mug filled with tea.", [content("A mug with tea.")]) == frozenset()
    assert news("A mug full of coffee.", [content("A mug with tea.")]) == {"coff"}  # words are compared by their stems


# ---- what a sentence says again beside its news --------------------------------------------------------------------


PARK = Context(
    [
        "A cat with a red collar sits next to a brown dog on the grass.",
        "There is a wooden bench under a large oak tree.",
        "The bench is green.",
        "A lamp with a white shade and a brass foot stands there.",
    ],
    frozenset({"bench"}),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A carved bench under a large oak tree.", "A carved bench."),
        ("A carved bench under a small oak tree.", "A carved bench under a small oak tree."),  # no tree of that size
        ("A tall lamp with a white shade.", "A tall lamp."),
        ("A tall lamp with a blue cord and a white shade.", "A tall lamp with a blue cord."),
        ("A lamp with a cord, a plug, and a white shade.", "A lamp with a cord, a plug, and a white shade."),
        ("A dog with a red collar.", "A dog with a red collar."),  # the cat's was told
        ("A newspaper on the bench.", "A newspaper on the bench."),  # that it lies there was not
        ("A mix of rust and a white shade.", "A mix of rust and a white shade."),
        ("It is placed under a large oak tree.", "It is placed under a large oak tree."),  # no sentence without it
        ("", ""),
    ],
)
def test_an_end_goes_where_it_was_told_of_this_thing(text: str, expected: str) -> None:
    assert drop_repeated_end(text, PARK).text == expected


@pytest.mark.parametrize(
    ("text", "expected", "gone"),
    [
        ("The bench is green and the legs are rusty.", "The legs are rusty.", "The bench is green"),
        ("The bench is green and has two slats.", "The bench has two slats.", "is green"),
        ("The bench is green and its legs are rusty.", "The bench is green and its legs are rusty.", ""),
        ("The bench is blue and the legs are rusty.", "The bench is blue and the legs are rusty.", ""),
    ],
)
def test_a_first_clause_goes_where_it_was_told(text: str, expected: str, gone: str) -> None:
    assert drop_repeated_start(text, PARK) == (expected, gone)


def test_an_endless_sentence_is_left_as_it_is() -> None:
    endless = "The bench is green and the leg is red " * 2000
    assert drop_repeated_end(endless, PARK).text == endless
