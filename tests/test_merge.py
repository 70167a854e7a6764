"""Merge (eq. 4): object-name matching, relative positions, provenance, redundancy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ouro.annotate.merge import Piece, merge_shard, merge_text, plain
from ouro.core.artifacts import read_shard, read_sidecar, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Merge, Model, Params
from ouro.core.records import Decision, Description, Image, Region, Scene
from tasks.merge import merge


def piece(text: str, region: str) -> tuple[Piece, ...]:
    return (Piece(text, region),)


def merged(own: str, *children: tuple[str, str]) -> str:
    parts = [(piece(text, f"0.{i}"), position) for i, (text, position) in enumerate(children)]
    return plain(merge_text(Piece(own, "0"), parts))


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
    assert got == "two cars in a street. one of the cars is a blue car at the left."


def test_a_childs_capital_article_is_lowered_inside_the_sentence() -> None:
    assert merged("A dog.", ("A brown dog", "left")) == "A brown dog at the left."
    assert merged("A park with a dog.", ("A brown dog", "left")) == "A park with a brown dog at the left."


def test_an_empty_child_adds_nothing() -> None:
    assert merged("a table", ("", "left")) == "a table."


# ---- photographs, streets, pages -----------------------------------------------------------------------------


def test_a_kitchen() -> None:
    """The mug is one of the two cups; "it" is named, since its sentence leaves its text."""
    got = merged(
        "A kitchen with a wooden table and two cups. The table is brown.",
        ("The image shows a large wooden table with a laptop on it.", "bottom"),
        ("A red ceramic mug with a white handle. It has a chip on the rim.", "left"),
        ("A blue mug", "right"),
    )
    assert got == (
        "A kitchen with a large wooden table at the bottom and two cups. The table is brown. The table has a laptop on "
        "it. One of the cups is a red ceramic mug at the left. The mug at the left has a white handle. The mug at the "
        "left has a chip on the rim. Another of the cups is a blue mug at the right."
    )


def test_a_street() -> None:
    """A sedan is a car, and lies where the car is; the dog is his; the taxi is no mention's."""
    got = merged(
        "A busy street with a car on the left side of the image and a bus. A man is walking his dog.",
        ("A blue sedan parked at the curb", "left"),
        ('a red double-decker bus that says "CITY TOURS" on its side', "right"),
        ("A man is wearing a black jacket and jeans. He is holding a leash.", "bottom"),
        ("a small brown dog", "bottom right"),
        ("a yellow taxi", "top"),
    )
    assert got == (
        "A busy street with a blue sedan on the left side of the image and a red double-decker bus that says "
        '"CITY TOURS" on its side at the right. A man at the bottom is walking his small brown dog at the bottom '
        "right. The sedan is parked at the curb. The man is wearing a black jacket and jeans. The man is holding a "
        "leash. The street has a yellow taxi at the top."
    )


def test_a_living_room() -> None:
    """A couch is a sofa, a cat an animal."""
    got = merged(
        "A living room with a sofa and an animal.",
        ("a brown leather couch with two pillows", "left"),
        ("a gray cat sleeping on a blanket", "right"),
    )
    assert got == (
        "A living room with a brown leather sofa at the left and a gray cat at the right. The sofa has two pillows. "
        "The cat is sleeping on a blanket."
    )


def test_a_page() -> None:
    got = merged(
        "A scanned page with a heading and a table.",
        ('a heading that says "FIRST PERIOD ENDING OCTOBER 7, 1963"', "top"),
        ("a table with three columns", "center"),
    )
    assert got == (
        'A scanned page with a heading that says "FIRST PERIOD ENDING OCTOBER 7, 1963" at the top and a table in the '
        "center. The table has three columns."
    )


def test_ordinals_tell_namesakes_apart_in_reading_order() -> None:
    got = merged(
        "The second cup is on a book, the first cup on a plate.", ("a tin cup", "left"), ("a red cup", "right")
    )
    assert got == "The second red cup at the right is on a book, the first tin cup at the left on a plate."


def test_places_tell_namesakes_apart() -> None:
    got = merged("a cup on the right and a cup on the left", ("a tin cup", "left"), ("a red cup", "right"))
    assert got == "a red cup on the right and a tin cup on the left."


def test_looks_tell_namesakes_apart() -> None:
    got = merged("a red cup and a blue cup", ("a blue tin cup", "left"), ("a red paper cup", "right"))
    assert got == "a red paper cup at the right and a blue tin cup at the left."


def test_one_of_several_keeps_its_sentence() -> None:
    got = merged("One of the cups is broken.", ("a red cup", "left"))
    assert got == "One of the cups, a red cup at the left, is broken."


def test_any_of_many_is_one_of_them() -> None:
    got = merged("Cars on a road.", ("a black car", "left"), ("a wet road", "bottom"))
    assert got == "Cars on a wet road at the bottom. One of the cars is a black car at the left."


def test_a_plural_child_reads_as_plural() -> None:
    got = merged("a beach", ("two men walking in the sand", "left"))
    assert got == "a beach. there are two men at the left. the men are walking in the sand."


def test_the_article_fits_its_word() -> None:
    assert merged("a big car", ("an old car", "left")) == "a big old car at the left."
    assert merged("an apple on a dish", ("the green apple", "left")) == "a green apple at the left on a dish."


