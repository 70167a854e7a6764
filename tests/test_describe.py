"""Describe (eq. 3): one flat wave equals region by region; prompts by name, kind and weight; replies read with reasons.

That waves equal the literal recursion of Algorithm 1, with proposals and merging, is tests/test_literal.py's.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from ouro.annotate import prompts
from ouro.annotate.describe import describe_shard, draw_prompt, with_text
from ouro.core.artifacts import read_shard, read_sidecar, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Describe, Model, Params, ParamsError, PromptName, load_params
from ouro.core.records import KINDS, Description, Image, Region
from ouro.nano.scenes import draw_scene, render
from ouro.vision.protocols import Request
from ouro.vision.scripted import ScriptedVLM
from tasks.describe import describe

MIXED = Describe(prompts={"long-v1": 1, "long-v2": 2, "by-kind": 1})
WHOLE = Region("i/0", "i", None, 0, (0.0, 0.0, 32.0, 32.0), 1.0, "image")
PICTURES = {"i": PILImage.new("RGB", (32, 32))}


def _says(request: Request) -> str:
    """A reply that depends on the pixels and the prompt, so that a wrong crop or prompt shows."""
    [image] = request.images
    number = int(np.asarray(image).astype(int).sum()) % 97
    return "" if number == 7 else f"a thing{number} of {image.width} by {image.height}, asked {len(request.prompt)}"


def _quarters(image_id: str) -> list[Region]:
    corners = [(x, y) for y in (0.0, 128.0) for x in (0.0, 128.0)]
    kinds = ("object", "text", "table", "chart")
    return [Region(f"{image_id}/0", image_id, None, 0, (0.0, 0.0, 256.0, 256.0), 1.0, "image")] + [
        Region(f"{image_id}/0.{k}", image_id, f"{image_id}/0", 1, (x, y, x + 100, y + 90), 0.9, "rpn", "", kind)
        for k, ((x, y), kind) in enumerate(zip(corners, kinds, strict=True))
    ]


def _describe(reply: str, region: Region = WHOLE, params: Describe | None = None) -> tuple[str, str]:
    """Text and reason of one region."""
    descriptions, rejected = describe_shard([region], PICTURES, ScriptedVLM(lambda r: reply), params or Describe())
    assert len(descriptions) + len(rejected) == 1
    return (descriptions[0].text, "") if descriptions else ("", rejected[0].reason)


def test_one_wave_says_what_is_said_region_by_region_whatever_their_order() -> None:
    pictures = {str(i): PILImage.fromarray(render(draw_scene(np.random.default_rng(i)))) for i in range(4)}
    regions = [region for i in pictures for region in _quarters(i)]
    descriptions, rejected = describe_shard(regions, pictures, ScriptedVLM(_says), MIXED, seed=5)
    assert len(descriptions) + len(rejected) == 20 and len({d.text for d in descriptions}) > 10
    alone = [d for r in reversed(regions) for d in describe_shard([r], pictures, ScriptedVLM(_says), MIXED, seed=5)[0]]
    assert sorted(alone, key=lambda d: d.region_id) == descriptions


# ---- prompts -------------------------------------------------------------------------------------------------


def test_every_name_that_params_take_has_a_prompt_and_every_kind_its_own() -> None:
    assert {*prompts.PROMPTS, "own", "by-kind"} == {*get_args(PromptName)}
    assert tuple(prompts.BY_KIND) == KINDS and len({*prompts.BY_KIND.values()}) == len(KINDS)


def test_a_region_is_asked_by_its_kind_and_the_whole_image_as_a_scene() -> None:
    picture = {"i": PILImage.new("RGB", (256, 256))}
    vlm = ScriptedVLM(lambda r: "a thing")
    descriptions, _ = describe_shard(_quarters("i"), picture, vlm, Describe(prompts={"by-kind": 1.0}))
    assert [r.prompt for r in vlm.asked] == [prompts.BY_KIND[k] for k in ("scene", "object", "text", "table", "chart")]
    assert {d.prompt for d in descriptions} == {"by-kind"}


def test_the_own_prompt_is_that_of_params_and_the_default() -> None:
    vlm = ScriptedVLM({"what is it": "a thing"})
    [description], _ = describe_shard([WHOLE], PICTURES, vlm, Describe(prompt="what is it"))
    assert (description.prompt, description.text) == ("own", "a thing")


def test_prompts_are_drawn_by_weight_per_region_and_again_the_same() -> None:
    weights: dict[PromptName, float] = {"long-v1": 1.0, "long-v2": 2.0, "long-v3": 1.0}
    drawn = Counter(draw_prompt(weights, 0, f"i/0.{n}") for n in range(4000))
    assert all(abs(drawn[name] / 4000 - share / 4) < 0.03 for name, share in weights.items())  # 4 standard deviations
    backwards = dict(reversed(weights.items()))
    assert [draw_prompt(backwards, 0, f"i/0.{n}") for n in range(50)] == [
        draw_prompt(weights, 0, f"i/0.{n}") for n in range(50)
    ]
    assert [draw_prompt(weights, 1, f"i/0.{n}") for n in range(50)] != [
        draw_prompt(weights, 0, f"i/0.{n}") for n in range(50)
    ]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(get_args(PromptName)), st.floats(1e-300, 1e300), min_size=1), st.integers(0))
def test_whatever_the_weights_a_prompt_of_them_is_drawn(weights: dict[PromptName, float], seed: int) -> None:
    assert draw_prompt(weights, seed, "i/0") in weights


@pytest.mark.parametrize(
    ("given_prompts", "said"),
    [
        ("{long-v9: 1}", "describe.prompts.long-v9.[key]: got 'long-v9'; input should be 'own', 'by-kind', 'simple'"),
        ("{own: 0}", "describe.prompts.own: got 0; input should be greater than 0"),
        ("{own: .inf}", "describe.prompts.own: got inf; input should be a finite number"),
        ("{}", "describe.prompts: got {}; dictionary should have at least 1 item"),
    ],
)
def test_unknown_prompts_and_useless_weights_are_refused(tmp_path: Path, given_prompts: str, said: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"describe: {{prompts: {given_prompts}}}\n")
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert said in str(caught.value)


# ---- replies -------------------------------------------------------------------------------------------------


def test_a_silent_model_is_rejected_with_a_reason() -> None:
    assert _describe(" \n") == ("", "empty_reply")


def test_replies_are_mended_or_rejected_with_their_reason() -> None:
    """The rules themselves are tests/test_replies.py's."""
    few = Describe(max_new_tokens=12)
    assert _describe("## A room\n- a **red** cup<|im_end|>") == ("A room. a red cup", "")
    assert _describe("A red cup. It stands on a table that is next to the", params=few) == ("A red cup.", "")
    assert _describe("a red cup that stands on a table that is next to the", params=few) == ("", "cut_off")
    assert _describe("the " * 40) == ("", "degenerate")
    assert _describe("一只黑猫坐在椅子上") == ("", "other_script")
    assert _describe("一只黑猫坐在椅子上", params=Describe(prompt="描述这张图片。")) == ("一只黑猫坐在椅子上", "")


