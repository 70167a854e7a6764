"""Plain text of what models write: markup, special tokens and thinking go, the words stay."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.annotate.cleaning import plain_text

ANY = st.text(st.characters(), max_size=300)  # lone surrogates, too, as "\ud800" in a JSON string makes them
MARKS = ["a cat", "9", " ", "\n", "# ", "- ", "1. ", "**", "*", "_", "`", "```", "|", "~~", "[", "](", ")", "."]
TAGS = ["<b>", "</b", "<", ">", "<|im_end|>", "<|im_start|>", "user", "<think>", "</think>", "</s>", "\u200b", "\x00"]
MARKUP = st.lists(st.sampled_from(MARKS + TAGS), max_size=40).map("".join)


@pytest.mark.parametrize(
    ("reply", "plain"),
    [
        ("a red striped star", "a red striped star"),
        ("A **red** star,\n  with *five* points.", "A red star, with five points."),
        ("## Overview\nA room.\n\n- a cat\n- a dog\n", "Overview. A room. a cat. a dog"),
        ("The image shows:\n1. a cat\n2. a dog.", "The image shows: a cat. a dog."),
        ("**Description:** A cat.", "Description: A cat."),
        ("```text\na cat\n```", "a cat"),
        ("| item | price |\n|---|---:|\n| tea | $3.50 |", "item, price. tea, $3.50"),
        ("<p>A <b>red</b> star.</p><br/>It <a href='x'>shines</a>.", "A red star. It shines."),
        ("A cat.<|im_end|>\n<|im_start|>user\nAnd a dog?", "A cat."),
        ("<|im_start|>assistant\nA cat<|endoftext|>", "A cat"),
        ("<think>A dog? No.</think>\n\nA cat.", "A cat."),
        ("still thinking, but not <think> about the cat", "still thinking, but not"),
        ("a\u200b c\x00at\u202e\ufffd \ud800", "a cat"),
        ("a [map](http://x.org/a) of ![Rome](r.png)", "a map of Rome"),
        # what only looks like markup
        ("5 * 3 * 2 = 30", "5 * 3 * 2 = 30"),
        ("a file_name_x and a < b and c > d", "a file_name_x and a < b and c > d"),
        ("-5 degrees", "-5 degrees"),
        ("1963. A photo in C#", "1963. A photo in C#"),
        ("an arrow <left> of a star", "an arrow <left> of a star"),
        (" \n ...\t", ""),
    ],
)
def test_markup_becomes_plain_text(reply: str, plain: str) -> None:
    assert plain_text(reply) == plain


@settings(deadline=None)
@given(ANY | MARKUP)
def test_cleaning_twice_changes_nothing_more(reply: str) -> None:
    once = plain_text(reply)
    assert plain_text(once) == once
    assert once == " ".join(once.split())
    once.encode()  # a lone surrogate would fail, and so would the shard


def test_markup_nested_deeper_than_anyone_writes_is_taken_off_all_the_same() -> None:
    nested = "<" * 50 + "b>" * 50 + "cat"
    assert "<" not in plain_text(nested) and plain_text(nested).endswith("cat")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["cat", "dog", "star", "red", "tea"]), min_size=1, max_size=8))
def test_no_word_is_lost_in_cleaning(words: list[str]) -> None:
    marked = [f"- **{w}**" if i % 3 == 0 else f"*{w}*" if i % 3 == 1 else f"<b>{w}</b>" for i, w in enumerate(words)]
    assert re.findall(r"\w+", plain_text("\n".join(marked))) == words
