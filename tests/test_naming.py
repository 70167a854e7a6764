"""Names of main objects: what is a name, what is none and why; nano's own are derived from its template."""

from __future__ import annotations

import pytest

from ouro.annotate.naming import OUTCOMES, clean_name
from ouro.nano.naming import derive_name
from ouro.vision.protocols import Refused

ENDLESS = "a cup and " * 100_000


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        ("a red cup.", "a red cup"),
        ("A red cup", "a red cup"),
        (' "A red cup." ', "a red cup"),
        ("“the helmet”", "the helmet"),
        ("Eiffel Tower", "Eiffel Tower"),
        ("St. Bernard dog", "St. Bernard dog"),
        ("**Main object:** a red cup", "a red cup"),
        ("Name: traffic light", "traffic light"),
        ("The main object in the image is a red cup.", "a red cup"),
        ("It's a watering can.", "a watering can"),
        ("a man who is smiling", "a man who is smiling"),
        ("Cup\n\nThe cup is red and stands on a table.", "Cup"),
        ("1. a cup\n2. a table", "a cup"),
        ("# A cat", "a cat"),
        ("<|im_start|>assistant\nA cat<|im_end|><|im_end|>", "a cat"),
        ("<think>It could be a dog.</think>\nthe name tag", "the name tag"),
        ("a cup\x00\u200b of   tea", "a cup of tea"),
        ("<b>a cup</b>", "a cup"),
    ],
)
def test_a_noun_phrase_is_found_in_what_is_around_it(reply: str, name: str) -> None:
    assert clean_name(reply) == (name, "kept")


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("", "empty"),
        (" \n ...", "empty"),
        ("None.", "empty"),
        ("The main object is", "sentence"),
        ("The cup is red", "sentence"),
        ("I'm sorry, I can't help with that", "sentence"),
        ("a cup. It stands there", "sentence"),
        ("x" * 3000, "too_long"),
        ("a large and old and very heavy cup of blue glass with a long handle", "too_long"),
        (ENDLESS, "too_long"),
        ('{"name": "cup"}', "markup"),
        ("一只猫", "other_script"),
        (Refused("too large"), "refused"),
    ],
)
def test_what_is_no_name_is_empty_for_one_reason(reply: str, outcome: str) -> None:
    assert clean_name(reply) == ("", outcome)
    assert outcome in OUTCOMES


def test_another_script_is_welcome_where_the_prompt_is_written_in_it() -> None:
    assert clean_name("一只猫。", "描述这张图片。") == ("一只猫", "kept")


def test_an_endless_reply_is_no_name() -> None:
    assert clean_name("<" * 300_000).text == clean_name("|" * 300_000).text == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a red striped ring", "a red striped ring"),
        ("a table with a ring and a star", "a table"),
        ("a board that says milk", "a board"),
        ("a box with a sign that says tea", "a box"),
        ("a sign that says milk", "a sign"),
        ("a shelf", "a shelf"),
        ("a table and a box with some objects", ""),
        ("a table, a shelf and a box with some objects", ""),
        ("a ring and a star", ""),
        ("text that says milk", ""),
        ("The image shows a table.", ""),
    ],
)
def test_nano_s_names_are_those_of_its_template(text: str, name: str) -> None:
    assert derive_name(text) == name
