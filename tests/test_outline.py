"""The writer `outline`: what stays word for word, how an entry begins, what is left out and recorded."""

from __future__ import annotations

import pytest

from ouro.annotate.marks import find_marks
from ouro.annotate.merging.inscriptions import same_text, with_reading
from ouro.annotate.merging.outline import Outline, outline
from ouro.annotate.merging.provenance import plain
from ouro.annotate.merging.settled import apply_settled
from ouro.annotate.merging.trimming import main_verb, trim, without
from ouro.core.records import Conflict, Description, Match, Region
from tests.helpers.trees import Said, tree_of

KITCHEN = {
    "0": Said(
        "", "The image shows a small kitchen with a white stove. A kettle stands on it. The mood is calm.", "a kitchen"
    ),
    "0.0": Said(
        "left",
        "The image shows a close-up of a white gas stove. It has four burners. The background is blurred.",
        "a stove",
        "a white stove",
    ),
    "0.0.0": Said("left", "The image shows a red kettle, possibly made of steel.", "a kettle"),
    "0.1": Said("top right", "Two copper pans hang from a rail.", "pans"),
    "0.2": Said("bottom right", "The image shows a kitchen.", "a kitchen"),
}


def lines(parts: dict[str, Said], root: str = "0") -> list[str]:
    return [plain(line.marked) for line in outline(tree_of(parts), root).lines]


def written(parts: dict[str, Said]) -> Outline:
    return outline(tree_of(parts), "0")


def test_the_whole_stays_and_each_region_follows_under_its_place() -> None:
    assert lines(KITCHEN) == [
        "The image shows a small kitchen with a white stove.",
        "A kettle stands on it.",
        "The mood is calm.",
        "At the left is the white gas stove.",
        "It has four burners.",
        "At the left is a red kettle.",
        "At the top right, two copper pans hang from a rail.",
    ]


def test_what_is_left_out_is_recorded_with_why() -> None:
    assert [(d.region_id, d.text, d.rule) for d in written(KITCHEN).decisions] == [
        ("0.0", "The background is blurred.", "frame"),
        ("0.2", "The image shows a kitchen.", "said_before"),
    ]


def test_a_regions_own_text_has_places_in_its_own_frame() -> None:
    """The kettle's box is the stove's: it lies in the middle of it."""
    assert lines(KITCHEN, "0.0")[-1] == "In the center is a red kettle."
    assert lines(KITCHEN, "0.0")[0] == "The image shows a close-up of a white gas stove."


def test_every_line_knows_its_region_what_it_speaks_on_from_and_filler() -> None:
    kitchen_lines = written(KITCHEN).lines
    assert [(line.region_ids, line.leans_on, line.filler) for line in kitchen_lines] == [
        (("0",), -1, False), (("0",), -1, False), (("0",), -1, True),
        (("0.0",), 0, False), (("0.0",), 3, False), (("0.0.0",), -1, False), (("0.1",), -1, False),
    ]  # fmt: skip


def entry(text: str, name: str = "", match: str = "", how: str = "same") -> str:
    parts = {
        "0": Said("", "A street with a bus, two dogs and a shop sign.", "a street"),
        "0.0": Said("left", text, name, match, how),
    }
    return " ".join(lines(parts)[1:])


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("The image shows a tall lamp.", "a lamp", "At the left is a tall lamp."),
        ("A tall lamp.", "a lamp", "At the left is a tall lamp."),
        ("The image shows three cyclists.", "cyclists", "At the left are three cyclists."),
        ("The image shows green bushes by a wall.", "bushes", "At the left are green bushes by a wall."),
        ("The image shows a set of keys.", "keys", "At the left is a set of keys."),
        ("A cyclist is waiting.", "a cyclist", "At the left, a cyclist is waiting."),
        ("The cyclist wears a helmet.", "a cyclist", "A cyclist at the left: the cyclist wears a helmet."),
        ("It is made of iron.", "a bench", "A bench at the left: it is made of iron."),
        ("The image shows a shiny surface.", "a puddle", "A puddle at the left: a shiny surface."),
        ("It is made of iron.", "", "At the left: it is made of iron."),
        ('The text in the image reads "NO EXIT".', "a sign", 'A sign at the left: "NO EXIT".'),
        ('The image shows a logo with the letters "AT".', "a logo", 'At the left is a logo with the letters "AT".'),
        ("NASA built it.", "a rocket", "A rocket at the left: NASA built it."),
    ],
)
def test_how_an_entry_begins(text: str, name: str, expected: str) -> None:
    assert entry(text, name) == expected


