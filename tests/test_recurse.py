"""Region trees from scripted proposers: they end, nest, account for every candidate, and are ordered."""

from __future__ import annotations

from collections.abc import Sequence

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.annotate.propose import REASONS, filter_proposals, nest
from ouro.annotate.recurse import Grown, Node, divide, is_shown, propose_shard
from ouro.core import boxes
from ouro.core.params import Propose
from ouro.core.records import Box, Image, Region
from ouro.vision.layout import READ_SIDE
from ouro.vision.protocols import Proposal

SIDE = 200


class Scripted:
    """Answers by what is drawn: the value of a crop's top-left pixel picks a list of boxes.

    The picture is a horizontal ramp, so that a crop knows its own x offset; each call is recorded.
    """

    def __init__(self, name: str, answers: dict[int, list[Proposal]] | None = None) -> None:
        self.name = name
        self.answers = answers or {}
        self.calls: list[list[tuple[int, int]]] = []

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        self.calls.append([image.size for image in images])
        return [self.answers.get(image.crop((0, 0, 1, 1)).tobytes()[0], []) for image in images]


def ramp() -> PIL.Image.Image:
    picture = PIL.Image.new("L", (SIDE, SIDE))
    picture.putdata([x for _ in range(SIDE) for x in range(SIDE)])
    return picture


def record(image_id: str = "a") -> Image:
    return Image(image_id, "shard/a.png", SIDE, SIDE, "test")


def rpn(x0: float, y0: float, x1: float, y1: float, score: float = 0.9) -> Proposal:
    return Proposal((x0, y0, x1, y1), score, "rpn")


def ocr(box: Box, text: str, score: float = 0.99) -> Proposal:
    return Proposal(box, score, "ocr", text)


def grow(*proposers: Scripted, **params: object) -> Grown:
    return propose_shard([(record(), ramp())], proposers, Propose(**params))  # type: ignore[arg-type]


def paths(grown: Grown) -> dict[str, Box]:
    return {r.region_id: r.box for r in grown.regions}


def test_part_found_on_the_full_image_becomes_a_child_of_what_contains_it() -> None:
    proposer = Scripted("rpn", {0: [rpn(20, 20, 120, 120), rpn(30, 30, 60, 60), rpn(150, 150, 180, 180)]})
    assert paths(grow(proposer)) == {
        "a/0": (0, 0, 200, 200),
        "a/0.0": (20, 20, 120, 120),
        "a/0.0.0": (30, 30, 60, 60),
        "a/0.1": (150, 150, 180, 180),
    }


def test_part_found_again_in_the_crop_is_one_region_and_the_better_one() -> None:
    # the crop of (20, 20, 120, 120) starts at ramp value 20; there the part is found 1 px more exactly
    proposer = Scripted("rpn", {0: [rpn(20, 20, 120, 120), rpn(30, 30, 60, 60, 0.7)], 20: [rpn(11, 11, 41, 41, 0.95)]})
    grown = grow(proposer)
    assert paths(grown)["a/0.0.0"] == (31, 31, 61, 61)
    assert [r.reason for r in grown.rejected] == ["nms"]
    assert len(grown.regions) == 3


def test_word_is_attached_to_the_deepest_region_that_contains_it() -> None:
    words = Scripted("ocr", {0: [ocr((40, 40, 80, 56), "apple")]})
    regions = grow(Scripted("rpn", {0: [rpn(20, 20, 120, 120)]}), words).regions
    assert [(r.region_id, r.source, r.text) for r in regions] == [
        ("a/0", "image", ""), ("a/0.0", "rpn", ""), ("a/0.0.0", "ocr", "apple"),
    ]  # fmt: skip
    assert words.calls == [[(200, 200)]]  # whole images only


def test_word_that_coincides_with_a_region_is_fused_with_it() -> None:
    words = Scripted("ocr", {0: [ocr((40, 40, 80, 56), "tea")]})
    _, fused = grow(Scripted("rpn", {0: [rpn(40, 40, 82, 57)]}), words).regions
    assert (fused.source, fused.text, fused.score, fused.box) == ("rpn+ocr", "tea", 0.99, (40, 40, 82, 57))


