"""The length budget: filler goes first, what several regions confirm stays, nothing is spoken of without its start."""

from __future__ import annotations

import json
import re
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.annotate.merge import merge_shard as merge_any
from ouro.annotate.merging.budget import Line, confirmations, join_lines, within_budget
from ouro.annotate.merging.provenance import Piece, plain
from ouro.core.params import Merge
from ouro.core.records import Description, Image, Region, Scene
from ouro.core.tokens import count_words
from ouro.nano.facts import quality, repeated_facts
from ouro.nano.merging import merge_nano

merge_shard = partial(merge_any, template=merge_nano)


def line(text: str, region: str = "0", *, filler: bool = False, leans_on: int = -1) -> Line:
    return Line((Piece(text, region),), (region,), filler, leans_on)


def short(lines: list[Line], max_tokens: int, confirmed: dict[str, int] | None = None) -> tuple[str, list[str]]:
    result = within_budget(lines, "0", max_tokens, count_words, confirmed or {})
    assert all(d.kind == "budget" for d in result.lost)
    return plain(join_lines(result.lines, "0")), [d.rule for d in result.lost]


ROOM = [
    line("A workshop."),  # 3 words and marks
    line("The overall atmosphere suggests hard, honest work by skilled hands.", filler=True),  # 12
    line("A red cup.", "0.0"),  # 4
    line("It has a crack.", "0.0", leans_on=2),  # 5
    line("A dog.", "0.1"),  # 3
]


def test_a_text_within_its_budget_stays() -> None:
    assert short(ROOM, 27) == (" ".join(plain(one.marked) for one in ROOM), [])


def test_filler_goes_first_however_much_it_tells() -> None:
    assert short(ROOM, 26) == ("A workshop. A red cup. It has a crack. A dog.", ["filler_first"])


def test_then_what_tells_least_and_of_equals_the_later() -> None:
    """ "crack" and "dog" are one word each."""
    assert short(ROOM, 14)[0] == "A workshop. A red cup. It has a crack."


def test_what_several_regions_confirm_counts_more() -> None:
    confirmed = confirmations(["a dog", "a brown dog", "a red cup", "a crack"])
    assert confirmed["dog"] == 2
    assert short(ROOM, 14, confirmed)[0] == "A workshop. A red cup. A dog."


def test_a_thing_is_not_spoken_of_after_its_introduction_went() -> None:
    """The cup tells nothing that no other line tells, and its rim one word: the rim goes first all the same."""
    lines = [
        line("A room."),
        line("A red cup.", "0.0"),
        line("It has a rim.", "0.0", leans_on=1),
        line("Red cups gleam on shining shelves."),
    ]
    assert short(lines, 18)[0] == "A room. A red cup. Red cups gleam on shining shelves."
    assert short(lines, 10)[0] == "A room. Red cups gleam on shining shelves."


def test_an_endless_sentence_is_cut_at_a_word() -> None:
    text, rules = short([line("a cup and " * 50)], 7)
    assert (text, rules) == ("a cup and a cup and a", ["own_sentence_over_budget"])


def test_an_endless_word_is_cut() -> None:
    result = within_budget([line("x" * 90)], "0", 20, len, {})
    assert plain(join_lines(result.lines, "0")) == "x" * 20


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
first = st.sampled_from(["a ", "the ", "two ", "his ", "some ", "the second ", "one of the ", "The image shows a "])
ends = st.sampled_from(
    [
        "",
        " with a handle",
        " at the left",
        " is red",
        ' that says "a cup. a dog"',
        ", possibly a cup",
        " in the background",
    ]
)
phrases = st.builds("".join, st.tuples(first, looks, names, ends))
sentence = st.lists(phrases, min_size=1, max_size=3).map(" and ".join)
plausible = st.lists(sentence, min_size=1, max_size=4).map(lambda phrases: ". ".join(phrases) + ".")
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
    descriptions = [
        Description(r.region_id, "i", draw(texts), "v", name=draw(texts))
        for r in regions
        if r.level == 0 or draw(st.booleans())
    ]
    return [Image("i", "i.png", 90, 90, "s", captions=(draw(texts),))], regions, descriptions


@settings(deadline=None)
@given(trees(), st.integers(1, 60), st.sampled_from(["template", "outline"]))
def test_spans_fit_and_no_text_is_over_its_budget(
    tree: tuple[list[Image], list[Region], list[Description]], max_tokens: int, writer: str
) -> None:
    images, regions, descriptions = tree
    params = Merge(max_tokens=max_tokens, writer=writer)  # type: ignore[arg-type]
    merged = merge_shard(images, regions, descriptions, params)
    assert len(merged.scenes) + len(merged.rejected) == 1
    assert bool(merged.rejected) is not any(c.isalnum() for c in descriptions[0].text)
    for scene in merged.scenes:
        assert all(count_words(text) <= max_tokens for _, text in scene.region_texts)
        assert dict(scene.region_texts)["i/0"] == scene.text
        check_spans(scene, {r.region_id for r in regions})
    assert merge_shard(images, regions, descriptions, params) == merged


@settings(deadline=None)
@given(trees())
def test_every_sentence_of_a_child_is_in_the_outline_or_in_a_decision(
    tree: tuple[list[Image], list[Region], list[Description]],
) -> None:
    """By its words without the marks' ones: trimming leaves out what it marks, and nothing else."""
    images, regions, descriptions = tree
    merged = merge_shard(images, regions, descriptions, Merge(max_tokens=100_000, writer="outline"))
    for scene in merged.scenes:
        words = " ".join([scene.text, *(d.text for d in scene.decisions)])
        names = set(
            re.findall(r"cup|mug|sofa|couch|dog|table|star", " ".join(d.text.split(",")[0] for d in descriptions))
        )
        assert names <= set(re.findall(r"cup|mug|sofa|couch|dog|table|star", words))


def check_spans(scene: Scene, ids: set[str]) -> None:
    at = 0
    for span in scene.insertions:
        assert at <= span.start < span.end <= len(scene.text) and span.region_id in ids - {"i/0"}
        at = span.end
    at = 0
    for s in scene.sentences:
        assert at <= s.start < s.end <= len(scene.text) and set(s.region_ids) <= ids
        at = s.end
    assert {d.region_id for d in scene.decisions} <= ids
    assert json.loads(scene.tree)["region_id"] == "i/0"