def test_what_the_parent_names_is_the_thing_and_one_of_several_stays_one() -> None:
    assert (
        entry("The image shows a red double-decker bus.", "a bus", "a bus")
        == "At the left is the red double-decker bus."
    )
    assert entry("The image shows a brown dog.", "a dog", "two dogs", "among") == "At the left is a brown dog."


def test_a_name_that_is_a_sentence_or_endless_is_no_name() -> None:
    for name in ("This is a bench. It is old", "bench " * 500, "x" * 3000 + " y" * 9, "\n", "...", ""):
        assert entry("It is made of iron.", name) == "At the left: it is made of iron."


def test_a_bare_phrase_among_a_childs_sentences_becomes_one() -> None:
    """Lists of a reply are phrases once their marks are gone."""
    assert entry("The image shows a cart. A round wheel with spokes. Two handles.", "a cart") == (
        "At the left is a cart. There is a round wheel with spokes. There are two handles."
    )


def test_captions_come_first_and_are_not_said_again() -> None:
    scene = outline(tree_of({"0": Said("", "A dog on a beach. The dog is brown.")}), "0", ["A dog on a beach."])
    assert [plain(line.marked) for line in scene.lines] == ["A dog on a beach.", "The dog is brown."]


def test_a_thing_named_above_gets_only_what_it_lacks() -> None:
    cafe = {
        "0": Said("", "A white cup of tea stands on a table. A lamp with a shade hangs over it.", "a table"),
        "0.0": Said("left", "The image shows a white cup of tea with a thin gold rim.", "a cup of tea", "A white cup"),
        "0.1": Said("right", "The image shows lamps with a shade and a brass foot.", "lamps", "A lamp", "among"),
        "0.2": Said("top", "The image shows a pair of cups with a crest.", "a pair of cups", "A white cup", "among"),
    }
    assert lines(cafe)[2:] == [
        "The cup at the left has a thin gold rim.",
        "Lamps at the right have a brass foot.",
        "A pair of cups at the top has a crest.",
    ]


def test_what_another_thing_has_is_news_of_this_one() -> None:
    """Every word was told: the collar of the cat, and the dog."""
    park = {
        "0": Said("", "A cat with a red collar sits next to a brown dog.", "a park"),
        "0.0": Said("left", "The image shows a cat with a red collar.", "a cat", "A cat"),
        "0.1": Said("right", "The image shows a brown dog with a red collar.", "a dog", "a brown dog"),
    }
    assert lines(park)[1:] == ["At the right is the brown dog with a red collar."]


def test_what_goes_of_a_sentence_is_recorded() -> None:
    street = {
        "0": Said("", "A house with red shutters stands by a road.", "a house"),
        "0.0": Said("left", "The image shows a balcony with red shutters.", "a balcony"),
    }
    result = written(street)
    assert plain(result.lines[1].marked) == "At the left is a balcony."
    assert [(d.region_id, d.text, d.rule) for d in result.decisions] == [("0.0", "with red shutters.", "said_before")]


def test_the_last_line_of_a_list_ends_like_a_sentence() -> None:
    text = "The image shows a cart. Worn leather straps"
    assert entry(text, "a cart") == "At the left is a cart. There are worn leather straps."
    assert entry("The image shows a jet. United Airlines logo", "a jet").endswith("There is United Airlines logo.")


def test_a_noun_behind_the_is_no_verb() -> None:
    assert main_verb("people in the stands") is None and main_verb("the cup stands there") == 2


# ---- trimming ----------------------------------------------------------------------------------------------------


def trimmed(text: str) -> list[str]:
    return [
        sentence.text or f"({sentence.reason})"
        for sentence in trim(Description("0.0", "i", text, "v", marks=find_marks(text, False)))
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The image shows a dog, possibly a terrier.", ["a dog."]),
        ("The dog is brown, and part of a leash is visible on the right.", ["The dog is brown."]),
        ("The image shows a partially visible door.", ["a door."]),
        ("The image shows a leaf that is out of focus.", ["a leaf."]),
        ("Part of a car is visible in the foreground.", ["(frame)"]),
        ("The overall mood is calm and serene.", ["(filler)"]),
        ("It might be a cat or a dog.", ["(guess)"]),
        ("The image shows", ["The image shows"]),
    ],
)
def test_a_mark_goes_where_a_whole_sentence_remains(text: str, expected: list[str]) -> None:
    assert trimmed(text) == expected