def test_what_lies_in_a_child_without_a_list_is_the_childs() -> None:
    """The spoon is at the left of the tray, not of the kitchen."""
    tray = merged("a tray", ("a spoon", "left"))
    assert tray == "a tray. there is a spoon at the left."
    assert merged("a kitchen", (tray, "right")) == (
        "a kitchen. there is a tray at the right. the tray has a spoon at the left."
    )


def test_children_of_children_first_whatever_the_order_of_the_regions() -> None:
    images, regions, said = _tree()
    forwards = merge_shard(images, regions, said, Merge()).scenes
    backwards = merge_shard(images, [regions[0], regions[2], regions[1]], list(reversed(said)), Merge()).scenes
    assert backwards[0].text == forwards[0].text


# ---- scenes --------------------------------------------------------------------------------------------------


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


def test_each_sentence_knows_its_regions() -> None:
    images, regions, said = _tree()
    [scene], _, _ = merge_shard(images, regions, said, Merge())
    told = [(scene.text[s.start : s.end], s.region_ids) for s in scene.sentences]
    assert told == [
        ("a table at the top left.", ("i/0.0",)),
        ("the table has a red star at the top left.", ("i/0.0", "i/0.0.0")),
    ]


def test_the_tree_holds_each_regions_own_description() -> None:
    images, regions, said = _tree()
    [scene], _, _ = merge_shard(images, regions, said[:1] + said[2:], Merge())
    star = (
        '{"box":[0.0,0.0,10.0,10.0],"children":[],"description":"a red star","kind":"object","position":"top left",'
        '"region_id":"i/0.0.0"}'
    )
    table = (
        f'{{"box":[0.0,0.0,40.0,40.0],"children":[{star}],"description":"","kind":"object","position":"top left",'
        '"region_id":"i/0.0"}'
    )
    assert scene.tree == (
        f'{{"box":[0.0,0.0,100.0,100.0],"children":[{table}],"description":"a table with some objects",'
        '"kind":"object","position":null,"region_id":"i/0"}'
    )


def test_captions_stay_beside_or_come_first() -> None:
    [image], regions, said = _tree()
    image = replace(image, captions=("Toys on a table", "  "))
    [beside], _, _ = merge_shard([image], regions, said, Merge())
    [before], _, _ = merge_shard([image], regions, said, Merge(captions="concatenated"))
    assert before.text == f"Toys on a table. {beside.text}"
    assert before.sentences[0].region_ids == ("i/0",)
    assert dict(before.region_texts)["i/0.0"] == dict(beside.region_texts)["i/0.0"]


def test_ocr_text_is_quoted_in_the_merged_description() -> None:
    [image], regions, said = _tree()
    regions[2] = replace(regions[2], text="NO  EXIT", kind="text", source="ocr")
    said[2] = replace(said[2], text="a sign that says no exit")
    [scene], _, _ = merge_shard([image], regions, said, Merge())
    assert scene.text.endswith('the table has a sign that says "NO EXIT" at the top left.')


def test_long_descriptions_lose_sentences_and_are_counted() -> None:
    images, regions, said = _tree()
    [scene], _, cut = merge_shard(images, regions, said, Merge(max_tokens=8))
    assert (scene.text, cut) == ("a table at the top left.", 1)
    assert scene.decisions[-1] == Decision(
        "budget", "i/0.0", "the table has a red star at the top left", "least_informative_first"
    )


def test_tokens_are_counted_with_the_counter_given() -> None:
    """By letters, both sentences are 66 long; 65 leave no room for the second."""
    images, regions, said = _tree()
    assert merge_shard(images, regions, said, Merge(max_tokens=66), count=len).cut == 0
    assert merge_shard(images, regions, said, Merge(max_tokens=65), count=len).cut == 1


def _shard(tmp_path: Path) -> tuple[str, Layout]:
    name, layout = "shard-00000.parquet", Layout(tmp_path, tmp_path / "cache")
    images, regions, said = _tree()
    write_shard(layout.images / name, Image, images, n_in=1)
    write_shard(layout.regions / name, Region, regions, n_in=3)
    write_shard(layout.descriptions / name, Description, said, n_in=3)
    return name, layout


def test_the_sidecar_and_the_log_say_how_many_scenes_were_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name, layout = _shard(tmp_path)
    whole = merge.fn(name, layout, Params())
    words = len(read_shard(whole, Scene)[0].text.split())
    assert words > 6
    assert read_sidecar(whole).meta == {"cut": 0, "words": words, "contradiction": 0, "redundancy": 1, "budget": 0}
    assert caplog.records == []
    out = merge.fn(name, layout, Params(merge=Merge(max_tokens=8)))
    assert read_sidecar(out).meta == {"cut": 1, "words": 6, "contradiction": 0, "redundancy": 1, "budget": 1}
    assert [s.text for s in read_shard(out, Scene)] == ["a table at the top left."]
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "merge shard-00000.parquet: 1 scenes with descriptions over 8 tokens"
    ]


def test_the_annotators_own_tokens_are_counted(tmp_path: Path) -> None:
    """A tokenizer of single letters makes long texts of short ones; another one's results are not its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    name, layout = _shard(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    params = Params(model=Model(base=str(folder)), merge=Merge(max_tokens=40))
    whole = read_shard(merge.fn(name, layout, params), Scene)
    letters = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")  # type: ignore[assignment]
    letters.save(str(folder / "tokenizer.json"))
    short = read_shard(merge.fn(name, layout, params), Scene)
    assert (len(whole[0].sentences), len(short[0].sentences)) == (2, 1)
