"""Statistics of a dataset: every number derived by hand, spreads and areas against plain definitions."""

from __future__ import annotations

import json
import math
import re
import statistics as reference
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.core.counts import StageCount
from ouro.core.records import Box, Decision, Description, Image, QAPair, Region, Rejected, Scene
from ouro.pages.measure import Collector, covered, outermost_texts, spread, written_by_aspect
from ouro.pages.statistics import Statistics, StatisticsError, captions_from_json

ONE, TWO = "1" * 16, "2" * 16


def region(path: str, box: Box = (0, 0, 10, 10), source: str = "rpn", text: str = "", kind: str = "object") -> Region:
    """A region of image ONE by its path."""
    parent = f"{ONE}/{path.rpartition('.')[0]}" if "." in path else None
    return Region(f"{ONE}/{path}", ONE, parent, path.count("."), box, 1.0, source, text, kind)


def image(image_id: str, *captions: str) -> Image:
    return Image(image_id, "x.png", 100, 100, "x", captions=captions)


def pair(aspect: str, confidence: float | None = None) -> QAPair:
    return QAPair("q", ONE, aspect, "?", "!", confidence)


def collected() -> Statistics:
    """Two images: one with four regions, texts, a scene and pairs, one with nothing but a caption."""
    collector = Collector("round 1")
    regions = [
        region("0", (0, 0, 100, 100), "image", kind="scene"),
        region("0.0", (0, 0, 50, 50)),
        region("0.0.0", (0, 0, 20, 10), "ocr", "milk", "text"),
        region("0.1", (10, 0, 30, 10), "rpn+ocr", "open now"),
    ]
    descriptions = [Description(r.region_id, ONE, "word " * (2 + r.level), "m") for r in regions]
    scene = Scene(ONE, "one two three four five", (), (), (), (Decision("budget", "r", "t", "rule"),))
    collector.image(
        image(ONE, "a table"), regions, descriptions, scene, [pair("style", 0.5), pair("style", 1.0), pair("style")]
    )
    collector.image(image(TWO, "a table and a box"), [], [], None, [])
    collector.stage(StageCount("propose", 4, 3, {"nms": 1}))
    collector.stage(StageCount("propose", 3, 1, {"nms": 1, "too_small": 1}))
    collector.aspects({"style": (3, 4)})
    collector.aspects({"style": (1, 1), "interactions": (0, 5)})
    return collector.result()


def test_caption_lengths_by_level_and_round() -> None:
    rows = {c.level: (c.round, c.n, c.mean, c.std, c.median, c.p95) for c in collected().captions}
    assert rows == {
        "original": ("round 1", 2, 3.5, 1.5, 3.5, 5.0),  # 2 and 5 words
        "0": ("round 1", 1, 2.0, 0.0, 2.0, 2.0),
        "1": ("round 1", 2, 3.0, 0.0, 3.0, 3.0),
        "2": ("round 1", 1, 4.0, 0.0, 4.0, 4.0),
        "merged": ("round 1", 1, 5.0, 0.0, 5.0, 5.0),
    }
    assert list(rows) == ["original", "0", "1", "2", "merged"]


def test_regions_are_counted_without_the_whole_image() -> None:
    result = collected()
    # of 3 and 0 regions
    assert (result.images, result.regions_mean, result.regions_median, result.regions_p95) == (2, 1.5, 1.5, 3.0)
    assert [(r.by, r.value, r.n, r.per_image) for r in result.regions] == [
        ("level", "1", 2, 1.0), ("level", "2", 1, 0.5),
        ("source", "ocr", 1, 0.5), ("source", "rpn", 1, 0.5), ("source", "rpn+ocr", 1, 0.5),
        ("kind", "object", 2, 1.0), ("kind", "text", 1, 0.5),
    ]  # fmt: skip


def test_ocr_coverage() -> None:
    """(0, 0, 20, 10) and (10, 0, 30, 10) cover 300 of 10,000 pixels of one of two images."""
    ocr = collected().ocr
    assert (ocr.images, ocr.area, ocr.characters) == (0.5, 0.015, len("milk") + len("open now"))


def test_acceptance_confidence_decisions_and_stages() -> None:
    result = collected()
    assert [(a.aspect, a.kept, a.written, a.share) for a in result.acceptance] == [
        ("interactions", 0, 5, 0.0), ("style", 4, 5, 0.8),
    ]  # fmt: skip
    assert result.confidence == 0.75 and result.decisions == (("budget", 1),)
    (stage,) = result.stages
    assert (stage.stage, stage.n_in, stage.n_out, stage.rejected) == ("propose", 7, 4, (("nms", 2), ("too_small", 1)))


def test_an_empty_dataset_has_statistics() -> None:
    result = Collector("1").result()
    assert result.captions == result.regions == () and result.confidence is None
    assert all(math.isfinite(v) for v in result.metrics().values())


