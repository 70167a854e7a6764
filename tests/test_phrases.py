"""English by rule: noun phrases, singulars, sentences, names, attributes, places. Expected values are read off."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.annotate.english.attributes import clashes
from ouro.annotate.english.lexicon import canonical, is_kind_of, name_of, same_name
from ouro.annotate.english.mentions import apart, exact_spot, listed, mentions, read_spot
from ouro.annotate.english.phrases import noun_phrases, sentences, singular


def test_noun_phrases_end_before_boundary_words() -> None:
    found = noun_phrases("a red striped star on the old table, two cars")
    assert [p.words for p in found] == [("a", "red", "striped", "star"), ("the", "old", "table"), ("two", "cars")]


def test_nouns_that_end_in_ing_are_not_taken_for_participles() -> None:
    assert [p.head for p in noun_phrases("a ring and a man riding a horse")] == ["ring", "man", "horse"]


def test_two_attributes_of_one_thing_are_one_phrase() -> None:
    found = noun_phrases("a red and white cup, a large, old cup and a plate")
    assert [p.words for p in found] == [
        ("a", "red", "and", "white", "cup"),
        ("a", "large", "old", "cup"),
        ("a", "plate"),
    ]
    assert found[0].modifiers == {"red", "white"}


def test_verbs_and_participles_after_a_noun_are_no_part_of_its_phrase() -> None:
    text = "the left cup holds a spoon, two men stand by a parked car, a van parked on the street"
    heads = [p.head for p in noun_phrases(text)]
    assert heads == ["cup", "spoon", "man", "car", "van", "street"]


def test_a_cross_is_a_thing() -> None:
    """Taking it for a verb once cost nano a tenth of its facts."""
    assert next(p.words for p in noun_phrases("a red striped cross at the top")) == ("a", "red", "striped", "cross")


def test_what_a_sign_says_is_no_thing_in_the_picture() -> None:
    assert [p.head for p in noun_phrases('a sign that says "the big sale, a cup" by a door')] == ["sign", "door"]


def test_words_of_any_script_are_whole() -> None:
    assert [p.words for p in noun_phrases("a café table and the Übergang")] == [
        ("a", "café", "table"),
        ("the", "übergang"),
    ]


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


def test_synonyms_are_one_name_in_either_number() -> None:
    assert same_name("sofa", "couches") and same_name("bikes", "bicycle") and same_name("TV", "television")
    assert not same_name("cup", "plate") and not same_name("table", "shelf")
    assert canonical("wugs") == "wug"


def test_two_words_can_be_one_name() -> None:
    assert (
        name_of(("a", "traffic", "lights"))
        == name_of(
            (
                "the",
                "stoplight",
            )
        )
        == "traffic light"
    )
    assert name_of(("a", "green", "light")) == "light"


def test_kinds_are_no_synonyms() -> None:
    assert is_kind_of("puppy", "animal") and is_kind_of("puppy", "dog")
    assert not is_kind_of("animal", "dog") and not same_name("dog", "animal")


def test_attributes_of_one_kind_exclude_each_other() -> None:
    [clash] = clashes(["red", "big", "old"], ["navy", "large"])
    assert clash == ("color", "red", "navy")
    assert clashes(["red", "white"], ["red"]) == clashes(["grey"], ["silver"]) == []


def test_mentions_know_number_ordinal_and_what_belongs_to_them() -> None:
    text = 'Two cups, the second cup, a bottle of water, one of the cups, cars and a sign that says "STOP".'
    found = mentions(text)
    assert [(m.name, m.number, m.plural) for m in found] == [
        ("cup", 2, True), ("cup", 1, False), ("bottle", 1, False), ("cup", None, False), ("car", None, True),
        ("sign", 1, False),
    ]  # fmt: skip
    assert [m.ordinal for m in found] == [None, 2, None, None, None, None]
    assert (found[2].of, text[found[3].one_of : found[3].stop], found[5].says) == ("water", "one of the cups", '"STOP"')


@pytest.mark.parametrize(
    ("text", "spot"),
    [
        ("a cup on the left", (-1, None)),
        ("a cup at the top right of the image, and more", (1, -1)),
        ("a cup in the center", (0, 0)),
        ("a cup on the right-hand side with a spoon", (1, None)),
        ("the left cup", (-1, None)),
        ("a cup to the left of the plate", None),  # of the plate, not of the picture
        ("a house at the top of the hill", None),
        ("a cup in the center table", None),
    ],
)
def test_places_in_the_picture(text: str, spot: tuple[int | None, int | None] | None) -> None:
    assert mentions(text)[0].spot == spot


def test_spots_on_opposite_sides_are_incomparable() -> None:
    assert apart(read_spot("left"), exact_spot("top left")) == 0
    assert apart(read_spot("left"), exact_spot("right")) is None
    assert apart(read_spot("top left"), exact_spot("left")) == 1


def test_a_thing_named_again_with_the_is_the_same_one() -> None:
    assert [m.echo for m in mentions("a couch and a cup. the sofa is old. the second cup is new.")] == [
        False, False, True, False,
    ]  # fmt: skip


def test_what_a_thing_has_knows_its_holder() -> None:
    found = mentions("a table. the table at the left has a cup and a plate. a dog.")
    assert [(m.name, m.holder) for m in found] == [
        ("table", ""), ("table", ""), ("cup", "table"), ("plate", "table"), ("dog", ""),
    ]  # fmt: skip


def test_lists_are_read_item_by_item_and_nothing_else_is() -> None:
    text = "a cup at the left, two plates and a sign that says milk"
    assert [m.name for m in listed(text, 0, len(text)) or []] == ["cup", "plate", "sign"]
    assert listed("a cup that fell and a plate", 0, 27) is None


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    spans = sentences(text)
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    for m in mentions(text):
        assert 0 <= m.phrase.start < m.phrase.end <= m.of_end <= m.body <= m.stop <= len(text)
        assert text[m.phrase.start : m.phrase.end].split()[0].lower().startswith(m.phrase.words[0][:1])
