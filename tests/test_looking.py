"""The annotator in stage merge: conflicts settled by looking at the crop, matches asked in text; what needs a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from ouro.annotate.merging.asked import ask_matches
from ouro.annotate.merging.settle import LOOKED, SAME, UNDECIDED, look
from ouro.annotate.prompts import NONE_OF_THEM
from ouro.core.params import Merge, Params
from ouro.core.records import Conflict, Description, Mark, Match, Region
from ouro.nano.scenes import draw_scene, render
from ouro.vision.hf import HFVisionLM
from ouro.vision.protocols import Request, ScoringUnavailable
from ouro.vision.scripted import ScriptedVLM

ROOT = Path(__file__).resolve().parents[1]
CASES = sorted((ROOT / "tests/data/realtext/cases").glob("*.json"))
PICTURES = {"i": PILImage.new("RGB", (200, 100))}
WHOLE = Region("i/0", "i", None, 0, (0.0, 0.0, 200.0, 100.0), 1.0, "image")
CUP = Region("i/0.0", "i", "i/0", 1, (10.0, 10.0, 60.0, 60.0), 0.9, "rpn")
HANDLE = Region("i/0.0.0", "i", "i/0.0", 2, (10.0, 10.0, 30.0, 30.0), 0.9, "rpn")
COLOUR = Conflict("colour", "colour of the cup", ("i/0", "i/0.0"), ("red", "dark blue"))


def looker(**likely: float) -> ScriptedVLM:
    """Knows how likely each value is, whatever it is offered first; spaces of values are underscores here."""
    return ScriptedVLM({}, weights=lambda r, options: [likely.get(o.replace(" ", "_"), 0.0) for o in options])


def settled(conflict: Conflict, vlm: ScriptedVLM, margin: float = 0.2) -> tuple[str, str]:
    [one] = look([conflict], [WHOLE, CUP, HANDLE], PICTURES, vlm, margin)
    assert replace(one, kept="", rule="") == replace(conflict, kept="", rule="")
    return one.kept, one.rule


# ---- looking ---------------------------------------------------------------------------------------------------


def test_the_likelier_value_stands() -> None:
    assert settled(COLOUR, looker(red=0.1, dark_blue=0.9)) == ("dark blue", LOOKED)
    assert settled(COLOUR, looker(red=0.9, dark_blue=0.1)) == ("red", LOOKED)


def test_below_the_margin_neither_stands() -> None:
    """.59 against .41 differ by .18, .61 against .39 by .22."""
    assert settled(COLOUR, looker(red=0.59, dark_blue=0.41)) == ("", UNDECIDED)
    assert settled(COLOUR, looker(red=0.61, dark_blue=0.39)) == ("red", LOOKED)
    assert settled(COLOUR, looker(red=0.5, dark_blue=0.5), margin=0.0) == ("", UNDECIDED)


def test_a_model_that_takes_what_it_is_offered_first_decides_nothing() -> None:
    def first(request: Request, options: tuple[str, ...]) -> Sequence[float]:
        return [1.0] + [0.0] * (len(options) - 1)

    assert settled(COLOUR, ScriptedVLM({}, weights=first)) == ("", UNDECIDED)


def test_three_values_are_judged_by_the_two_likeliest() -> None:
    conflict = replace(COLOUR, region_ids=("i/0", "i/0.0", "i/0.0.0"), values=("red", "dark blue", "black"))
    assert settled(conflict, looker(red=0.2, dark_blue=0.1, black=0.7)) == ("black", LOOKED)
    assert settled(conflict, looker(red=0.45, dark_blue=0.1, black=0.45)) == ("", UNDECIDED)


def test_the_crop_is_that_of_the_smallest_region_and_both_orders_are_asked() -> None:
    vlm = looker(red=1.0)
    look([COLOUR], [WHOLE, CUP, HANDLE], PICTURES, vlm, 0.2, max_pixels=500)
    one, other = vlm.asked
    assert one.images[0].size == (56, 56)  # 50 with 6 % on each side
    assert one.images[0] is other.images[0] and one.max_pixels == (500,)
    assert one.prompt == (
        "Which is right about this image: colour of the cup?\n- red\n- dark blue\nAnswer with one of these only."
    )
    assert "- dark blue\n- red\n" in other.prompt


def test_all_conflicts_of_a_shard_are_one_wave_and_settled_ones_are_not_asked() -> None:
    calls: list[int] = []

    class Counted(ScriptedVLM):
        def choose(self, requests: Sequence[Request], options: Sequence[tuple[str, ...]]) -> list[tuple[float, ...]]:
            calls.append(len(requests))
            return super().choose(requests, options)

    done = replace(COLOUR, kept="red", rule="close_up")
    vlm = Counted({}, weights=lambda r, choices: [float(o == "red") for o in choices])
    got = look([COLOUR, done, replace(COLOUR, about="colour of the saucer")], [WHOLE, CUP], PICTURES, vlm, 0.2)
    assert calls == [4]
    assert [(c.kept, c.rule) for c in got] == [("red", LOOKED), ("red", "close_up"), ("red", LOOKED)]


def test_nothing_to_ask_asks_nothing() -> None:
    vlm = ScriptedVLM({})  # would raise
    assert look([], [], {}, vlm, 0.2) == []
    same = replace(COLOUR, values=("Red", " red"))
    assert settled(same, vlm) == ("Red", SAME)
    assert settled(replace(COLOUR, values=("", " ")), vlm) == ("", "")


def test_conflicts_among_twins_are_asked_each_on_its_own_crop() -> None:
    twin = replace(CUP, region_id="i/0.1", box=(100.0, 10.0, 150.0, 60.0))
    vlm = looker(red=1.0)
    other = replace(COLOUR, region_ids=("i/0", "i/0.1"))
    look([COLOUR, other], [WHOLE, CUP, twin], PICTURES, vlm, 0.2)
    assert len({id(r.images[0]) for r in vlm.asked}) == 2


def test_a_region_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"colour of the cup.*i/0\.0.*Fix"):
        look([COLOUR], [WHOLE], PICTURES, looker(red=1.0), 0.2)


def test_a_model_without_probabilities_ends_the_run() -> None:
    with pytest.raises(ScoringUnavailable):
        look([COLOUR], [WHOLE, CUP], PICTURES, ScriptedVLM({}), 0.2)


def test_four_hundred_conflicts_and_values_of_three_thousand_characters() -> None:
    long = replace(COLOUR, values=("x" * 3000, "red"))
    got = look([COLOUR] * 400 + [long], [WHOLE, CUP], PICTURES, looker(red=1.0), 0.2)
    assert [c.kept for c in got] == ["red"] * 401


@pytest.mark.parametrize("file", CASES, ids=[file.stem for file in CASES])
def test_with_a_scripted_looker_each_conflict_of_a_tree_is_settled_as_its_case_says(file: Path) -> None:
    """Of the conflicts whose right value is one of those told; the others are told compatible things."""
    case = json.loads(file.read_text())
    regions = [Region(f"i/{r['path']}", "i", None, 0, tuple(r["box"]), 1.0, "rpn") for r in case["regions"]]
    labels = [c for c in case["conflicts"] if c["right"] in c["values"]]
    ids = [tuple(f"i/{path.partition('/')[0]}" for path in c["regions"]) for c in labels]
    conflicts = [
        Conflict("attribute", c["about"], region_ids, tuple(c["values"]))
        for c, region_ids in zip(labels, ids, strict=True)
    ]
    right = {c["about"]: c["right"] for c in labels}

    def judge(request: Request, options: tuple[str, ...]) -> Sequence[float]:
        about = request.prompt.partition(": ")[2].partition("?\n")[0]
        return [0.8 if option == right[about] else 0.1 for option in options]

    pictures = {"i": PILImage.new("RGB", tuple(case["size"]))}
    got = look(conflicts, regions, pictures, ScriptedVLM({}, weights=judge), 0.2)
    assert [(c.kept, c.rule) for c in got] == [(c["right"], LOOKED) for c in labels]


def test_a_real_model_looks_at_a_crop_of_a_drawn_scene() -> None:
    """Nano knows only its own questions, so that what it says is nothing; that it is a probability is all."""
    picture = PILImage.fromarray(render(draw_scene(np.random.default_rng(1))))
    region = replace(CUP, box=(0.0, 0.0, 128.0, 128.0))
    conflict = replace(COLOUR, values=("red", "blue"))
    vlm = HFVisionLM(ROOT / "models/nano")
    [one] = look([conflict], [WHOLE, region], {"i": picture}, vlm, 0.0, 9216)
    assert one.rule == LOOKED and one.kept in ("red", "blue")


# ---- asking for matches ----------------------------------------------------------------------------------------

PARENT = Description("i/0", "i", "The image shows a man in a dark uniform, a flag and two medals.", "m", name="a man")
JACKET = Description("i/0.0", "i", "A navy jacket with gold buttons.", "m", name="a navy jacket")


def chooser(phrase: str, share: float = 0.8) -> ScriptedVLM:
    rest = 1 - share
    return ScriptedVLM(
        {}, weights=lambda r, options: [share if o == phrase else rest / (len(options) - 1) for o in options]
    )  # fmt: skip


def ask(
    vlm: ScriptedVLM, *descriptions: Description, matches: Sequence[Match] = ()
) -> list[tuple[str, str, str, float]]:
    regions = [WHOLE, CUP, replace(CUP, region_id="i/0.1"), HANDLE]
    texts = {d.region_id: d.text for d in descriptions}
    return [
        (m.region_id, texts[m.parent_id][m.start : m.end], m.how, m.score)
        for m in ask_matches(regions, descriptions, matches, vlm)
    ]


def test_a_name_that_shares_no_word_is_matched_with_the_phrase_that_the_model_chooses() -> None:
    vlm = chooser("a dark uniform")
    assert ask(vlm, PARENT, JACKET) == [("i/0.0", "a dark uniform", "same", 0.8)]
    [request] = vlm.asked
    assert request.images == () and "Which of these does a navy jacket mean?" in request.prompt
    assert f"- a dark uniform\n- a flag\n- two medals\n- {NONE_OF_THEM}\n" in request.prompt


def test_none_of_them_and_an_unsure_choice_are_no_match() -> None:
    assert ask(chooser(NONE_OF_THEM), PARENT, JACKET) == []
    assert ask(chooser("a dark uniform", 0.45), PARENT, JACKET) == []


def test_what_lexical_matching_found_is_neither_asked_nor_offered() -> None:
    flag = Match("i/0.1", "i/0", 41, 47, "same", "head", 1.0)
    assert PARENT.text[41:47] == "a flag"
    other = replace(JACKET, region_id="i/0.1", name="a banner")
    vlm = chooser("a dark uniform")
    assert ask(vlm, PARENT, JACKET, other, matches=[flag]) == [("i/0.0", "a dark uniform", "same", 0.8)]
    assert len(vlm.asked) == 1 and "- a flag" not in vlm.asked[0].prompt


def test_what_is_denied_is_not_offered() -> None:
    vlm = chooser("a flag")
    ask(vlm, replace(PARENT, text="A flag beside medals. There are no people."), JACKET)
    assert "- A flag\n- medals\n- none of them\n" in vlm.asked[0].prompt


def test_phrases_within_marks_are_not_offered() -> None:
    vlm = chooser("a flag")
    ask(vlm, replace(PARENT, marks=(Mark(0, 16, "lead_in"), Mark(41, 47, "guess"))), JACKET)
    assert "- a flag" not in vlm.asked[0].prompt


def test_a_phrase_that_two_regions_choose_is_the_likelier_one_s() -> None:
    twin = replace(JACKET, region_id="i/0.1", name="a coat")

    def judge(request: Request, options: tuple[str, ...]) -> Sequence[float]:
        share = 0.9 if "does a coat" in request.prompt else 0.8
        return [share if o == "a dark uniform" else (1 - share) / (len(options) - 1) for o in options]

    assert [m[0] for m in ask(ScriptedVLM({}, weights=judge), PARENT, JACKET, twin)] == ["i/0.1"]
    assert ask(chooser("a dark uniform"), PARENT, JACKET, twin) == []  # equally likely: ambiguous


def test_a_group_may_be_shared() -> None:
    twin = replace(JACKET, region_id="i/0.1", name="a coat")
    got = ask(chooser("two medals"), PARENT, JACKET, twin)
    assert [(m[0], m[2]) for m in got] == [("i/0.0", "among"), ("i/0.1", "among")]


def test_a_child_of_a_region_without_description_is_looked_for_above_it() -> None:
    grandchild = replace(JACKET, region_id="i/0.0.0")
    assert ask(chooser("a dark uniform"), PARENT, grandchild) == [("i/0.0.0", "a dark uniform", "same", 0.8)]


def test_regions_without_a_name_and_parents_of_one_word_ask_nothing() -> None:
    vlm = ScriptedVLM({})  # would raise
    assert ask(vlm, PARENT, replace(JACKET, name="")) == []
    assert ask(vlm, replace(PARENT, text="wet"), JACKET) == []
    assert ask(vlm) == []


# ---- params ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "asks"),
    [
        (Merge(), False),
        (Merge(writer="outline", settle="none"), False),
        (Merge(writer="vlm"), True),
        (Merge(matcher="asked"), True),
        (Merge(settle="look"), True),
    ],
)
def test_the_annotator_is_needed_only_where_it_is_asked(params: Merge, asks: bool) -> None:
    assert params.asks is asks


def test_shipped_params_ask_no_annotator_in_merge() -> None:
    assert not Params().merge.asks
