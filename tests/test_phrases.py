"""English by rule: noun phrases, singulars, sentences, names, attributes, places. Expected values are read off."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.annotate.english.attributes import clashes
from ouro.annotate.english.free_text import read_phrases
from ouro.annotate.english.mentions import apart, exact_spot, read_spot
from ouro.annotate.english.phrases import sentences, singular


def words(text: str) -> list[str]:
    return [" ".join(phrase.words) for phrase in read_phrases(text)]


def nouns(text: str) -> list[str]:
    return [phrase.noun for phrase in read_phrases(text)]


def test_noun_phrases_end_before_function_words() -> None:
    assert words("a red striped star on the old table, two cars") == ["red striped star", "old table", "cars"]


def test_nouns_that_end_in_ing_are_not_taken_for_participles() -> None:
    assert nouns("a ring and a man riding a horse") == ["ring", "man", "horse"]


def test_two_attributes_of_one_thing_are_one_phrase() -> None:
    [cup, old, plate] = read_phrases("a red and white cup, a large, old cup and a plate")
    assert (cup.words, cup.looks) == (("red", "and", "white", "cup"), {"red", "white"})
    assert (old.words, plate.words) == (("large", "old", "cup"), ("plate",))


def test_verbs_and_participles_after_a_noun_are_no_part_of_its_phrase() -> None:
    text = "the left cup holds a spoon, two men stand by a parked car, a van parked on the street"
    assert nouns(text) == ["cup", "spoon", "man", "car", "van", "street"]


def test_a_cross_is_a_thing() -> None:
    """Taking it for a verb once cost nano a tenth of its facts."""
    assert words("a red striped cross at the top") == ["red striped cross"]


def test_what_a_sign_says_is_no_thing_in_the_picture() -> None:
    assert nouns('a sign that says "the big sale, a cup" by a door') == ["sign", "door"]


def test_words_of_any_script_are_whole() -> None:
    assert words("a café table and the Übergang") == ["café table", "übergang"]


@pytest.mark.parametrize(
    ("word", "one"),
    [
        ("crosses", "cross"), ("boxes", "box"), ("stars", "star"), ("knives", "knife"), ("people", "person"),
        ("women", "woman"), ("shelves", "shelf"), ("benches", "bench"), ("buses", "bus"), ("vases", "vase"),
        ("glass", "glass"), ("bus", "bus"), ("canvas", "canvas"), ("scissors", "scissors"), ("cup", "cup"),
    ],
)  # fmt: skip
def test_singulars(word: str, one: str) -> None:
    assert singular(word) == one


def test_a_sentence_does_not_end_in_a_quotation_a_number_or_a_title() -> None:
    text = 'A sign says "Dr. No. 5". Dr. Smith is 1.8 m tall!  Is he?\nno mark at the end'
    assert [text[a:b] for a, b in sentences(text)] == [
        'A sign says "Dr. No. 5".', "Dr. Smith is 1.8 m tall!", "Is he?", "no mark at the end",
    ]  # fmt: skip


def test_attributes_of_one_kind_exclude_each_other() -> None:
    [clash] = clashes(["red", "big", "old"], ["navy", "large"])
    assert clash == ("color", "red", "navy")
    assert clashes(["red", "white"], ["red"]) == clashes(["grey"], ["silver"]) == []


@pytest.mark.parametrize(
    ("text", "spot"),
    [
        ("a cup on the left", (-1, None)),
        ("a cup at the top right of the image, and more", (1, -1)),
        ("a cup in the center", (0, 0)),
        ("a cup on the right-hand side with a spoon", (1, None)),
        ("the left cup", (-1, None)),
        ("a cup in the center table", None),
    ],
)
def test_places_in_the_picture(text: str, spot: tuple[int | None, int | None] | None) -> None:
    assert read_phrases(text)[0].spot == spot


def test_spots_on_opposite_sides_are_incomparable() -> None:
    assert apart(read_spot("left"), exact_spot("top left")) == 0
    assert apart(read_spot("left"), exact_spot("right")) is None
    assert apart(read_spot("top left"), exact_spot("left")) == 1


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    spans = sentences(text)
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    for phrase in read_phrases(text):
        assert 0 <= phrase.start < phrase.end <= len(text) and phrase.words