def test_text_holds_no_other_region() -> None:
    line = ocr((10, 10, 190, 60), "a long line")
    regions = grow(Scripted("rpn", {0: [rpn(20, 20, 50, 50)]}), Scripted("ocr", {0: [line]})).regions
    assert sorted(r.source for r in regions if r.level == 1) == ["ocr", "rpn"]


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (rpn(180, 180, 260, 260), "outside"),  # a sixteenth is visible
        (rpn(float("nan"), 0, 50, 50), "outside"),
        (rpn(50, 50, 20, 20), "outside"),  # inverted
        (rpn(10, 10, 50, 50, 0.49), "low_score"),
        (rpn(10, 10, 50, 50, float("nan")), "low_score"),
        (ocr((10, 10, 60, 30), "tea", 0.59), "low_score"),
        (ocr((10, 10, 60, 30), "X"), "single_character"),
        (rpn(10, 10, 23, 60), "too_small"),
        (rpn(10, 10, 190, 26), "bad_aspect"),  # 180 : 16 is over 8
        (rpn(0, 0, 190, 190), "covers_parent"),  # 0.9 of it
        (ocr((0, 10, 2001, 20), "a line longer than any processor takes"), "outside"),  # a tenth is visible
    ],
)
def test_each_fault_has_its_reason(candidate: Proposal, reason: str) -> None:
    proposals, rejected = filter_proposals([candidate], (0, 0, 200, 200), Propose(), "a/0")
    assert (proposals, [r.reason for r in rejected]) == ([], [reason])


def test_a_line_of_text_may_be_long_and_thin() -> None:
    line = ocr((10, 10, 190, 22), "a long thin line")
    assert filter_proposals([line], (0, 0, 200, 200), Propose(), "a/0").proposals == [line]


def test_text_of_an_aspect_over_200_is_refused_and_just_200_is_not() -> None:
    parent: Box = (0, 0, 3000, 200)
    thin, thinner = ocr((0, 0, 2000, 10), "a long line"), ocr((0, 50, 2001, 60), "a longer line")
    outcome = filter_proposals([thin, thinner], parent, Propose(max_aspect=2), "a/0")
    assert outcome.proposals == [thin] and [r.reason for r in outcome.rejected] == ["bad_aspect"]


def test_sources_of_what_coincides_are_joined_and_the_best_box_and_score_stay() -> None:
    search = Proposal((10, 10, 60, 60), 0.9, "selective-search")
    ground = Proposal((12, 10, 60, 60), 0.7, "grounding")
    text = ocr((10, 12, 60, 60), "tea", 0.8)
    whole: Box = (0, 0, 200, 200)
    assert filter_proposals([ground, search], whole, Propose(), "a/0").proposals == [
        Proposal(search.box, 0.9, "selective-search+grounding")
    ]
    outcome = filter_proposals([text, ground, search, search], whole, Propose(), "a/0")
    assert outcome.proposals == [Proposal(search.box, 0.9, "selective-search+grounding+ocr", "tea")]
    assert [r.detail.endswith("; fused") for r in outcome.rejected] == [False, True, True]  # the copy adds nothing


BLOCK = ocr((10, 10, 180, 70), "two lines of a paragraph here", 0.9)
LINES = [ocr((10, 10, 180, 38), "two lines of a", 0.95), ocr((10, 42, 150, 70), "paragraph here", 0.85)]


def test_lines_are_the_parts_of_their_block_though_they_overlap_it_more_than_nms_allows() -> None:
    # a line of 170 x 28 px in a block of 170 x 60 px: IoU 0.47; with an NMS threshold of 0.4 one of them would go
    grown = grow(Scripted("ocr", {0: [BLOCK, *LINES]}), nms_iou=0.4)
    assert [(r.region_id, r.kind, r.text) for r in grown.regions] == [
        ("a/0", "scene", ""), ("a/0.0", "text", BLOCK.text),
        ("a/0.0.0", "text", LINES[0].text), ("a/0.0.1", "text", LINES[1].text),
    ]  # fmt: skip
    assert grown.rejected == []


def test_a_block_is_divided_without_a_search_and_its_lines_must_be_high_enough() -> None:
    searched = Scripted("rpn")
    grown = grow(searched, Scripted("ocr", {0: [BLOCK, *LINES]}), min_side=29)
    assert [r.text for r in grown.regions] == ["", BLOCK.text]
    assert [r.reason for r in grown.rejected] == ["too_small", "too_small"]
    assert searched.calls == [[(200, 200)]]


