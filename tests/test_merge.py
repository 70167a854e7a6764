"""Merge (eq. 4): object-name matching, relative positions, provenance, redundancy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.annotate.merge import Piece, merge_shard, merge_text, noun_phrases, plain, singular
from ouro.artifacts import read_shard, read_sidecar, write_shard
from ouro.params import Merge, Params
from ouro.records import Description, Image, Region, Scene
from tasks.layout import Layout
from tasks.merge import merge


def piece(text: str, region: str) -> tuple[Piece, ...]:
    return (Piece(text, region),)


def merged(own: str, *children: tuple[str, str]) -> str:
    parts = [(piece(text, f"0.{i}"), position) for i, (text, position) in enumerate(children)]
    return plain(merge_text(Piece(own, "0"), parts))


def test_noun_phrases_end_before_boundary_words() -> None:
    found = noun_phrases("a red striped star on the old table, two cars")
    assert [p.words for p in found] == [("a", "red", "striped", "star"), ("the", "old", "table"), ("two", "cars")]


def test_nouns_that_end_in_ing_are_not_taken_for_participles() -> None:
    assert [p.head for p in noun_phrases("a ring and a man riding a horse")] == ["ring", "man", "horse"]


def test_singular_by_ending() -> None:
    assert [singular(w) for w in ("crosses", "boxes", "stars", "glass", "bus")] == [
        "cross",
        "box",
        "star",
        "glass",
        "bus",
    ]


def test_a_matched_child_replaces_the_vaguer_mention_with_its_position() -> None:
    got = merged("a table with a star and a circle", ("a red striped star", "top left"))
    assert got == "a table with a red striped star at the top left and a circle."


def test_an_unmentioned_child_is_appended() -> None:
    assert merged("a table", ("a green solid ring", "center")) == "a table. there is a green solid ring in the center."


def test_an_unmentioned_part_is_said_to_be_in_the_thing_described() -> None:
    got = merged("a table with a star", ("a blue circle", "left"))
    assert got == "a table with a star. the table has a blue circle at the left."


def test_a_child_with_parts_becomes_a_sentence_of_its_own() -> None:
    got = merged("a table and a shelf with some objects", ("a table with a red star at the left", "top left"))
    assert got == "a table at the top left and a shelf. the table has a red star at the left."


def test_vague_mentions_stay_when_nothing_specific_replaces_them() -> None:
    assert merged("a table with some objects") == "a table with some objects"


def test_merge_keeps_the_more_detailed_parent_phrase() -> None:
    got = merged("a large red wooden table", ("a table", "left"))
    assert got == "a large red wooden table at the left."


def test_two_children_of_one_name_take_two_mentions_in_order() -> None:
    got = merged("a star and a star", ("a red star", "left"), ("a blue star", "right"))
    assert got == "a red star at the left and a blue star at the right."


def test_two_children_of_one_name_are_told_by_their_places() -> None:
    table = "a table with a star. the table has a blue circle at the top."
    got = merged("a table and a table", (table, "left"), ("a table with a ring", "right"), ("a box with a cup", "top"))
    assert got == (
        "a table at the left and a table at the right. the table at the left has a star. the table at the left has a "
        "blue circle at the top. the table at the right has a ring. there is a box at the top. the box has a cup."
    )


def test_a_plural_mention_is_not_replaced_by_one_child() -> None:
    got = merged("two cars in a street", ("a blue car", "left"))
    assert got == "two cars in a street. there is a blue car at the left."


def test_a_childs_capital_article_is_lowered_inside_the_sentence() -> None:
    assert merged("A dog.", ("A brown dog", "left")) == "a brown dog at the left."


def test_an_empty_child_adds_nothing() -> None:
    assert merged("a table", ("", "left")) == "a table."


words = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x1f"), max_size=40)


@given(own=words, children=st.lists(words, max_size=4))
def test_merging_any_text_never_fails_and_keeps_unmatched_children(own: str, children: list[str]) -> None:
    text = merged(own, *[(c, "left") for c in children])
    for child in children:
        for word in child.split():
            if not noun_phrases(child) and word.strip(". "):
                assert word.strip(". ") in text


def _tree() -> tuple[list[Image], list[Region], list[Description]]:
    image = Image("i", "i.png", 100, 100, "s")
    boxes = {"i/0": (0, 0, 100, 100), "i/0.0": (0, 0, 40, 40), "i/0.0.0": (0, 0, 10, 10)}
    parents = {"i/0": None, "i/0.0": "i/0", "i/0.0.0": "i/0.0"}
    regions = [
        Region(r, "i", parents[r], r.count("."), tuple(map(float, box)), 1.0, "rpn")  # type: ignore[arg-type]
        for r, box in boxes.items()
    ]
    texts = {"i/0": "a table with some objects", "i/0.0": "a table with a star", "i/0.0.0": "a red star"}
    return [image], regions, [Description(r, "i", t, "v") for r, t in texts.items()]


def test_insertions_say_which_region_each_stretch_came_from() -> None:
    images, regions, said = _tree()
    [scene], rejected, cut = merge_shard(images, regions, said, Merge())
    assert (rejected, cut) == ([], 0)
    assert scene.text == "a table at the top left. the table has a red star at the top left."
    came = {(scene.text[i.start : i.end], i.region_id) for i in scene.insertions}
    assert ("a red star at the top left", "i/0.0.0") in came
    assert dict(scene.region_texts)["i/0.0"] == "a table with a red star at the top left."


def test_an_image_without_a_description_is_rejected_with_a_reason() -> None:
    images, regions, said = _tree()
    scenes, rejected, _ = merge_shard(images, regions, said[1:], Merge())
    assert scenes == [] and [r.reason for r in rejected] == ["not_described"]


def test_the_parts_of_a_region_without_a_description_join_the_region_above_it() -> None:
    """The star lies at the top left of the table and of the image; the table was rejected as "empty_reply"."""
    images, regions, said = _tree()
    [scene], _, _ = merge_shard(images, regions, [said[0], said[2]], Merge())
    assert scene.text == "a table. there is a red star at the top left."
    assert {i.region_id for i in scene.insertions} == {"i/0.0.0"}
    assert [r for r, _ in scene.region_texts] == ["i/0", "i/0.0.0"]


def test_long_descriptions_are_cut_at_a_sentence_and_counted() -> None:
    images, regions, said = _tree()
    [scene], _, cut = merge_shard(images, regions, said, Merge(max_words=8))
    assert (scene.text, cut) == ("a table at the top left.", 1)


def test_the_sidecar_and_the_log_say_how_many_scenes_were_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name, layout = "shard-00000.parquet", Layout(tmp_path, tmp_path / "cache")
    images, regions, said = _tree()
    write_shard(layout.images / name, Image, images, n_in=1)
    write_shard(layout.regions / name, Region, regions, n_in=3)
    write_shard(layout.descriptions / name, Description, said, n_in=3)
    whole = merge.fn(name, layout, Params())
    assert read_sidecar(whole).meta == {"cut": 0} and caplog.records == []
    out = merge.fn(name, layout, Params(merge=Merge(max_words=8)))
    assert read_sidecar(out).meta == {"cut": 1}
    assert [s.text for s in read_shard(out, Scene)] == ["a table at the top left."]
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "merge shard-00000.parquet: 1 scenes with descriptions cut at 8 words"
    ]
