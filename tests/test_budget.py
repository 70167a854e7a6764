"""The length budget, and what holds of every merge: nothing crashes, nothing gets lost without a record."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.annotate.english.phrases import singular
from ouro.annotate.merge import Merged, count_words, merge_shard
from ouro.annotate.merging.budget import Size, within_budget
from ouro.annotate.merging.provenance import Marked, Piece, plain
from ouro.core.boxes import area
from ouro.core.params import Merge
from ouro.core.records import Description, Image, Region, Scene
from ouro.nano.facts import quality, repeated_facts

SIZES = {"0": Size(10_000.0, 0), "0.0": Size(900.0, 1), "0.1": Size(100.0, 1), "0.1.0": Size(50.0, 2)}


def short(marked: Marked, max_tokens: int, own: str = "a room") -> tuple[str, list[tuple[str, str]]]:
    text, lost = within_budget(marked, Piece(own, "0"), SIZES, max_tokens, count_words)
    assert all(d.kind == "budget" for d in lost)
    return plain(text), [(d.region_id, d.text) for d in lost]


ROOM: Marked = (
    Piece("a room. ", "0"),
    Piece("there is a red cup at the left. ", "0.0"),
    Piece("there is a dog at the left. ", "0.1"),
    Piece("the dog has ", "0.1"),
    Piece("a red collar.", "0.1.0"),
)  # 3 + 9 + 8 + 7 = 27 words and marks


def test_a_text_within_its_budget_stays() -> None:
    assert short(ROOM, 27) == (plain(ROOM), [])


def test_the_sentence_that_tells_least_goes_first() -> None:
    """Words told once: "cup", "collar"; the dog's sentence is leant on. Of the two, the collar's region is smaller."""
    text, lost = short(ROOM, 26)
    assert text == "a room. there is a red cup at the left. there is a dog at the left."
    assert lost == [("0.1", "the dog has a red collar")]


def test_then_the_next_whose_words_count_again() -> None:
    """Without the collar "dog" is told once, but "cup" and "red" are two words."""
    text, lost = short(ROOM, 19)
    assert text == "a room. there is a red cup at the left."
    assert lost == [("0.1", "there is a dog at the left"), ("0.1", "the dog has a red collar")]


def test_what_others_lean_on_outlives_them() -> None:
    told: Marked = (
        Piece("a cup and a mat. ", "0"),
        Piece("there is a cup on a mat. ", "0.0"),  # no word of its own, but the next speaks of this cup
        Piece("the cup has a golden rim with two chips.", "0.0"),
    )
    text, lost = short(told, 14)
    assert text == "a cup and a mat. there is a cup on a mat."
    assert lost == [("0.0", "the cup has a golden rim with two chips")]


def test_an_opening_that_is_too_long_loses_what_children_put_in() -> None:
    opening: Marked = (Piece("a room with ", "0"), Piece("a red cup at the left", "0.0"), Piece(".", "0"))
    assert short(opening, 6, own="a room with a cup.") == ("a room with a cup.", [("0.0", "a red cup at the left")])


def test_an_endless_sentence_is_cut_at_a_word() -> None:
    endless = "a cup and " * 50
    text, lost = short((Piece(endless, "0"),), 7, own=endless)
    assert text == "a cup and a cup and a"
    assert [r for r, _ in lost] == ["0"] and count_words(text) == 7


def test_an_endless_word_is_cut() -> None:
    text, _ = within_budget((Piece("x" * 90, "0"),), Piece("x" * 90, "0"), SIZES, 20, len)
    assert plain(text) == "x" * 20


# ---- facts -------------------------------------------------------------------------------------------------------


def test_a_fact_said_again_counts_as_repeated() -> None:
    text = "a table at the left. the table has a red star at the top. the table has a red dotted star."
    assert repeated_facts(text) == {("color", "star on table", "red"): 1}
    nothing = {"containers": [], "loose": []}
    q = quality([(text, nothing)])
    assert (q.stated, q.repeated, q.redundancy) == (4, 1, 1 / 5)


# ---- any text ----------------------------------------------------------------------------------------------------

names = st.sampled_from("cup cups mug sofa couch dog animal table sign star box person people".split())
looks = st.sampled_from(["", "red ", "blue ", "large ", "small ", "striped ", "red and white ", "wooden "])
first = st.sampled_from(["a ", "the ", "two ", "his ", "some ", "the second ", "one of the ", ""])
ends = st.sampled_from(
    ["", " with a handle", " at the left", " on the right", " is red", ' that says "a cup. a dog"', ", a cup and a dog"]
)
phrases = st.builds("".join, st.tuples(first, looks, names, ends))
sentence = st.lists(phrases, min_size=1, max_size=3).map(" and ".join)
plausible = st.lists(sentence, min_size=1, max_size=4).map(lambda said: ". ".join(said) + ".")
wild = st.text(alphabet=st.sampled_from("ab .,!?\"“”'’-\n\t<>&é中。ßİ the cup "), max_size=60) | st.text(max_size=60)
texts = plausible | wild


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[Image], list[Region], list[Description]]:
    """One image: a random tree of up to nine regions, random descriptions, some missing, some with OCR text."""
    regions = [Region("i/0", "i", None, 0, (0.0, 0.0, 90.0, 90.0), 1.0, "image", "", "scene")]
    for k in range(draw(st.integers(0, 8))):
        parent = draw(st.sampled_from(regions))
        x, y = draw(st.integers(0, 80)), draw(st.integers(0, 80))
        text = draw(st.sampled_from(["", "", "milk", 'NO "EXIT" HERE', "two words"]))
        kind = "text" if text else "object"
        box = (float(x), float(y), x + 10.0, y + 10.0)
        regions.append(Region(f"i/0.{k}", "i", parent.region_id, parent.level + 1, box, 0.9, "rpn", text, kind))
    said = [Description(r.region_id, "i", draw(texts), "v") for r in regions if r.level == 0 or draw(st.booleans())]
    return [Image("i", "i.png", 90, 90, "s", captions=(draw(texts),))], regions, said


def content(text: str) -> set[str]:
    """Words that carry something: what a merge may rephrase (articles, pronouns, verbs of being) does not count."""
    rephrased = set(
        "a an the one two some of is are has have with and his her their it its he she they this that who which there "
        "in at on".split()
    )
    return {singular(w) for w in re.findall(r"[^\W_]+", text.lower()) if w not in rephrased}


@given(trees(), st.sampled_from(["beside", "concatenated"]))
def test_every_word_is_in_the_scene_or_in_a_decision(
    tree: tuple[list[Image], list[Region], list[Description]], captions: str
) -> None:
    images, regions, said = tree
    [scene], rejected, cut = merge_shard(images, regions, said, Merge(max_tokens=100_000, captions=captions))  # type: ignore[arg-type]
    assert (rejected, cut) == ([], 0)
    told = content(" ".join([scene.text, *(d.text for d in scene.decisions)]))
    assert content(" ".join(d.text for d in said)) <= told


@given(trees(), st.integers(1, 60))
def test_spans_fit_and_no_text_is_over_its_budget(
    tree: tuple[list[Image], list[Region], list[Description]], max_tokens: int
) -> None:
    images, regions, said = tree
    merged = merge_shard(images, regions, said, Merge(max_tokens=max_tokens))
    [scene] = merged.scenes
    assert all(count_words(text) <= max_tokens for _, text in scene.region_texts)
    assert dict(scene.region_texts)["i/0"] == scene.text
    assert [r for r, _ in scene.region_texts] == [
        r.region_id for r in regions if r.region_id in {d.region_id for d in said}
    ]
    check_spans(scene, {r.region_id for r in regions})
    assert merge_shard(images, regions, said, Merge(max_tokens=max_tokens)) == merged


def check_spans(scene: Scene, ids: set[str]) -> None:
    at = 0
    for span in scene.insertions:
        assert at <= span.start < span.end <= len(scene.text) and span.region_id in ids - {"i/0"}
        at = span.end
    at = 0
    for s in scene.sentences:
        assert at <= s.start < s.end <= len(scene.text) and set(s.region_ids) <= ids
        inside = {
            i.region_id
            for i in scene.insertions
            if re.search(r"[^\W_]", scene.text[max(i.start, s.start) : min(i.end, s.end)])
        }
        assert set(s.region_ids) - {"i/0"} == inside
        at = s.end
    assert {d.region_id for d in scene.decisions} <= ids
    assert json.loads(scene.tree)["region_id"] == "i/0"


@pytest.mark.parametrize("said", ["a {} cup", "a red mug with a {}. it has a {}", "{}"])
def test_two_hundred_children_are_merged_whole(said: str) -> None:
    """Each child says a word of its own, which has to come out again."""
    boxes = [(10.0 * (k % 20), 10.0 * (k // 20), 10.0 * (k % 20) + 9, 10.0 * (k // 20) + 9) for k in range(200)]
    regions = [Region("i/0", "i", None, 0, (0.0, 0.0, 200.0, 100.0), 1.0, "image", "", "scene")]
    regions += [Region(f"i/0.{k}", "i", "i/0", 1, box, 0.9, "rpn") for k, box in enumerate(boxes)]
    descriptions = [Description("i/0", "i", "a shop with many cups and a mug", "v")]
    descriptions += [Description(f"i/0.{k}", "i", said.format(f"w{k}", f"v{k}"), "v") for k in range(200)]
    merged: Merged = merge_shard([Image("i", "i.png", 200, 100, "s")], regions, descriptions, Merge(max_tokens=100_000))
    assert {f"w{k}" for k in range(200)} <= content(merged.scenes[0].text)
    assert area(boxes[0]) == 81.0
