"""Bad input to merging: one clear outcome each. Nothing crashes, in = out + rejected, every text keeps its budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ouro.annotate.merge import Merged, merge_shard
from ouro.core.params import Merge
from ouro.core.records import Conflict, Description, Image, Region
from ouro.core.tokens import count_words
from ouro.nano.merging import merge_nano
from ouro.vision.scripted import ScriptedVLM
from tests.helpers.trees import IMAGE, Said, records_of

WRITERS = ("outline", "template", "vlm")
STREET = {
    "0": Said("", "The image shows a street with a bus and two dogs.", "a street"),
    "0.0": Said("left", "The image shows a red double-decker bus.", "a bus"),
    "0.1": Said("right", "The image shows a brown dog. It wears a collar.", "a dog"),
    "0.2": Said("bottom right", "The image shows a white dog.", "a dog"),
}


def merged(parts: dict[str, Said], writer: str = "outline", reply: str = "", **params: Any) -> Merged:
    regions, descriptions = records_of(parts)
    return merge_records(regions, descriptions, writer, reply, **params)


def merge_records(
    regions: list[Region], descriptions: list[Description], writer: Any = "outline", reply: str = "", **params: Any
) -> Merged:
    vlm = ScriptedVLM(lambda _: reply, remember=2)
    result = merge_shard(
        [IMAGE],
        regions,
        descriptions,
        Merge(writer=writer, **params),
        vlm=vlm,
        template=merge_nano,
    )
    assert len(result.scenes) + len(result.rejected) == 1
    assert result.written.total() == len(result.scenes)
    limit = Merge(**params).max_tokens
    assert all(count_words(text) <= limit for scene in result.scenes for _, text in scene.region_texts)
    return result


def text_of(result: Merged) -> str:
    return result.scenes[0].text


NAMES = {
    "3,000 characters": "bus " * 750,
    "one word of 3,000 letters": "b" * 3000,
    "nothing": "",
    "blanks": "  \t ",
    "marks": "...!?",
    "a sentence": "There is a bus. It is red.",
    "a line break": "a bus\nand a dog",
    "control tokens": "<|im_start|>system",
    "markup": "**bus**",
    "another script": "公共汽车",
    "quotation marks": 'a "bus',
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_any_name_leaves_the_descriptions_as_they_are(name: str, writer: str) -> None:
    """A name labels and matches; the text of a region does not depend on it."""
    result = merged({**STREET, "0.0": STREET["0.0"]._replace(name=name)}, writer)
    assert "red double-decker bus" in text_of(result) and len(text_of(result)) < 400
    assert "It is red." not in text_of(result) and "<|" not in text_of(result)


@pytest.mark.parametrize("word", ["street", "Street.", "a", "…street", "街道"])
def test_a_parent_of_one_word_keeps_it(word: str) -> None:
    assert text_of(merged({**STREET, "0": Said("", word)})).startswith(word)


@pytest.mark.parametrize("nothing", ["", " ", "...", "\n"])
def test_a_whole_that_says_nothing_is_rejected_and_a_region_that_does_is_not_there(nothing: str) -> None:
    result = merged({**STREET, "0": Said("", nothing)})
    assert [r.reason for r in result.rejected] == ["not_described"]
    assert merged({**STREET, "0.0": Said("left", nothing)}).scenes[0].text == text_of(
        merged({k: v for k, v in STREET.items() if k != "0.0"})
    )


def test_four_hundred_children_are_told_within_the_budget() -> None:
    boxes = [(9.0 * (k % 20), 9.0 * (k // 20), 9.0 * (k % 20) + 8, 9.0 * (k // 20) + 8) for k in range(400)]
    regions = [Region("0", "i", None, 0, (0.0, 0.0, 180.0, 180.0), 1.0, "image", "", "scene")]
    regions += [Region(f"0.{k}", "i", "0", 1, box, 0.9, "rpn") for k, box in enumerate(boxes)]
    descriptions = [Description("0", "i", "The image shows a shelf with many jars.", "v", name="a shelf")]
    descriptions += [
        Description(f"0.{k}", "i", f"The image shows a jar with the label w{k}.", "v", name="a jar") for k in range(400)
    ]
    whole = merge_records(regions, descriptions, max_tokens=100_000)
    assert {f"w{k}" for k in range(400)} <= set(text_of(whole).replace(".", "").split())
    short = merge_records(regions, descriptions)
    decisions = [d for d in short.scenes[0].decisions if d.kind == "budget"]
    assert len(short.scenes[0].sentences) + len(decisions) == len(whole.scenes[0].sentences)


def test_a_chain_of_forty_levels_is_merged() -> None:
    regions = [Region("0", "i", None, 0, (0.0, 0.0, 90.0, 90.0), 1.0, "image", "", "scene")]
    descriptions = [Description("0", "i", "The image shows a room.", "v")]
    for k in range(1, 41):
        parent = regions[-1].region_id
        regions.append(Region(f"{parent}.0", "i", parent, k, (0.0, 0.0, 90.0 - k, 90.0 - k), 0.9, "rpn"))
        descriptions.append(Description(f"{parent}.0", "i", f"The image shows a box of size {k}.", "v", name="a box"))
    for writer in WRITERS:
        assert (
            merge_records(regions, descriptions, writer, max_tokens=5000)
            .scenes[0]
            .region_texts[-1][1]
            .endswith("size 40.")
        )


def test_conflicts_among_twins_change_neither() -> None:
    """Which of the two dogs is brown after all only looking would tell."""
    whole = "The image shows a street with a black dog and a white dog."
    twin = STREET["0.1"]._replace(text="The image shows a brown dog.")
    text = text_of(merged({"0": Said("", whole), "0.1": twin, "0.2": twin._replace(place="bottom right")}))
    assert text == f"{whole} At the right is a brown dog. At the bottom right is a brown dog."


def test_regions_whose_parent_is_unknown_or_whose_image_is_another_are_not_there() -> None:
    regions, descriptions = records_of(STREET)
    orphan = replace(regions[1], region_id="0.9", parent_id="0.8")
    alien = replace(regions[1], region_id="j/0", image_id="j")
    strange = [
        replace(descriptions[1], region_id="0.9", text="a lost cat"),
        replace(descriptions[1], region_id="j/0", image_id="j"),
    ]
    result = merge_records([*regions, orphan, alien], [*descriptions, *strange])
    assert "cat" not in text_of(result) and text_of(result) == text_of(merge_records(regions, descriptions))


REPLIES = {
    "nothing": ("", "empty_reply"),
    "blanks": (" \n\t ", "empty_reply"),
    "endless": ("and a dog " * 3000, "degenerate"),
    "one endless word": ("dog" * 5000, "degenerate"),
    "another script": ("街道上有一辆红色的公共汽车和两只狗。", "other_script"),
    "control tokens alone": ("<|im_end|><|endoftext|>", "empty_reply"),
    "markup alone": ("**** ## <br> | - | ```", "empty_reply"),
    "thinking alone": ("<think>A street, so I write a street.", "empty_reply"),
    "lies": ("A purple helicopter hovers. Three dragons sing. Nine pirates eat cake.", "too_much_struck"),
    "next to nothing": ("A bus.", "too_little"),
}


@pytest.mark.parametrize(("reply", "reason"), REPLIES.values(), ids=REPLIES.keys())
def test_a_writer_that_gives_no_description_leaves_the_outline(reply: str, reason: str) -> None:
    result = merged(STREET, "vlm", reply)
    assert result.written == {f"outline: {reason}": 1}
    assert text_of(result) == text_of(merged(STREET))


def test_markup_and_control_tokens_of_a_true_reply_do_not_reach_the_scene() -> None:
    true = (
        "The image shows a street with two dogs. At the left is a red double-decker bus. The brown dog wears a collar. "
        "The white dog is at the bottom right."
    )
    assert text_of(merged(STREET, "vlm", f"**{true}**<|im_end|>\n<|im_start|>user\nGo on.")) == true


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "text",
    ['"', "“", ")(", "a" * 5000, "a, " * 2000, "\u202ea bus", "🚌 a bus", "A bus" + "." * 500, "The image shows" * 300],
)
def test_any_text_of_a_region_is_merged(text: str, writer: str) -> None:
    merged({**STREET, "0.0": Said("left", text, "a bus"), "0.0.0": Said("left", text, text)}, writer, max_tokens=50)


@pytest.mark.parametrize("ocr", ["x" * 5000, '"', "a\nb", "<|im_end|>", "EXIT " * 400, "出口"])
def test_any_ocr_text_stands_once_or_is_marked_as_read(ocr: str) -> None:
    regions, descriptions = records_of(STREET)
    regions[1] = replace(regions[1], text=ocr, kind="text")
    assert merge_records(regions, descriptions, max_tokens=20_000).scenes


def test_a_conflict_of_any_value_changes_no_more_than_that_value() -> None:
    from ouro.annotate.merging.settled import apply_settled

    descriptions = [Description("0", "i", "A red bus.", "v")]
    for values in (("", "x"), ("red", ""), ("(", "["), ("a" * 3000, "b"), (".*", "blue")):
        conflict = Conflict("colour", "the bus", ("0", "0.0"), values, values[1], "look")
        [description] = apply_settled(descriptions, [], [conflict]).descriptions
        assert description.text in ("A red bus.", "A bus.")


def test_images_without_regions_are_rejected() -> None:
    result = merge_shard([Image("i", "i.png", 9, 9, "s")], [], [], Merge(writer="outline"))
    assert ([r.reason for r in result.rejected], result.scenes) == (["not_described"], [])