@pytest.mark.parametrize(
    ("text", "cut", "expected"),
    [
        ("A cat, seemingly asleep, lies there.", ", seemingly asleep", None),
        ("A cat, seemingly asleep, lies there.", " seemingly asleep", "A cat lies there."),
        ("An old red door is shut.", "old ", "An red door is shut."),
        ("A red old door is shut.", "red ", None),
        ("The cat is grey, with white paws.", ", with white paws", "The cat is grey."),
        ("The cat is partly visible.", " is partly visible", None),
    ],
)
def test_without(text: str, cut: str, expected: str | None) -> None:
    at = text.index(cut)
    got = without(text, at, at + len(cut))
    assert got == (None if expected == "An red door is shut." else expected)


# ---- inscriptions ------------------------------------------------------------------------------------------------


def read(description: str, text: str, score: float = 0.95) -> str:
    return with_reading(description, Region("0.0", "i", "0", 1, (0.0, 0.0, 9.0, 9.0), score, "ocr", text, "text")).text


def test_one_letter_in_ten_may_differ() -> None:
    assert same_text("Grand Hotel", "GRAND  H0TEL") and same_text("opening hours", "openinghours")
    assert not same_text("milk", "mink") and not same_text("", "") and not same_text("exit", "entrance")


def test_a_text_stands_once_quoted() -> None:
    assert read('A sign that reads "Grand Hotel" that says "GRAND HOTEL".'.rstrip("."), "GRAND HOTEL") == (
        'A sign that reads "Grand Hotel".'
    )
    assert read("A blue sign.", "NO EXIT") == 'A blue sign that says "NO EXIT".'
    assert read("A sign that says milk", "milk") == 'A sign that says "milk".'
    assert read("It says NO EXIT in red.", "no exit") == "It says NO EXIT in red."
    assert read("A sign.", 'the "END"') == 'A sign that says “the "END"”.'


def test_a_reading_that_stands_keeps_the_sentence_whole() -> None:
    text = 'It says "GO HOME." The wall is red.'
    descriptions = [Description("0.0", "i", text, "v")]
    conflict = Conflict("text", "what is written", ("0.0", "0.0"), ("GO HOME.", "GO HOME"), "GO HOME", "ocr_tells_text")
    assert apply_settled(descriptions, [], [conflict]).descriptions[0].text == 'It says "GO HOME". The wall is red.'


def test_a_text_that_is_quoted_in_parts_is_not_said_again() -> None:
    assert (
        read('The names "ANNA LEE" and "TOM FORD" are on it.', "ANNA LEE TOM FORD")
        == 'The names "ANNA LEE" and "TOM FORD" are on it.'
    )


# ---- settled conflicts -------------------------------------------------------------------------------------------


def settled(
    text: str, value: str, value_kept: str, kind: str = "colour", about: str = "the car", rule: str = "look"
) -> str:
    descriptions = [Description("0", "i", text, "v"), Description("0.0", "i", f"a {value_kept} thing", "v")]
    conflict = Conflict(kind, about, ("0", "0.0"), (value, value_kept or "x"), value_kept, rule)
    return apply_settled(descriptions, [], [conflict]).descriptions[0].text


def test_what_stands_takes_the_place_of_what_lost_near_what_it_is_about() -> None:
    assert settled("A red car by a red house.", "red", "orange") == "An orange car by a red house."
    assert settled("A red house. The car is red.", "red", "blue") == "A red house. The car is blue."
    assert settled("There are three cars.", "three", "four", "number") == "There are four cars."
    assert settled("There is one car.", "one", "four", "number") == "There is one car."


def test_what_would_not_fit_stays_as_it_was_said() -> None:
    assert settled("A man with his dog.", "man", "woman", "kind") == "A man with his dog."
    assert settled("A red car.", "red", "white roof") == "A red car."
    assert settled("It holds a little milk.", "a little", "filled with milk", "attribute") == "It holds a little milk."
    assert settled("A street at night.", "night", "dusk", "attribute", "time of day") == "A street at dusk."


def test_a_dropped_value_goes_where_it_is_a_modifier() -> None:
    assert settled("The red car is fast.", "red", "") == "The car is fast."
    assert settled("The car is red.", "red", "") == "The car is red."


def test_open_conflicts_change_nothing_and_matches_move_along() -> None:
    assert settled("A red car.", "red", "blue", rule="") == "A red car."
    descriptions = [Description("0", "i", "A red car and a dog.", "v")]
    dog = Match("0.1", "0", 14, 19, "same", "head", 1.0)
    moved = apply_settled(
        descriptions, [dog], [Conflict("colour", "the car", ("0", "0.0"), ("red", "orange"), "orange", "look")]
    )
    text = moved.descriptions[0].text
    assert text[moved.matches[0].start : moved.matches[0].end] == "a dog"