def test_what_ocr_read_stands_alone_where_the_reply_is_good_for_nothing() -> None:
    sign = Region("i/0.0", "i", "i/0", 1, (0.0, 0.0, 32.0, 32.0), 0.9, "ocr", "milk", "text")
    assert _describe("", sign) == _describe("the " * 40, sign) == ("text that says milk", "")


def test_a_nano_description_without_a_full_stop_is_taken_as_it_stands() -> None:
    """The longest that a container of nano's has: 24 words and marks, half of max_new_tokens."""
    text = "a board with a triangle, a diamond, a square, a ring and a sign"
    assert _describe(text) == (text, "")


@settings(deadline=None)
@given(st.lists(st.text(st.characters(), max_size=60), min_size=1, max_size=8))
def test_kept_and_rejected_are_all_regions_and_fit_into_a_shard(replies: list[str]) -> None:
    regions = [Region(f"i/0.{k}", "i", "i/0", 1, (0.0, 0.0, 32.0, 32.0), 0.9, "rpn") for k in range(len(replies))]
    left = iter(replies)
    descriptions, rejected = describe_shard(regions, PICTURES, ScriptedVLM(lambda r: next(left)), Describe())
    assert sorted([d.region_id for d in descriptions] + [r.record_id for r in rejected]) == [
        r.region_id for r in regions
    ]
    assert all(d.text == " ".join(d.text.split()) != "" for d in descriptions)
    "".join([d.text for d in descriptions] + [r.detail for r in rejected]).encode()


