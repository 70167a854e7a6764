"""The report: one self-contained page of what a run did, with samples, curves, scores and counts.

Images are embedded, styles and charts are inline, nothing is loaded from elsewhere and no script runs (the
page's own Content-Security-Policy forbids both). Text that a model, OCR or a file name produced reaches the
page only through Jinja2's autoescape; styles and SVG attributes hold nothing but numbers computed here.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from ouro.core.files import write_text
from ouro.pages import charts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jinja2 import Template
    from PIL.Image import Image as Picture

    from ouro.benchmarks.comparison import Comparison
    from ouro.benchmarks.intervals import Estimate
    from ouro.core.counts import StageCount
    from ouro.core.records import Description, Image, QAPair, Region, Scene

LEVELS = 5
"""Colours of tree levels; deeper levels repeat them."""

_PNG_PIXELS = 131_072  # up to here a picture is embedded as it is, above as JPEG
_MAX_SIDE = 1_024  # pixels of an embedded picture


class ReportSample(NamedTuple):
    """One image with the records of every stage. `picture` is the oriented full image, RGB."""

    image: Image
    picture: Picture
    regions: Sequence[Region]
    descriptions: Sequence[Description]
    scene: Scene | None
    pairs: Sequence[QAPair]


class LossPoint(NamedTuple):
    """The two losses of training at one step (eq. 6); None or a NaN where one was not logged."""

    step: int
    desc: float | None
    qa: float | None


def write_report(
    out: Path,
    *,
    title: str,
    notes: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
    samples: Sequence[ReportSample] = (),
    losses: Sequence[LossPoint] = (),
    comparisons: Sequence[Comparison] = (),
    counts: Sequence[StageCount] = (),
    paths: Mapping[str, str] | None = None,
) -> Path:
    """Write `out`/index.html and return its path. Same arguments, same bytes.

    `facts` says what was run (model, seed, ...), `notes` what the reader has to know, `paths` where results
    lie (a label -> a path or an address, shown as text). The first comparison makes the headline. Sections
    without content are left out.
    """
    views = [_sample(k, s) for k, s in enumerate(samples)]
    html = _template().render(
        title=title,
        notes=list(notes),
        facts=dict(facts or {}),
        samples=views,
        shown_regions=max((len(v.nodes) for v in views), default=0),
        levels=LEVELS,
        curves=_curves(losses),
        chart=charts,
        comparisons=list(comparisons),
        counts=list(counts),
        paths=dict(paths or {}),
    )
    path = out / "index.html"
    write_text(path, html.encode("utf-8", "replace").decode("utf-8"))  # a file name may hold lone surrogates
    return path


def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    env = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.filters.update(points=points, share=share, signed=signed, interval=interval, verdict=verdict)
    source = files("ouro.pages").joinpath("templates", "report.html.j2").read_text(encoding="utf-8")
    return env.from_string(source)


def points(share: float) -> str:
    """0.5649 -> "56.5": percentage points for the eye; the scores themselves are never rounded."""
    return f"{100 * share:.1f}".replace("-", "\u2212")


def share(value: float | None) -> str:
    """Percentage points, or nothing where a control was not made."""
    return "" if value is None else points(value)


def signed(share: float) -> str:
    """0.246 -> "+24.6", with a true minus sign below zero."""
    return f"{100 * share:+.1f}".replace("-", "\u2212")


def interval(estimate: Estimate) -> str:
    """The 95% interval of a difference in points."""
    return f"{signed(estimate.low)} to {signed(estimate.high)}"


def verdict(gain: Estimate) -> str:
    """A class name: "up" or "down" when the interval excludes 0, else "open"."""
    return "up" if gain.low > 0 else "down" if gain.high < 0 else "open"


# ---- loss curves -------------------------------------------------------------------------------------------


class _NamedCurve(NamedTuple):
    name: str
    about: str
    curve: charts.Curve


def _curves(losses: Sequence[LossPoint]) -> list[_NamedCurve]:
    columns = (
        ("desc", "describe the image and its regions", [(p.step, p.desc) for p in losses]),
        ("qa", "answer questions about the image", [(p.step, p.qa) for p in losses]),
    )
    curves: list[_NamedCurve] = []
    for name, about, column in columns:
        curve = charts.loss_curve([(step, value) for step, value in column if value is not None])
        if curve is not None:
            curves.append(_NamedCurve(name, about, curve))
    return curves


# ---- samples -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Node:
    """A region as the page shows it: box in full-image pixels, `index` ties its parts together on hover."""

    index: int
    level: int
    x: float
    y: float
    width: float
    height: float
    score: float
    source: str
    ocr: str
    description: str
    children: list[_Node] = field(default_factory=list["_Node"])

    @property
    def tint(self) -> int:
        return self.level % LEVELS


class _Segment(NamedTuple):
    """A piece of the merged description; `node` is its region, None for the image's own words."""

    text: str
    node: _Node | None


class _SampleView(NamedTuple):
    key: int
    image: Image
    uri: str
    nodes: list[_Node]
    roots: list[_Node]
    segments: list[_Segment]
    aspects: dict[str, list[QAPair]]
    n_pairs: int


def _sample(key: int, sample: ReportSample) -> _SampleView:
    texts = {d.region_id: d.text for d in sample.descriptions}
    nodes: dict[str, _Node] = {}
    roots: list[_Node] = []
    for region in sorted(sample.regions, key=lambda r: r.level):
        node = _node(len(nodes), region, texts.get(region.region_id, ""))
        parent = nodes.get(region.parent_id or "")
        (parent.children if parent else roots).append(node)
        nodes[region.region_id] = node
    aspects: dict[str, list[QAPair]] = {}
    for pair in sample.pairs:
        aspects.setdefault(pair.aspect, []).append(pair)
    return _SampleView(
        key, sample.image, _data_uri(sample.picture), list(nodes.values()), roots,
        _segments(sample.scene, nodes), aspects, len(sample.pairs),
    )  # fmt: skip


def _node(index: int, region: Region, description: str) -> _Node:
    x0, y0, x1, y1 = region.box
    return _Node(
        index, region.level, x0, y0, max(x1 - x0, 1.0), max(y1 - y0, 1.0),
        region.score, region.source, region.text, description,
    )  # fmt: skip


def _segments(scene: Scene | None, nodes: Mapping[str, _Node]) -> list[_Segment]:
    """The merged description cut where insertions start and end; of nested ones the shortest counts."""
    if scene is None or not scene.text:
        return []
    n = len(scene.text)
    spans = [(max(0, i.start), min(n, i.end), i.region_id) for i in scene.insertions]
    spans.sort(key=lambda span: span[1] - span[0])
    cuts = sorted({0, n, *(p for a, b, _ in spans if a < b for p in (a, b))})
    segments: list[_Segment] = []
    for start, end in pairwise(cuts):
        origin = next((r for a, b, r in spans if a <= start and end <= b), None)
        segments.append(_Segment(scene.text[start:end], nodes.get(origin) if origin is not None else None))
    return segments


def _data_uri(picture: Picture) -> str:
    """A picture as a data: URI, small ones lossless, large ones scaled to at most 1,024 pixels a side."""
    buffer = io.BytesIO()
    picture = picture.convert("RGB")
    if picture.width * picture.height <= _PNG_PIXELS:
        kind = "png"
        picture.save(buffer, "PNG", optimize=True)
    else:
        kind = "jpeg"
        picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
        picture.save(buffer, "JPEG", quality=88)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
