"""Nano's own merge: its grammar reads what its language writes, and joins children by name, place and looks."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from ouro.annotate.merging.provenance import Piece, plain, told_by
from ouro.nano.facts import stated_facts, true_facts
from ouro.nano.grammar import read, write
from ouro.nano.ideal import merged_description
from ouro.nano.merging import merge_nano
from ouro.nano.scenes import draw_scene

SCENES = [draw_scene(np.random.default_rng([41, i])) for i in range(40)]


def merged(parent: str, *children: tuple[str, str]) -> str:
    result = merge_nano(
        Piece(parent, "0"), [((Piece(text, f"0.{i}"),), place) for i, (text, place) in enumerate(children)]
    )
    assert result is not None
    return plain(result.marked)


def test_what_is_written_is_read_and_written_again_as_it_was() -> None:
    for scene in SCENES:
        text = merged_description(scene)
        reading = read((Piece(text, "0"),))
        assert reading is not None and plain(write(reading, "0")) == text
        assert stated_facts(text) == true_facts(asdict(scene))


def test_a_matched_child_replaces_the_vaguer_mention_with_its_place() -> None:
    got = merged("a table with a star and a circle", ("a red striped star", "top left"))
    assert got == "a table with a red striped star at the top left and a circle."


def test_an_unmentioned_part_is_said_to_be_in_the_thing_described() -> None:
    got = merged("a table with a star", ("a blue circle", "left"))
    assert got == "a table with a star and a blue circle at the left."


def test_a_child_with_parts_becomes_a_sentence_of_its_own() -> None:
    got = merged("a table and a shelf with some objects", ("a table with a red star at the left", "top left"))
    assert got == "a table at the top left and a shelf. the table has a red star at the left."


def test_some_objects_stay_when_nothing_specific_replaces_them() -> None:
    assert merged("a table with some objects") == "a table with some objects"


def test_two_children_of_one_name_are_told_by_their_places_then_looks_then_order() -> None:
    two = ("a red star", "left"), ("a blue star", "right")
    assert merged("a star at the right and a star", *two) == "a blue star at the right and a red star at the left."
    assert merged("a blue star and a star", *two) == "a blue star at the right and a red star at the left."
    assert merged("a star and a star", *two) == "a red star at the left and a blue star at the right."


def test_namesakes_are_told_apart_by_their_place() -> None:
    got = merged("a table and a table", ("a table with a star", "left"), ("a table with a ring", "right"))
    assert got == (
        "a table at the left and a table at the right. the table at the left has a star. the table at the right has a "
        "ring."
    )


def test_the_close_up_tells_looks_and_the_loser_is_recorded() -> None:
    result = merge_nano(Piece("a table with a red star", "0"), [((Piece("a blue star", "0.0"),), "left")])
    assert result is not None and plain(result.marked) == "a table with a blue star at the left."
    assert [(d.kind, d.region_id, d.text) for d in result.decisions] == [("contradiction", "0", "red")]
    assert told_by(result.marked) == ("0", "0.0")


def test_a_detailed_whole_is_merged_into_itself() -> None:
    """A trained annotator describes the whole scene as merging would."""
    for scene in SCENES[:10]:
        text = merged_description(scene)
        children = [(f"a {c.kind}", c.slot) for c in scene.containers]
        assert stated_facts(merged(text, *children)) == stated_facts(text)


def test_what_two_regions_tell_of_one_thing_stands_once() -> None:
    got = merged("a board with a cross", ("a red dotted cross", "top left"), ("a red dotted cross", "top left"))
    assert got == "a board with a red dotted cross at the top left."


def test_the_last_reading_of_a_sign_is_ocrs() -> None:
    assert merged("a table", ("a sign that says mikl that says milk", "center")) == (
        "a table with a sign that says milk in the center."
    )


def test_a_child_in_other_words_is_left_out_and_recorded() -> None:
    result = merge_nano(Piece("a table", "0"), [((Piece("a black dotted", "0.0"),), "left")])
    assert result is not None and plain(result.marked) == "a table."
    assert [(d.region_id, d.text, d.rule) for d in result.decisions] == [
        ("0.0", "a black dotted", "not_nanos_language")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "A table.",
        "a table with",
        "a red",
        "the table has a star",
        "The image shows a table.",
        "a dog",
        "a" * 3000,
    ],
)
def test_text_in_other_words_is_not_merged(text: str) -> None:
    assert merge_nano(Piece(text, "0"), [((Piece("a red star", "0.0"),), "left")]) is None