def test_text_of_a_block_is_counted_once() -> None:
    """The block's text repeats its lines'; a table without text between them changes nothing."""
    block = [region("0", text=""), region("0.0", text="a b"), region("0.0.0"), region("0.0.0.0", text="a")]
    assert [r.region_id for r in outermost_texts([*block, region("0.1", text="c")])] == [f"{ONE}/0.0", f"{ONE}/0.1"]


def test_a_tree_that_bites_its_tail_ends() -> None:
    looped = [
        Region("a", ONE, "b", 1, (0, 0, 1, 1), 1.0, "ocr"),
        Region("b", ONE, "a", 1, (0, 0, 1, 1), 1.0, "ocr"),
        Region("c", ONE, "b", 2, (0, 0, 1, 1), 1.0, "ocr", "text"),
    ]
    assert outermost_texts(looped) == [looped[2]]


# ---- spreads and areas -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60))
def test_spread_agrees_with_the_standard_library(values: list[int]) -> None:
    mean, std, median, p95 = spread(Counter(values))
    assert mean == pytest.approx(reference.fmean(values)) and median == reference.median(values)
    assert std == pytest.approx(reference.pstdev(values), abs=1e-9)
    assert p95 in values and sum(v <= p95 for v in values) >= 0.95 * len(values)
    assert sum(v < p95 for v in values) < 0.95 * len(values)


whole_boxes = st.tuples(st.integers(-3, 14), st.integers(-3, 14), st.integers(-3, 14), st.integers(-3, 14))


@given(st.lists(whole_boxes, max_size=8))
def test_covered_area_is_that_of_the_pixels(boxes: list[tuple[int, int, int, int]]) -> None:
    pixels = sum(any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes) for x in range(12) for y in range(9))
    assert covered([(float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in boxes], 12, 9) == pytest.approx(
        pixels / 108
    )


def test_boxes_that_are_no_numbers_cover_nothing() -> None:
    assert covered([(math.nan, 0, 5, 5), (0, 0, math.inf, 5)], 10, 10) == 0.0


# ---- acceptance --------------------------------------------------------------------------------------------


def test_acceptance_comes_from_the_sidecar_where_it_says() -> None:
    assert written_by_aspect({"aspects": {"style": [2, 9]}}, [pair("style")], []) == {"style": (2, 9)}


@pytest.mark.parametrize("counts", [None, [], {"style": 3}, {"style": [1]}, {"style": [3, 2]}, {"style": [True, 2]}])
def test_acceptance_is_counted_where_the_sidecar_says_nothing_usable(counts: object) -> None:
    dropped = [
        Rejected("synthesize", f"{ONE}/style/3", "no_support"),
        Rejected("synthesize", f"{ONE}/scene/of/things/0", "no_support"),
        Rejected("synthesize", ONE, "unparsable"),
    ]
    assert written_by_aspect({"aspects": counts}, [pair("style"), pair("style")], dropped) == {
        "scene/of/things": (0, 1), "style": (2, 3), "unknown": (0, 1),
    }  # fmt: skip


# ---- what leaves -------------------------------------------------------------------------------------------


def test_metrics_are_flat_and_named_safely() -> None:
    flat = collected().metrics()
    assert flat["caption_words/merged/mean"] == 5.0 and flat["caption_words/0/n"] == 1.0
    assert flat["regions_per_image/source/rpn_ocr"] == 0.5 and flat["ocr/area"] == 0.015
    assert flat["acceptance/style"] == 0.8 and flat["rejected/propose/nms"] == 2.0 and flat["confidence"] == 0.75


@given(st.lists(st.text(max_size=80), min_size=1, max_size=6, unique=True))
def test_metrics_of_any_names_are_all_kept(sources: list[str]) -> None:
    collector = Collector("1")
    collector.image(
        image(ONE), [region("0"), *(region(f"0.{k}", source=s) for k, s in enumerate(sources))], [], None, []
    )
    names = [n for n in collector.result().metrics() if n.startswith("regions_per_image/source/")]
    assert len(names) == len(sources) and all(re.fullmatch(r"[A-Za-z0-9_./-]{1,250}", n) for n in names)


def test_statistics_survive_json() -> None:
    result = collected()
    assert captions_from_json("x", json.loads(json.dumps(result.to_json()))) == result.captions


NAN_ROW = {"round": "1", "level": "0", "n": 1, "mean": "nan", "std": 0, "median": 0, "p95": 0}


@pytest.mark.parametrize("value", [None, [], {}, {"captions": [3]}, {"captions": [{}]}, {"captions": [NAN_ROW]}])
def test_statistics_of_another_kind_are_refused(value: object) -> None:
    with pytest.raises(StatisticsError, match=r"old.json: got no caption lengths .* `ouro inspect` wrote"):
        captions_from_json("old.json", value)