def test_a_thing_in_a_block_is_its_part_and_a_block_in_a_thing_goes_with_its_lines() -> None:
    thing, sheet = rpn(100, 12, 130, 36, 0.6), rpn(0, 0, 190, 140)
    grown = grow(Scripted("rpn", {0: [thing, sheet]}), Scripted("ocr", {0: [BLOCK, *LINES]}))
    assert {r.region_id: r.source for r in grown.regions} == {
        "a/0": "image", "a/0.0": "rpn", "a/0.0.0": "ocr",
        "a/0.0.0.0": "ocr", "a/0.0.0.1": "rpn", "a/0.0.0.2": "ocr",
    }  # fmt: skip


def test_siblings_beside_a_block_are_read_column_by_column_and_else_row_by_row() -> None:
    left, right = [rpn(5, y, 90, y + 40) for y in (80, 140)], [rpn(110, y, 195, y + 40) for y in (82, 142)]
    lines = [ocr((5, 4, 90, 30), "a first line"), ocr((5, 40, 90, 66), "second")]
    block = ocr((5, 4, 90, 66), "a first line second")
    params = Propose()
    assert nest([*right, *left], params, "a/0").siblings == [left[0], right[0], left[1], right[1]]
    assert nest([*right, *left, block, *lines], params, "a/0").siblings == [block, *left, *right]


def test_kind_comes_from_all_words_read_in_a_region_also_from_those_too_short_for_regions() -> None:
    """The labels of an axis are single characters, which never become regions."""
    ticks = [ocr((2, 150 - 50 * i, 12, 166 - 50 * i), str(i)) for i in range(4)]
    grown = grow(Scripted("rpn", {0: [rpn(1, 0, 150, 180)]}), Scripted("ocr", {0: ticks}))
    assert [r.kind for r in grown.regions] == ["scene", "chart"]
    assert [r.reason for r in grown.rejected] == ["single_character"] * 4


def test_words_read_in_the_whole_image_decide_the_kind_of_regions_two_levels_below() -> None:
    ticks = [ocr((22, 66 + 34 * i, 32, 82 + 34 * i), str(2 - i)) for i in range(3)]
    inner = rpn(20, 60, 130, 180)  # its left side is 120 px long, of which the labels' centres span 68
    grown = grow(Scripted("rpn", {0: [rpn(1, 40, 190, 190), inner]}), Scripted("ocr", {0: ticks}))
    assert [(r.region_id, r.kind) for r in grown.regions] == [
        ("a/0", "scene"),
        ("a/0.0", "object"),
        ("a/0.0.0", "chart"),
    ]


def wide_node(side: float, level: int = 1, read_at: float = 0.0, text: str = "", source: str = "rpn") -> Node:
    region = Region("a/0.0", "a", "a/0", level, (0, 0, side, 100), 0.9, source, text)
    return Node(region, read_at=read_at)


@pytest.mark.parametrize(
    ("node", "shown", "why"),
    [
        (wide_node(4 * READ_SIDE, level=0), True, "the whole image"),
        (wide_node(READ_SIDE, read_at=0.25), True, "seen four times as large as in the image"),
        (wide_node(READ_SIDE, read_at=1.0), False, "the image was seen at full scale"),
        (wide_node(1.9 * READ_SIDE, read_at=0.5), False, "1.05 times as large"),
        (wide_node(READ_SIDE, read_at=0.25, text="read already"), False, "has been read as one text"),
        (wide_node(READ_SIDE, read_at=0.25, source="ocr"), False, "a block"),
    ],
)
def test_ocr_reads_a_crop_when_it_sees_it_larger_than_before(node: Node, shown: bool, why: str) -> None:
    assert is_shown("ocr", node) == shown, why
    assert is_shown("rpn", node) == (node.region.source != "ocr")


def test_what_is_read_in_a_crop_replaces_what_was_read_there_at_a_smaller_scale() -> None:
    coarse, other = ocr((100, 100, 200, 120), "smoll pnnt"), ocr((400, 300, 460, 330), "elsewhere")
    region = Region("a/0.0", "a", "a/0", 1, (0, 0, 960, 600), 0.9, "rpn")
    fine = ocr((102, 101, 198, 119), "small print", 0.7)
    children, rejected = divide(Node(region, [coarse, other], [coarse, other], 0.25), [fine], Propose())
    assert [c.region.text for c in children] == ["small print", "elsewhere"]
    assert [(r.reason, r.record_id) for r in rejected] == [("reread", "a/0.0")]
    assert {c.read_at for c in children} == {1.0}


