"""Question-answer pairs of a shard: parsed, filtered with reasons, asked again; all that was written is counted."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from ouro.annotate.pairs.filters import acceptance
from ouro.annotate.pairs.replies import Leftover, Written, parse_pairs, parse_reply
from ouro.annotate.prompts import ASPECTS, answer_prompt, synthesis_prompt
from ouro.annotate.synthesize import Synthesized, synthesize_shard
from ouro.core.artifacts import read_shard, read_sidecar, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Model, Params, Synthesize
from ouro.core.records import Image, QAPair, Scene
from ouro.nano.ideal import merged_description
from ouro.nano.scenes import draw_scene, render
from ouro.nano.support import check_pair
from ouro.nano.writer import TemplateWriter
from ouro.vision.scripted import ScriptedVLM
from tasks.synthesize import synthesize

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


@pytest.mark.parametrize(
    ("reply", "question", "answer"),
    [
        ("Q: How much is it? A: $3.50.", "How much is it?", "$3.50"),
        ("Q: Who is it? A: Dr. Smith.", "Who is it?", "Dr. Smith"),
        ("Q: How far is it? A: approx. 5 m.", "How far is it?", "approx. 5 m"),
        ("Q: Whose flag is it?\nA: U.S.", "Whose flag is it?", "U.S."),
        ("1. Q: What color is it? A: Red.", "What color is it?", "Red"),
        ("2) What color is it?\n   Red.", "What color is it?", "Red"),
        ("- Q: What color is it?\n- A:\nRed", "What color is it?", "Red"),
        ("**Q:** What color is it? **A:** Red", "What color is it?", "Red"),
        ("**Question 3:** What color is it?\n**Answer:** Red.", "What color is it?", "Red"),
        ("Q: How many are there? A: 5.", "How many are there?", "5"),
        ("how much is it? 3.50.", "how much is it?", "3.50"),
    ],
)
def test_marks_go_and_stops_inside_an_answer_stay(reply: str, question: str, answer: str) -> None:
    assert parse_reply(reply) == [Written(question, answer)]


def test_what_is_no_pair_is_left_over_in_its_place() -> None:
    reply = (
        f"Here are the pairs:\n\nQ: What is it? A: {'long ' * 30}\nQ: What color? A: Red. It is red.\n"
        "Q: Name it. A: A star\nwhat shape is it? what size is it? small."
    )
    got = parse_reply(reply)
    assert [p for p in got if isinstance(p, Written)] == [
        Written("What color?", "Red"),
        Written("what size is it?", "small"),
    ]
    assert [p.text for p in got if isinstance(p, Leftover)] == [
        "Here are the pairs:",
        f"What is it? {'long ' * 30}".strip(),
        "It is red",
        "Name it",
        "A star",
        "what shape is it?",
    ]
    assert {p.reason for p in got if isinstance(p, Leftover)} == {"unparsable"}


def test_a_last_answer_is_cut_off_only_where_that_is_known() -> None:
    whole, short = Written("What shape is it?", "re"), Leftover("What shape is it? re", "cut_off")
    cut = "Q: What color is it? A: Red.\nQ: What shape is it? A: re"
    assert parse_reply(cut, 40)[-1] == short
    assert parse_reply("what color is it? red. What shape is it? re", 40)[-1] == short
    assert parse_reply(cut, 400)[-1] == whole  # 56 bytes are fewer than 400 tokens
    assert parse_reply(cut + ".", 40)[-1] == parse_reply(cut + "\n", 40)[-1] == whole
    assert parse_reply(cut.replace("Red.", "Red"), 40)[-1] == whole  # this model writes no full stops
    assert parse_reply("Q: What shape is it? A: re", 10) == [whole]


@settings(deadline=None)
@given(st.text(max_size=200))
def test_parsing_garbage_never_fails(reply: str) -> None:
    assert all(p.question.endswith("?") and p.answer for p in parse_pairs(reply))


TOKENS = ["red", "blue.", "what is it?", "Q:", "A2:", "\n", "**", "Dr.", "\n- ", "\n3. ", "long " * 40]


@settings(deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=12), st.integers(0, 50))
def test_parsing_loses_no_word_and_keeps_their_order(tokens: list[str], limit: int) -> None:
    reply = " ".join(tokens)
    got = " ".join(" ".join(p) if isinstance(p, Written) else p.text for p in parse_reply(reply, limit))
    words = re.compile(r"red|blue|what|is|it|Dr|long")
    assert words.findall(got) == words.findall(reply)


def test_written_is_kept_plus_rejected_and_duplicates_are_dropped() -> None:
    reply = "what color is the circle? blue. what color is the circle? blue. what color is the circle on it? pink."
    params = Synthesize(aspects=("style", "object details"), template="nano")
    prompt = {synthesis_prompt("nano", a, TEXT): r for a, r in (("style", reply), ("object details", "no idea"))}
    scene = Scene("i", TEXT, (), ())
    picture = PILImage.new("RGB", (32, 32))
    kept, rejected, n_in = synthesize_shard({"i": picture}, [scene], ScriptedVLM(prompt), params, rules=check_pair)
    assert [(p.question, p.answer, p.aspect) for p in kept] == [("what color is the circle?", "blue", "style")]
    assert sorted(r.reason for r in rejected) == ["answer_not_in_description", "duplicate_question", "unparsable"]
    assert n_in == 4


def test_what_a_reply_leaves_over_is_counted_and_rejected_with_its_text() -> None:
    reply = "Sure!\nQ: What color is the circle? A: Blue.\nQ: What color is the shelf? A: gr"
    params = Synthesize(aspects=("style",), template="instructed", max_new_tokens=40)
    vlm = ScriptedVLM({synthesis_prompt("instructed", "style", TEXT): reply})
    kept, rejected, n_in = synthesize_shard(
        {"i": PILImage.new("RGB", (32, 32))}, [Scene("i", TEXT, (), ())], vlm, params
    )
    assert [(p.question, p.answer) for p in kept] == [("What color is the circle?", "Blue")]
    assert [(r.record_id, r.reason, r.detail) for r in rejected] == [
        ("i/style/0", "unparsable", "Sure!"),
        ("i/style/2", "cut_off", "What color is the shelf? gr"),
    ]
    assert n_in == 3


def test_every_aspect_has_a_prompt_in_every_template() -> None:
    for aspect in ASPECTS:
        assert aspect in synthesis_prompt("nano", aspect, "d") and aspect in synthesis_prompt("instructed", aspect, "d")


# ---- filters and the round trip -----------------------------------------------------------------------------


REPLY = (
    "what color is the circle? blue. what color is the circle on the table? blue. "
    "what color is the blue circle? blue. what pattern is the star on the shelf? solid. "
    "is there a red star? yes. is there a milk? yes. is there a green star? yes. how many tables are there? one."
)


def _made(params: Synthesize, answers: dict[str, str] | None = None) -> Synthesized:
    writer = ScriptedVLM({synthesis_prompt(params.template, params.aspects[0], TEXT): REPLY})
    answerer = ScriptedVLM({answer_prompt(params.template, q): a for q, a in answers.items()}) if answers else None
    picture = {"i": PILImage.new("RGB", (32, 32))}
    told: list[int] = []
    made = synthesize_shard(
        picture, [Scene("i", TEXT, (), ())], writer, params, None, answerer, told.append, check_pair
    )
    assert made.n_in == len(made.pairs) + len(made.rejected) == 8
    assert sum(told) == (len(answerer.asked) if answerer else 0)
    return made


def test_every_filter_has_its_reason_and_none_of_those_with_a_knob_is_on_by_default() -> None:
    params = Synthesize(aspects=("style",))
    assert [r.reason for r in _made(params).rejected] == ["leaks_answer", "not_checkable"]
    strict = params.model_copy(update={"max_similarity": 0.7, "max_yes_no": 0.5})
    made = _made(strict)
    assert [(r.record_id, r.reason) for r in made.rejected] == [
        ("i/style/1", "near_duplicate_question"),  # "on", "table": 2 * 3 of 8 words are those of the first
        ("i/style/2", "leaks_answer"),
        ("i/style/5", "not_checkable"),
        ("i/style/6", "yes_no_surplus"),
    ]
    assert [p.answer for p in made.pairs] == ["blue", "solid", "yes", "one"]
    assert acceptance(made.pairs, made.rejected) == {"style": [4, 8]}


ALONE = {
    "what color is the circle?": "It is blue.",  # F1 with "blue": 2 * 1 of 1 + 3 words
    "what color is the circle on the table?": "red",
    "what pattern is the star on the shelf?": "<b>Solid</b>",
    "is there a red star?": "Yes, there is.",
    "is there a green star?": "no",
    "how many tables are there?": "1",
}


def test_a_round_trip_asks_with_the_image_alone_and_keeps_what_agrees_with_its_confidence() -> None:
    made = _made(Synthesize(aspects=("style",), round_trip=True, min_agreement=0.5), ALONE)
    assert [(p.answer, p.confidence) for p in made.pairs] == [("blue", 0.5), ("solid", 1.0), ("yes", 1.0), ("one", 1.0)]
    disagreeing = [r for r in made.rejected if r.reason == "disagrees_with_image"]
    assert [(r.record_id, r.detail) for r in disagreeing] == [
        ("i/style/1", "what color is the circle on the table? blue; from the image alone: red"),
        ("i/style/6", "is there a green star? yes; from the image alone: no"),
    ]
    assert [p.confidence for p in _made(Synthesize(aspects=("style",))).pairs] == [None] * 6


def test_the_share_of_yes_and_no_is_that_of_the_pairs_that_the_round_trip_left() -> None:
    """Without it there were two of yes; the one that it leaves needs no filter."""
    made = _made(Synthesize(aspects=("style",), round_trip=True, max_yes_no=0.5), ALONE)
    assert "yes_no_surplus" not in {r.reason for r in made.rejected}
    assert "yes" in {p.answer for p in made.pairs}


def test_the_writer_sees_image_prompt_and_description_and_the_answerer_no_description() -> None:
    """Eq. 5: VLM(I, P, d0)."""
    writer, answerer = ScriptedVLM(lambda r: REPLY), ScriptedVLM(lambda r: "blue")
    picture = PILImage.new("RGB", (32, 32))
    params = Synthesize(template="instructed", max_pixels=777)
    synthesize_shard({"i": picture}, [Scene("i", TEXT, (), ())], writer, params, answerer=answerer, rules=check_pair)
    assert [r.images for r in writer.asked] == [(picture,)] * 5 and {r.max_pixels for r in writer.asked} == {(777,)}
    assert all(a in r.prompt and TEXT in r.prompt for a, r in zip(params.aspects, writer.asked, strict=True))
    assert len(answerer.asked) == 6 and {r.max_pixels for r in answerer.asked} == {(777,)}
    assert all(r.images == (picture,) and "table at the top left" not in r.prompt for r in answerer.asked)


def test_good_pairs_of_nano_leak_no_answer_and_are_no_near_duplicates_of_each_other() -> None:
    scenes = [Scene(f"i{n}", merged_description(draw_scene(np.random.default_rng([9, n]))), (), ()) for n in range(12)]
    pictures = {s.image_id: PILImage.new("RGB", (8, 8)) for s in scenes}
    made = synthesize_shard(pictures, scenes, TemplateWriter(), Synthesize(max_similarity=0.95), rules=check_pair)
    assert len(made.pairs) > 400
    assert {r.reason for r in made.rejected} <= {"duplicate_question"}


@settings(deadline=None)
@given(st.lists(st.text(st.characters(), max_size=80), min_size=5, max_size=5))
def test_whatever_is_written_is_kept_or_rejected_and_fits_into_a_shard(replies: list[str]) -> None:
    left = iter(replies)
    params = Synthesize(max_similarity=0.8, max_yes_no=0.3)
    made = synthesize_shard(
        {"i": PILImage.new("RGB", (8, 8))}, [Scene("i", TEXT, (), ())], ScriptedVLM(lambda r: next(left)), params
    )
    assert made.n_in == len(made.pairs) + len(made.rejected) >= 5
    assert sum(written for _, written in acceptance(made.pairs, made.rejected).values()) == made.n_in
    "".join(r.detail for r in made.rejected).encode()


@pytest.mark.usefixtures("one_thread")
def test_the_task_asks_the_shipped_model_again_and_notes_acceptance_by_aspect(tmp_path: Path) -> None:
    """Templates write from the true description; the model, which sees full scenes only coarsely, agrees in part."""
    name, layout = "shard-00000.parquet", Layout(tmp_path, tmp_path / ".cache")
    scene = draw_scene(np.random.default_rng(1))
    (tmp_path / "images" / "shard-00000").mkdir(parents=True)
    PILImage.fromarray(render(scene)).save(tmp_path / "images" / "shard-00000" / "i.png")
    write_shard(layout.images / name, Image, [Image("i", "shard-00000/i.png", 256, 256, "i.png")], n_in=1)
    write_shard(layout.scenes / name, Scene, [Scene("i", merged_description(scene), (), ())], n_in=1)
    model = Model(base=str(Path(__file__).parent.parent / "models" / "nano"), dtype="float32", processes=1)
    params = Params(model=model, synthesize=Synthesize(aspects=("object details", "interactions"), round_trip=True))
    done: list[int] = []
    synthesize.fn(name, layout, params, done.append)
    pairs, sidecar = read_shard(layout.qa / name, QAPair), read_sidecar(layout.qa / name)
    assert sum(done) == 2 and pairs and all(p.confidence is not None and p.confidence >= 0.5 for p in pairs)
    assert sidecar.rejected["disagrees_with_image"] > 0
    aspects = sidecar.meta["aspects"]
    assert Counter({a: kept for a, (kept, _) in aspects.items()}) == Counter(p.aspect for p in pairs)
    assert sum(written for _, written in aspects.values()) == sidecar.n_in
