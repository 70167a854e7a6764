"""The report page: self-contained, everything escaped, insertions traced, curves where the numbers are."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from ouro.benchmarks.comparison import Comparison, Row
from ouro.benchmarks.intervals import Difference, Estimate
from ouro.core.counts import StageCount
from ouro.core.records import Description, Image, Insertion, QAPair, Region, Scene
from ouro.pages.charts import HEIGHT, TOP, WIDTH, loss_curve, nice_marks
from ouro.pages.report import LossPoint, ReportSample, interval, points, signed, verdict, write_report

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}</style>"
TEXT = "a table with a red star at the top left and some objects ."


class _Page(HTMLParser):
    """Tags, attributes and text of a page, and the text inside the merged description."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.merged: list[tuple[str, str]] = []
        self._inside, self._mark = False, ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if "merged" in (dict(attrs).get("class") or "").split():
            self._inside = True
        if tag == "mark":
            self._mark = dict(attrs).get("class") or ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "div"
        self._mark = "" if tag == "mark" else self._mark

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._inside:
            self.merged.append((data, self._mark))


def _sample(text: str = "a red star .", extra: str = "", picture: PILImage.Image | None = None) -> ReportSample:
    regions = [
        Region("i/0.0.0", "i", "i/0.0", 2, (2, 2, 6, 6), 0.9, "rpn+ocr" + extra, "stop" + extra),
        Region("i/0", "i", None, 0, (0, 0, 32, 24), 1.0, "image"),
        Region("i/0.0", "i", "i/0", 1, (1, 1, 12, 12), 0.8, "rpn"),
    ]
    scene = Scene("i", TEXT + extra, (Insertion(13, 40, "i/0.0.0"),), ())
    return ReportSample(
        Image("i" + extra, "i.png", 32, 24, "folder" + extra),
        picture or PILImage.new("RGB", (32, 24), (200, 30, 30)),
        regions,
        [Description(r.region_id, "i", text, "nano") for r in regions],
        scene,
        [QAPair("q0", "i", "style" + extra, "what color ?" + extra, "red" + extra)],
    )


def _row(kind: str, n: int) -> Row:
    """From nothing to the half, of which nothing is left on shuffled images."""
    none, half = Estimate(0.0, 0.0, 0.0, n), Estimate(0.5, 0.3, 0.7, n)
    flat, gain = Difference(0.0, 0.0, 0.0, n, 1.0), Difference(0.5, 0.3, 0.7, n, 0.001)
    return Row(kind, n, 0.25, none, half, gain, 0.0, 0.0, flat, gain, gain)


def _comparison(extra: str = "") -> Comparison:
    rows = tuple(_row(f"kind_{k}{extra}", 10) for k in range(2))
    return Comparison("base" + extra, "boot" + extra, 0, 20, rows, _row("macro-average", 20), _row("all questions", 20))


def _html(tmp_path: Path, **content: object) -> str:
    path = write_report(tmp_path, **{"title": "A round", **content})  # type: ignore[arg-type]
    assert path == tmp_path / "index.html"
    return path.read_text(encoding="utf-8")


def _everything(extra: str = "") -> dict[str, object]:
    return {
        "title": "A round" + extra,
        "notes": ["nano knows only its scenes" + extra],
        "facts": {"seed" + extra: "0" + extra},
        "samples": [_sample("a red star ." + extra, extra)],
        "losses": [LossPoint(s, 3.0 / (s + 1), 2.0 / (s + 1)) for s in range(40)],
        "comparisons": [_comparison(extra)],
        "counts": [StageCount("propose" + extra, 10, 7, {"too_small" + extra: 3})],
        "paths": {"adapter" + extra: "models/adapter" + extra},
    }


def test_text_of_models_files_and_people_is_escaped_everywhere(tmp_path: Path) -> None:
    html = _html(tmp_path, **_everything(EVIL))
    page = _Page(html)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "object", "embed", "link", "form"}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert html.count("</style>") == 1
    assert "{{ 7 * 7 }}" in page.text
    for place in (
        "A round", "nano knows only its scenes", "seed", "i", "folder", "rpn+ocr", "stop", "a red star .",
        TEXT, "style", "what color ?", "red", "propose", "too small", "adapter", "models/adapter", "base",
        "boot", "kind 0",
    ):  # fmt: skip
        assert place + "<script>alert(1)</script>" in page.text, place


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    html = _html(tmp_path, **_everything(" http://example.org/x https://example.org/y"))
    page = _Page(html)
    loads = [v for _, attrs in page.tags for k, v in attrs.items() if k in ("src", "href", "srcset", "data", "action")]
    assert loads and all(str(v).startswith(("#", "data:image/png;base64,")) for v in loads)
    style = re.findall(r"<style>(.*?)</style>", html, re.S)[0]
    assert "url(" not in style and "@import" not in style
    assert "default-src 'none'" in html


def test_picture_is_embedded_once_and_regions_lie_over_it(tmp_path: Path) -> None:
    html = _html(tmp_path, **_everything())
    assert html.count("data:image/png;base64,") == 1
    rects = {(a["x"], a["y"], a["width"], a["height"]): a["class"] for t, a in _Page(html).tags if t == "rect"}
    assert rects[("1.0", "1.0", "11.0", "11.0")] == "r1 t1"
    assert rects[("2.0", "2.0", "4.0", "4.0")] == "r2 t2"
    assert len(rects) == 3