def test_too_many_children_drop_the_lowest_scores_with_their_parts() -> None:
    proposals = [rpn(0, 0, 90, 90, 0.6), rpn(10, 10, 40, 40, 0.99), rpn(100, 100, 190, 190, 0.8)]
    nested = nest(proposals, Propose(max_children=1), "a/0")
    assert nested.siblings == [proposals[2]]
    assert [r.reason for r in nested.rejected] == ["too_many", "too_many"]


def test_parts_below_the_last_level_are_rejected_as_max_depth() -> None:
    answers = {0: [rpn(20, 20, 120, 120), rpn(30, 30, 60, 60)]}
    grown = grow(Scripted("rpn", answers), max_depth=1)
    assert [r.region_id for r in grown.regions] == ["a/0", "a/0.0"]
    assert [r.reason for r in grown.rejected] == ["max_depth"]


def test_all_regions_of_a_level_are_searched_in_one_call() -> None:
    proposer = Scripted("rpn", {0: [rpn(0, 0, 50, 50), rpn(100, 100, 160, 160)]})
    propose_shard([(record("a"), ramp()), (record("b"), ramp())], [proposer], Propose())
    assert proposer.calls == [[(200, 200)] * 2, [(50, 50), (60, 60)] * 2]


def test_wrong_picture_size_and_wrong_answer_count_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the recorded"):
        propose_shard([(record(), PIL.Image.new("RGB", (20, 20)))], [], Propose())
    silent = Scripted("rpn")
    silent.propose = lambda images: []  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="got 0 answers for 1 images"):
        grow(silent)


number = st.floats(-20, SIDE + 20)
any_proposal = st.one_of(
    st.builds(rpn, number, number, number, number, st.floats(0, 1)),
    st.builds(
        lambda x, y, w, h, s: rpn(x, y, x + w, y + h, s),
        st.floats(0, 120), st.floats(0, 120), st.floats(14, 80), st.floats(14, 80), st.floats(0.5, 1),
    ),
)  # fmt: skip
any_word = st.builds(
    lambda x, y, w: ocr((x, y, x + w, y + 20), "word"),
    st.floats(0, 150),
    st.floats(0, 150),
    st.floats(10, 90),
)
scripts = st.dictionaries(st.integers(0, SIDE), st.lists(any_proposal, max_size=6), max_size=40)
some_params = st.builds(
    Propose,
    nms_iou=st.floats(0, 1), max_depth=st.integers(0, 5), max_children=st.integers(1, 6),
    max_parent_cover=st.floats(0, 1), min_side=st.integers(1, 30),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(scripts, st.lists(any_proposal, max_size=10), st.lists(any_word, max_size=4), some_params)
def test_any_tree_is_well_formed(
    script: dict[int, list[Proposal]], at_root: list[Proposal], words: list[Proposal], params: Propose
) -> None:
    proposers = [Scripted("rpn", {**script, 0: at_root}), Scripted("ocr", {0: words})]
    grown = propose_shard([(record("a"), ramp()), (record("b"), ramp())], proposers, params)
    assert grown.n_candidates == len(grown.regions) + len(grown.rejected)
    assert {r.reason for r in grown.rejected} <= set(REASONS)
    seen: dict[str, boxes.Box] = {}
    children: dict[str, int] = {}
    for region in grown.regions:
        assert region.region_id not in seen
        assert region.level <= params.max_depth
        assert all(v == int(v) for v in region.box)
        if region.parent_id is not None:
            assert boxes.containment(region.box, seen[region.parent_id]) == 1.0  # the parent came before
            children[region.parent_id] = children.get(region.parent_id, 0) + 1
        seen[region.region_id] = region.box
    assert max(children.values(), default=0) <= params.max_children
    assert [r.image_id for r in grown.regions] == sorted(r.image_id for r in grown.regions)


@settings(max_examples=40, deadline=None)
@given(scripts, st.lists(any_proposal, max_size=8))
def test_waves_give_the_same_trees_as_image_by_image(
    script: dict[int, list[Proposal]], at_root: list[Proposal]
) -> None:
    proposer = Scripted("rpn", {**script, 0: at_root})
    images = [(record("a"), ramp()), (record("b"), ramp())]
    together = propose_shard(images, [proposer], Propose())
    alone = [region for image in images for region in propose_shard([image], [proposer], Propose()).regions]
    assert together.regions == alone
