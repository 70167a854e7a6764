"""Merge (eq. 4), the stage: scenes with texts of every region, provenance, decisions and counts, whoever writes them.

The writers have their own tests: test_outline, test_rewrite, test_nano_merging. Texts here are nano's where one is
pinned, since only a template's are the same for ever.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ouro.annotate.merge import merge_shard as merge_any
from ouro.core.artifacts import read_shard, read_sidecar, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Merge, Model, Params
from ouro.core.records import Decision, Description, Image, Region, Scene
from ouro.nano.merging import merge_nano
from tasks.merge import merge

merge_shard = partial(merge_any, template=merge_nano)


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
    images, regions, descriptions = _tree()
    [scene], rejected, cut, written = merge_shard(images, regions, descriptions, Merge())
    assert (rejected, cut, written) == ([], 0, {"template": 1})
    assert scene.text == "a table at the top left. the table has a red star at the top left."
    came = {(scene.text[i.start : i.end], i.region_id) for i in scene.insertions}
    assert ("a red star at the top left", "i/0.0.0") in came
    assert dict(scene.region_texts)["i/0.0"] == "a table with a red star at the top left."


def test_an_image_without_a_description_is_rejected_with_a_reason() -> None:
    images, regions, descriptions = _tree()
    scenes, rejected, _, _ = merge_shard(images, regions, descriptions[1:], Merge())
    assert scenes == [] and [r.reason for r in rejected] == ["not_described"]


def test_the_parts_of_a_region_without_a_description_join_the_region_above_it() -> None:
    """The star lies at the top left of the table and of the image; the table was rejected as "empty_reply"."""
    images, regions, descriptions = _tree()
    [scene], *_ = merge_shard(images, regions, [descriptions[0], descriptions[2]], Merge())
    assert scene.text == "a table. there is a red star at the top left."
    assert {i.region_id for i in scene.insertions} == {"i/0.0.0"}
    assert [r for r, _ in scene.region_texts] == ["i/0", "i/0.0.0"]


def test_each_sentence_knows_its_regions() -> None:
    images, regions, descriptions = _tree()
    [scene], *_ = merge_shard(images, regions, descriptions, Merge())
    sentences = [(scene.text[s.start : s.end], s.region_ids) for s in scene.sentences]
    assert sentences == [
        ("a table at the top left.", ("i/0.0",)),
        ("the table has a red star at the top left.", ("i/0.0", "i/0.0.0")),
    ]


def test_the_tree_holds_each_regions_own_description() -> None:
    images, regions, descriptions = _tree()
    [scene], *_ = merge_shard(images, regions, descriptions[:1] + descriptions[2:], Merge())
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
    [image], regions, descriptions = _tree()
    image = replace(image, captions=("Toys on a table", "  "))
    [beside], *_ = merge_shard([image], regions, descriptions, Merge())
    [before], *_ = merge_shard([image], regions, descriptions, Merge(captions="concatenated"))
    assert before.text == f"Toys on a table. {beside.text}"
    assert before.sentences[0].region_ids == ("i/0",)
    assert dict(before.region_texts)["i/0.0"] == dict(beside.region_texts)["i/0.0"]


def test_a_writer_that_needs_the_annotator_says_so_without_one() -> None:
    images, regions, descriptions = _tree()
    with pytest.raises(ValueError, match=r"merge\.writer vlm: got no annotator"):
        merge_shard(images, regions, descriptions, Merge(writer="vlm"))


def test_text_that_is_not_the_templates_is_outlined() -> None:
    images, regions, descriptions = _tree()
    descriptions[0] = replace(descriptions[0], text="The image shows a kitchen with a table.")
    merged = merge_shard(images, regions, descriptions, Merge())
    assert merged.written == {"outline: not_the_template": 1}
    assert merged.scenes[0].text.startswith("The image shows a kitchen with a table. ")
    assert merge_any(images, regions, descriptions, Merge(writer="outline")).scenes[0].text == merged.scenes[0].text


def test_long_descriptions_lose_sentences_and_are_counted() -> None:
    images, regions, descriptions = _tree()
    [scene], _, cut, _ = merge_shard(images, regions, descriptions, Merge(max_tokens=8))
    assert (scene.text, cut) == ("a table at the top left.", 1)
    assert scene.decisions[-1] == Decision(
        "budget", "i/0.0", "the table has a red star at the top left.", "least_informative_first"
    )


def test_tokens_are_counted_with_the_counter_given() -> None:
    """By letters, both sentences are 66 long; 65 leave no room for the second."""
    images, regions, descriptions = _tree()
    assert merge_shard(images, regions, descriptions, Merge(max_tokens=66), count=len).cut == 0
    assert merge_shard(images, regions, descriptions, Merge(max_tokens=65), count=len).cut == 1


def _shard(tmp_path: Path) -> tuple[str, Layout]:
    name, layout = "shard-00000.parquet", Layout(tmp_path, tmp_path / "cache")
    images, regions, descriptions = _tree()
    write_shard(layout.images / name, Image, images, n_in=1)
    write_shard(layout.regions / name, Region, regions, n_in=3)
    write_shard(layout.descriptions / name, Description, descriptions, n_in=3)
    return name, layout


def test_the_sidecar_and_the_log_say_how_many_scenes_were_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name, layout = _shard(tmp_path)
    whole = merge.fn(name, layout, Params())
    words = len(read_shard(whole, Scene)[0].text.split())
    assert words > 6
    counts = {"contradiction": 0, "redundancy": 1, "matches": 0, "conflicts": 0, "settled": 0}
    assert read_sidecar(whole).meta == {"cut": 0, "words": words, "budget": 0, "written": {"template": 1}, **counts}
    assert caplog.records == []
    out = merge.fn(name, layout, Params(merge=Merge(max_tokens=8)))
    assert read_sidecar(out).meta == {"cut": 1, "words": 6, "budget": 1, "written": {"template": 1}, **counts}
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
