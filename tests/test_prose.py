"""Free English read as things, attributes, numbers, places, relations and quotations."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.annotate.prose.evidence import Evidence
from ouro.annotate.prose.reader import read
from ouro.annotate.prose.things import Thing, stem


def thing_of(text: str, noun: str) -> Thing:
    """The first thing of a name."""
    return next(t for t in read(text).things if t.noun == noun)


def relations(text: str) -> set[tuple[str, str, str]]:
    reading = read(text)
    return {(reading.things[x.a].noun, x.relation, reading.things[x.b].noun) for x in reading.links}


@pytest.mark.parametrize(
    ("text", "nouns"),
    [
        ("A red cup and two blue plates are on a wooden table.", ["cup", "plate", "table"]),
        ("A fire hydrant stands near the traffic light.", ["fire hydrant", "traffic light"]),
        ("On the left, there is a lamp.", ["lamp"]),  # a place is no thing
        ("The frame of the mirror is golden.", ["frame", "mirror"]),  # but that of a mirror is
        ("Three pictures hang on the wall.", ["picture", "wall"]),
        ("Mountains capped with snow rise in the distance.", ["mountain", "snow"]),
        ("A box made of metal stands on a shelf.", ["box", "shelf"]),
        ('The word "bus" is on it.', ["word"]),  # what is written names nothing
        ("", []),
    ],
)
def test_things(text: str, nouns: list[str]) -> None:
    assert [t.noun for t in read(text).things] == nouns


@pytest.mark.parametrize(
    ("text", "noun", "looks"),
    [
        ("The cup is red and shiny.", "cup", {"red", "shiny"}),
        ("A kitchen has a table made of wood.", "table", {"made", "wood"}),
        ("A kitchen has a table made of wood.", "kitchen", set[str]()),
        ("A boat that is white lies near a red house.", "boat", {"white"}),
        ("The vase has a dark purple color.", "vase", {"purple"}),  # what a colour is like, its thing is like
        ("A flag with stripes, red and white, hangs there.", "stripe", {"red", "white"}),
        ("The letters are pink on light blue.", "letter", {"pink"}),  # blue is what they stand on
    ],
)
def test_attributes_are_those_of_their_own_thing(text: str, noun: str, looks: set[str]) -> None:
    assert thing_of(text, noun).looks - {"made"} == looks - {"made"}


@pytest.mark.parametrize(
    ("text", "noun", "number"),
    [
        ("Two dogs run.", "dog", 2),
        ("There are 12 eggs in a box.", "egg", 12),
        ("She holds it with both hands.", "hand", 2),
        ("a pair of shoes", "shoe", 2),
        ("one of the three cups", "cup", 1),
        ("A three-story house", "story", 3),
        ("Dogs run.", "dog", None),
    ],
)
def test_numbers(text: str, noun: str, number: int | None) -> None:
    assert thing_of(text, noun).number == number


@pytest.mark.parametrize(
    ("text", "noun", "spot"),
    [
        ("On the left, there is a tall lamp.", "lamp", (-1, None)),
        ("The dog on the right has a collar.", "dog", (1, None)),
        ("A bridge on the left leads to an island.", "bridge", (-1, None)),
        ("There is a stain in the bottom left corner.", "stain", (-1, 1)),
        ("A clock hangs there.", "clock", None),
    ],
)
def test_places(text: str, noun: str, spot: tuple[int | None, int | None] | None) -> None:
    assert thing_of(text, noun).spot == spot


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cup stands on a saucer.", ("cup", "in", "saucer")),
        ("The cat's eyes are green.", ("cat", "has", "eye")),
        ("A kite in the shape of a dragon flies there.", ("kite", "of", "dragon")),
        ("A star-shaped kite flies there.", ("kite", "of", "star")),
        ("The cake is topped with strawberries.", ("cake", "has", "strawberry")),
        ("There is a woman. Behind her a dog sleeps.", ("dog", "behind", "woman")),  # "her", not "her dog"
        ("The bowl holds a lemon, and a cloth hangs from it.", ("cloth", "in", "bowl")),
        ("A cup and two plates are on a table.", ("cup", "in", "table")),
    ],
)
def test_relations(text: str, expected: tuple[str, str, str]) -> None:
    assert expected in relations(text)


def test_a_clause_of_its_own_is_no_item_of_the_list_before() -> None:
    assert ("bowl", "has", "cloth") not in relations("The bowl holds a lemon, and a cloth hangs from it.")


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ('A sign reads "OPEN" and a poster says SALE.', ["OPEN", "SALE"]),
        ("The label says “Earl Grey”, in gold.", ["Earl Grey"]),
        ("A sign without words.", []),
        ('An opening mark " alone', []),
    ],
)
def test_quotations(text: str, quoted: list[str]) -> None:
    assert [text[a:b] for a, b in read(text).quotations] == quoted


@pytest.mark.parametrize(
    ("a", "b"), [("parked", "parks"), ("wooden", "wood"), ("running", "run"), ("held", "holding"), ("worn", "wears")]
)
def test_forms_of_one_word_have_one_stem(a: str, b: str) -> None:
    assert stem(a) == stem(b)


def test_the_building_is_the_bakery_and_the_buildings_are_not() -> None:
    """A general name speaks again of what was named, in the same number."""
    one = Evidence.of_text("A bakery stands there. The building is white.")
    assert {o.thing.noun for o in one.told[0].entity} == {"bakery", "building"}
    assert Evidence.of_text("A bakery stands there. The buildings are white.").told[0].entity == []


def test_women_on_two_sides_are_two() -> None:
    text = "Two women sit there. The woman on the left has a scarf. The woman on the right has a cup."
    left, right = (t for t in Evidence.of_text(text).told if t.thing.noun == "woman" and t.thing.number == 1)
    assert left is not right and left not in right.entity


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=200))
def test_any_text_is_read_and_its_spans_lie_inside(text: str) -> None:
    reading = read(text)
    spans = [*reading.sentences, *reading.quotations, *((t.start, t.end) for t in reading.things)]
    assert all(0 <= a <= b <= len(text) for a, b in spans)
    assert len(reading.prose) == len(text)


UNIT = {
    "sentences": "The red cup stands on a table. ",
    "one sentence": "a red cup on the left of a table, ",
    "relations": "in front of the ",
    "quotations": '"a" says ',
    "open quotations": '"',
    "one letter": "a",
    "blanks": " ",
    "pronouns": "it has its one, ",
    "line breaks": "\n",
    "of": "of the ",
}


@pytest.mark.timeout(120)  # a hang guard: what is quadratic takes hours here
@pytest.mark.parametrize("unit", UNIT.values(), ids=UNIT.keys())
def test_a_hundred_kilobytes_are_read(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    assert read(text).text == text