# ---- OCR -----------------------------------------------------------------------------------------------------


def test_ocr_text_is_carried_unless_it_is_quoted_already() -> None:
    assert with_text("a sign.", "milk") == "a sign that says milk"
    assert with_text("a sign reading Milk", "milk") == "a sign reading Milk"
    assert with_text("", "milk") == "text that says milk"


def test_ocr_text_inside_a_longer_word_is_not_taken_for_a_quotation() -> None:
    assert with_text("a building with a sign", "in") == "a building with a sign that says in"
    assert with_text("a heart", "art") == "a heart that says art"
    assert with_text("a poster (Art), framed", "art") == "a poster (Art), framed"
    assert with_text("a tag at $3.50", "$3.50") == "a tag at $3.50"


def test_more_than_a_word_of_ocr_is_quoted() -> None:
    assert with_text("a sign.", "OPEN 7 days. Come in") == 'a sign that says "OPEN 7 days. Come in"'
    assert with_text("", 'the "Inn"') == 'text that says “the "Inn"”'
    assert with_text("a page", "two\n lines") == 'a page that says "two lines"'


# ---- the task ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
def test_the_task_writes_descriptions_with_words_and_prompts_counted(tmp_path: Path) -> None:
    """The shipped model, asked in its own words and in others that it does not know."""
    name, layout = "shard-00000.parquet", Layout(tmp_path, tmp_path / ".cache")
    image = Image("i", "shard-00000/i.png", 256, 256, "i.png")
    (tmp_path / "images" / "shard-00000").mkdir(parents=True)
    PILImage.fromarray(render(draw_scene(np.random.default_rng(0)))).save(tmp_path / "images" / image.path)
    write_shard(layout.images / name, Image, [image], n_in=1)
    write_shard(layout.regions / name, Region, _quarters("i"), n_in=5)
    seed = 0  # one that draws both prompts
    model = Model(base=str(Path(__file__).parent.parent / "models" / "nano"), dtype="float32", processes=1)
    params = Params(seed=seed, model=model, describe=Describe(prompts={"own": 1.0, "simple": 1.0}))
    done: list[int] = []
    describe.fn(name, layout, params, done.append)
    descriptions = read_shard(layout.descriptions / name, Description)
    sidecar = read_sidecar(layout.descriptions / name)
    drawn = {r.region_id: draw_prompt(params.describe.prompts, seed, r.region_id) for r in _quarters("i")}
    assert {*drawn.values()} == {"own", "simple"} and {
        d.region_id: d.prompt for d in descriptions
    }.items() <= drawn.items()
    by_prompt = {"own": 0, "simple": 0} | Counter(d.prompt for d in descriptions)
    assert sidecar.meta["by_prompt"] == {k: n for k, n in by_prompt.items() if n}
    assert (
        sidecar.meta["words"] == sum(len(d.text.split()) for d in descriptions) > 0 == sidecar.meta["held_out_regions"]
    )
    assert sidecar.n_in == sum(done) == 5