def test_large_pictures_are_scaled_down(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), dtype=np.uint8)
    html = _html(tmp_path, samples=[_sample(picture=PILImage.fromarray(noise))])
    assert "data:image/jpeg;base64," in html
    assert len(html) < 2_000_000


def test_inserted_details_are_marked_with_their_region(tmp_path: Path) -> None:
    page = _Page(_html(tmp_path, **_everything()))
    assert "".join(text for text, _ in page.merged) == TEXT
    assert [(text, mark) for text, mark in page.merged if mark] == [(TEXT[13:40], "r2 t2")]


def test_nested_and_wild_insertions_keep_the_text_whole(tmp_path: Path) -> None:
    sample = _sample()
    spans = (
        Insertion(0, 30, "i/0.0"),
        Insertion(13, 20, "i/0.0.0"),
        Insertion(50, 999, "gone"),
        Insertion(9, 9, "i/0"),
    )
    page = _Page(_html(tmp_path, samples=[sample._replace(scene=Scene("i", TEXT, spans, ()))]))
    assert "".join(text for text, _ in page.merged) == TEXT
    marked = [(text, mark) for text, mark in page.merged if mark]
    assert marked == [
        (TEXT[0:13], "r1 t1"),
        (TEXT[13:20], "r2 t2"),
        (TEXT[20:30], "r1 t1"),
    ]


def test_a_bare_report_has_no_empty_sections(tmp_path: Path) -> None:
    page = _Page(_html(tmp_path))
    assert "section" not in {tag for tag, _ in page.tags}
    no_scene = _html(tmp_path, samples=[_sample()._replace(scene=None, pairs=(), descriptions=())])
    assert "not described" in no_scene and "Questions and answers" not in no_scene


def test_numbers_and_reasons_are_on_the_page(tmp_path: Path) -> None:
    text = _Page(_html(tmp_path, **_everything())).text
    assert "0.0% \u2192 50.0%" in text
    assert "+50.0 points" in text
    assert "too small 3" in text
    assert "kind 0" in text and "macro-average" in text


def test_a_control_that_was_not_made_is_left_out(tmp_path: Path) -> None:
    row = replace(_row("kind", 9), majority=None, boot_shuffled=None, base_margin=None, margin_gain=None)
    html = _html(tmp_path, comparisons=[replace(_comparison(), rows=(row,), macro=row)])
    tile = _Page(html).text.partition("Scores by question type")[0]
    assert "Accuracy" in tile and "Grounded margin\n" not in tile
    assert 'class="maj"' not in html and 'class="shu"' not in html


def test_same_arguments_same_bytes_and_lone_surrogates_do_no_harm(tmp_path: Path) -> None:
    first = _html(tmp_path, **_everything())
    assert first == _html(tmp_path, **_everything())
    assert "out/a?b" in _html(tmp_path, paths={"dataset": "out/a\udcffb"})


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(0.01, 0.2, "up"), (-0.2, -0.01, "down"), (-0.1, 0.1, "open"), (0.0, 0.0, "open")],
)
def test_a_gain_counts_only_when_its_interval_excludes_zero(low: float, high: float, kind: str) -> None:
    assert verdict(Estimate(0.0, low, high, 9)) == kind


def test_points_and_signs() -> None:
    assert (points(0.5649), signed(0.246), signed(-0.03)) == ("56.5", "+24.6", "\u22123.0")
    assert interval(Estimate(0.1, -0.01, 0.21, 9)) == "\u22121.0 to +21.0"


def test_curve_runs_from_the_first_to_the_last_finite_point() -> None:
    curve = loss_curve([(10, 2.0), (0, 4.0), (20, float("nan")), (30, 1.0)])
    assert curve is not None
    assert (curve.first, curve.last, curve.smooth) == (4.0, 1.0, "")
    assert curve.raw.startswith(f"M 46.0 {TOP:.1f} L")  # the highest mark is 4: the first point touches the top
    assert curve.end == (WIDTH - 16.0, pytest.approx(TOP + (HEIGHT - 34.0 - TOP) * 3 / 4))
    assert [t.label for t in curve.y_ticks] == ["0", "1", "2", "3", "4"]
    assert loss_curve([(0, 1.0)]) is None and loss_curve([(0, 1.0), (5, float("inf"))]) is None


def test_long_curves_are_thinned_and_smoothed() -> None:
    rng = np.random.default_rng(0)
    curve = loss_curve([(s, 1.0 + float(rng.normal()) * 0.1) for s in range(5000)])
    assert curve is not None and curve.raw.count("L") <= 600
    assert abs(curve.first - 1.0) < 0.5 and curve.smooth


def test_marks_are_round_and_cover_the_range() -> None:
    assert nice_marks(0.0, 2.6, 5) == [0.0, 1.0, 2.0, 3.0]
    assert nice_marks(0.0, 0.037, 4) == [0.0, 0.01, 0.02, 0.03, 0.04]
    assert nice_marks(5.0, 5.0, 4) == [5.0, 6.0]
