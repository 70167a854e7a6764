"""Question-answer pairs: parsed, deduplicated, kept only when the description bears them out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from ouro.annotate.prompts import ASPECTS, synthesis_prompt
from ouro.annotate.synthesize import Written, parse_pairs, support, synthesize_shard
from ouro.params import Synthesize
from ouro.records import Scene
from ouro.vision.scripted import ScriptedVLM

TEXT = (
    "a table at the top left and a shelf at the top right. the table has a red striped star at the top left, a blue "
    "dotted circle at the bottom right and a sign that says milk in the center. the shelf has a green solid star "
    "at the top left."
)


def test_both_reply_forms_are_parsed() -> None:
    sentences = parse_pairs("what color is the star? red. how many stars are there? two.")
    lines = parse_pairs("Q: What color is the star? A: Red.\nQ2: How many? A2: two")
    assert sentences == [Written("what color is the star?", "red"), Written("how many stars are there?", "two")]
    assert lines == [Written("What color is the star?", "Red"), Written("How many?", "two")]


@given(st.text(max_size=200))
def test_parsing_garbage_never_fails(reply: str) -> None:
    assert all(p.question.endswith("?") and p.answer for p in parse_pairs(reply))


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("what color is the circle on the table?", "blue", ""),
        ("what color is the circle on the table?", "red", "attribute_of_another_object"),
        ("what color is the circle on the table?", "purple", "answer_not_in_description"),
        ("what color is the heart on the table?", "red", "question_names_unknown_object"),
        ("what does the sign on the table say?", "milk", ""),
        ("where is the shelf?", "top right", ""),
        ("how many stars are there?", "two", ""),
        ("how many stars are there?", "four", "count_not_supported"),
        ("how many objects are on the table?", "two", ""),
        ("is there a red star?", "yes", ""),
        ("is there a blue star?", "no", ""),
        ("is there a blue star?", "yes", "contradicts_description"),
        ("is there a red star?", "no", "contradicts_description"),
    ],
)
def test_support(question: str, answer: str, reason: str) -> None:
    assert support(Written(question, answer), TEXT) == reason


def test_written_is_kept_plus_rejected_and_duplicates_are_dropped() -> None:
    reply = "what color is the circle? blue. what color is the circle? blue. what color is the circle on it? pink."
    params = Synthesize(aspects=("style", "object details"), template="nano")
    prompt = {synthesis_prompt("nano", a, TEXT): r for a, r in (("style", reply), ("object details", "no idea"))}
    scene = Scene("i", TEXT, (), ())
    picture = PILImage.new("RGB", (32, 32))
    kept, rejected, n_in = synthesize_shard({"i": picture}, [scene], ScriptedVLM(prompt), params)
    assert [(p.question, p.answer, p.aspect) for p in kept] == [("what color is the circle?", "blue", "style")]
    assert sorted(r.reason for r in rejected) == ["answer_not_in_description", "duplicate_question", "unparsable"]
    assert n_in == 4


def test_every_aspect_has_a_prompt_in_every_template() -> None:
    for aspect in ASPECTS:
        assert aspect in synthesis_prompt("nano", aspect, "d") and aspect in synthesis_prompt("instructed", aspect, "d")
