"""The writer `vlm`: what it asks, what the guard strikes, and when the outline stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ouro.annotate.merge import Merged, merge_shard
from ouro.core.params import Merge
from ouro.core.tokens import count_words
from ouro.vision.protocols import Refused, Request
from ouro.vision.scripted import ScriptedVLM
from tests.helpers.trees import IMAGE, Said, records_of

YARD = {
    "0": Said("", "The image shows a farm yard with a red barn and two goats.", "a farm yard"),
    "0.0": Said("top left", "The image shows a red wooden barn with a tin roof.", "a barn"),
    "0.1": Said("bottom right", "The image shows a white goat. It has long horns.", "a goat"),
}
GOOD = (
    "The image shows a farm yard with a red wooden barn, which has a tin roof, at the top left. Two goats are in the "
    "yard. At the bottom right is a white goat. It has long horns."
)


def merged(
    reply: Callable[[Request], str] | str, parts: dict[str, Said] | None = None, **params: Any
) -> tuple[Merged, list[Request]]:
    """What comes out, and what was asked."""
    vlm = ScriptedVLM(reply if callable(reply) else lambda _: reply)
    regions, descriptions = records_of(parts or YARD)
    result = merge_shard([IMAGE], regions, descriptions, Merge(writer="vlm", **params), vlm=vlm)
    return result, vlm.asked


def test_a_true_reply_is_the_scene_and_each_sentence_has_its_regions() -> None:
    result, requests = merged(GOOD)
    [scene] = result.scenes
    assert (scene.text, result.written, len(requests)) == (GOOD, {"vlm": 1}, 1)
    regions_by_text = {scene.text[s.start : s.end]: s.region_ids for s in scene.sentences}
    assert (
        "0.1" in regions_by_text["At the bottom right is a white goat."]
        and "0.1" in regions_by_text["It has long horns."]
    )
    assert "0" in regions_by_text["Two goats are in the yard."]
    assert {i.region_id for i in scene.insertions} <= {"0.0", "0.1"}


def test_the_request_holds_every_description_without_marks_its_name_and_its_place() -> None:
    _, [request] = merged(GOOD)
    assert request.images == ()
    assert "The whole picture: The image shows a farm yard with a red barn and two goats." in request.prompt
    assert "- a barn, at the top left: a red wooden barn with a tin roof." in request.prompt
    assert "- a goat, at the bottom right: a white goat. It has long horns." in request.prompt


def test_a_false_sentence_is_asked_for_again_and_replaced() -> None:
    false = "At the bottom right is a purple helicopter."

    def reply(request: Request) -> str:
        if "first attempt" not in request.prompt:
            return GOOD.replace("At the bottom right is a white goat.", false)
        assert f"1. {false}" in request.prompt and "helicopter" in request.prompt
        return "1. At the bottom right is a white goat."

    result, requests = merged(reply)
    assert (result.scenes[0].text, len(requests)) == (GOOD, 2)


def test_what_stays_false_is_struck_and_recorded() -> None:
    false = "A purple helicopter hovers above."
    result, requests = merged(f"{GOOD} {false}")
    [scene] = result.scenes
    assert (scene.text, len(requests), result.written) == (GOOD, 2, {"vlm": 1})
    assert [(d.text, d.rule) for d in scene.decisions if d.rule == "not_borne_out"] == [(false, "not_borne_out")]


def test_where_too_much_is_struck_the_outline_stands() -> None:
    result, _ = merged("A purple helicopter hovers above. Three dragons sing. The barn is red.")
    assert result.written == {"outline: too_much_struck": 1}
    assert result.scenes[0].text == outline_of(YARD)


def outline_of(parts: dict[str, Said]) -> str:
    regions, descriptions = records_of(parts)
    return merge_shard([IMAGE], regions, descriptions, Merge(writer="outline")).scenes[0].text


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty_reply"),
        ("   \n", "empty_reply"),
        ("<|im_end|>", "empty_reply"),
        ("a barn and " * 400, "degenerate"),
        ("这是一个农场，有一个红色的谷仓和两只山羊。", "other_script"),
        ("The barn is red.", "too_little"),
    ],
)
def test_where_the_reply_is_no_description_the_outline_stands(reply: str, reason: str) -> None:
    result, _ = merged(reply)
    assert result.written == {f"outline: {reason}": 1} and result.scenes[0].text == outline_of(YARD)


def test_a_refused_request_leaves_the_outline() -> None:
    class Refusing(ScriptedVLM):
        def generate(self, requests: Sequence[Request], **_: object) -> list[str]:  # type: ignore[override]
            return [Refused("too long")] * len(requests)

    regions, descriptions = records_of(YARD)
    result = merge_shard([IMAGE], regions, descriptions, Merge(writer="vlm"), vlm=Refusing({}))
    assert result.written == {"outline: refused": 1}


def test_markup_prefaces_and_control_tokens_never_reach_the_scene() -> None:
    result, _ = merged(f"Here is the description:\n\n**{GOOD}**<|im_end|>\n<|im_start|>user")
    assert result.scenes[0].text == GOOD


DEEP = {
    **YARD,
    "0.0.0": Said("top left", "The image shows a green door.", "a door"),
    "0.0.0.0": Said("top left", "The image shows a brass handle.", "a handle"),
}


def test_a_deep_tree_is_written_bottom_up() -> None:
    """The barn's branch is two deep: its description comes first, then the whole's, which is given it as one line."""
    branch = "The image shows a red wooden barn with a tin roof. At the center is a green door with a brass handle."

    def reply(request: Request) -> str:
        return branch if "whole picture: The image shows a red wooden barn" in request.prompt else f"{GOOD} {branch}"

    result, requests = merged(reply, DEEP)
    assert len(requests) >= 2 and f"- a barn, at the top left: {branch}" in requests[-1].prompt
    assert "a brass handle" in dict(result.scenes[0].region_texts)["0.0"]


def test_a_tree_that_fits_no_request_is_outlined() -> None:
    crowd = {
        "0": YARD["0"],
        **{f"0.{k}": Said("left", f"The image shows a goat with a bell number {k}.", "a goat") for k in range(400)},
    }
    result, requests = merged(GOOD, crowd)
    assert result.written == {"outline: too_long": 1} and requests == []
    assert count_words(result.scenes[0].text) <= Merge().max_tokens


def test_scenes_are_asked_for_in_waves() -> None:
    """Three images, of which one is asked again: two calls of the annotator, not four."""
    calls: list[int] = []

    class Counting(ScriptedVLM):
        def generate(self, requests: Sequence[Request], *, max_new_tokens: int, **_: object) -> list[str]:  # type: ignore[override]
            calls.append(len(requests))
            return super().generate(requests, max_new_tokens=max_new_tokens)

    own_regions, yard_descriptions = records_of(YARD)
    images = [replace(IMAGE, image_id=name) for name in "ijk"]
    regions = [
        replace(r, image_id=name, region_id=f"{name}/{r.region_id}", parent_id=r.parent_id and f"{name}/{r.parent_id}")
        for name in "ijk"
        for r in own_regions
    ]
    descriptions = [
        replace(d, image_id=name, region_id=f"{name}/{d.region_id}") for name in "ijk" for d in yard_descriptions
    ]
    vlm = Counting(lambda request: f"{GOOD} A purple helicopter hovers above." if len(calls) == 1 else "")
    result = merge_shard(images, regions, descriptions, Merge(writer="vlm"), vlm=vlm)
    assert calls == [3, 3] and len(result.scenes) == 3
    assert not any(re.search("helicopter", scene.text) for scene in result.scenes)
