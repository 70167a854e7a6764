"""The assumptions of a cost estimate that are not in the params: each number with its default and its source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from ouro.core.errors import OuroError
from ouro.core.params import Params


class AssumptionError(OuroError, ValueError):
    """An unknown assumption, or an invalid value for one."""


def _assumption(value: float, source: str, low: float = 0.0) -> Any:
    return field(default=value, metadata={"source": source, "low": low})


@dataclass(frozen=True)
class Assumptions:
    """The assumptions of a workload. Counts are means per image unless noted, areas shares of the image's area."""

    width: float = _assumption(1024, "assumed: a photograph, see --size", 1)
    height: float = _assumption(768, "assumed: a photograph, see --size", 1)
    regions1: float = _assumption(8, "assumed: sub-regions of level 1; the paper prints no count")
    regions2: float = _assumption(4, "assumed: of level 2")
    regions3: float = _assumption(1, "assumed: of level 3 and deeper")
    area1: float = _assumption(0.12, "assumed: share of the image that a region of level 1 covers")
    area2: float = _assumption(0.03, "assumed: of level 2")
    area3: float = _assumption(0.01, "assumed: of level 3 and deeper")
    template: float = _assumption(19, "counted on Qwen2-VL's chat template: tokens around a prompt, pictures aside")
    image_reply: float = _assumption(
        132, "VILA^2, Table 2: its long prompts give 95 to 105 words; 1.3 tokens a word", 1
    )
    region_reply: float = _assumption(100, "assumed: tokens of a region's reply; crops show less than images", 1)
    merged: float = _assumption(280, "assumed: tokens of d0; merge.max_tokens bounds it", 1)
    written: float = _assumption(160, "assumed: tokens written for one aspect, 8 pairs of 20", 1)
    pairs: float = _assumption(20, "assumed: pairs kept of an image")
    question: float = _assumption(12, "assumed: tokens of a question", 1)
    answer: float = _assumption(4, "assumed: tokens of an answer, its end token included", 1)
    tail: float = _assumption(
        1.3, "assumed: decode steps of a batch over its mean reply; 1 for a server that refills it", 1
    )
    asked: float = _assumption(20_000, "assumed: benchmark questions in all; --assume asked=N")
    asked_per_image: float = _assumption(
        5, "assumed: benchmark questions about one picture, which share its features", 1
    )
    detector: float = _assumption(0.8, "counted on models/nano/rpn at 512 px: GFLOPs of one proposal network's picture")
    ocr_reads: float = _assumption(1, "assumed: pictures that OCR reads of an image")
    ocr_seconds: float = _assumption(4, "measured: 20 lines on 1000 x 1000 pixels, core-seconds")
    merge_seconds: float = _assumption(0.003, "measured on nano: core-seconds of merging an image")

    def sources(self) -> dict[str, str]:
        """Name -> where its default comes from."""
        return {f.name: f.metadata["source"] for f in fields(self)}

    @property
    def regions(self) -> float:
        return self.regions1 + self.regions2 + self.regions3


class SourcedAssumptions(NamedTuple):
    """Assumptions, and the source of each."""

    values: Assumptions
    sources: dict[str, str]


# For the nano base, whose images are generated: `ouro estimate --like data` on 40 of its scenes, rounded.
NANO: dict[str, float] = {
    "width": 256, "height": 256, "regions1": 3.2, "regions2": 6.7, "regions3": 0, "area1": 0.136, "area2": 0.0155,
    "template": 5, "image_reply": 9.5, "region_reply": 6.7, "merged": 99, "written": 167, "pairs": 59, "question": 7.8,
    "answer": 2.1, "asked": 1821, "asked_per_image": 9.2,
}  # fmt: skip

# torchvision's model cards give multiply-adds for a picture of 800 px; here FLOPs, twice as many.
DETECTORS = {
    "fasterrcnn_resnet50_fpn_v2": 560.7, "fasterrcnn_resnet50_fpn": 268.8, "fasterrcnn_mobilenet_v3_large_fpn": 9.0,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 1.4,
}  # fmt: skip


def default_assumptions(params: Params, nano: bool) -> SourcedAssumptions:
    """The default assumptions for these params; `nano`: whether the base is the nano model."""
    changes: dict[str, float] = dict(NANO) if nano else {}
    sources = {**Assumptions().sources(), **{name: "measured on 40 scenes of the nano world" for name in changes}}
    if params.model.proposer in DETECTORS:
        changes["detector"] = DETECTORS[params.model.proposer]
        sources["detector"] = "torchvision's model card, at 800 px: GFLOPs"
    return SourcedAssumptions(replace(Assumptions(), **changes), sources)


def replace_values(base: SourcedAssumptions, values: Mapping[str, float], source: str) -> SourcedAssumptions:
    """Assumptions with some replaced. "regions" scales those of all levels. Raises AssumptionError."""
    values = dict(values)
    if "regions" in values:
        target, current = values.pop("regions"), base.values.regions
        if not current:
            raise AssumptionError("regions: none so far to be scaled; expected regions1, regions2 or regions3")
        levels = {name: getattr(base.values, name) * target / current for name in ("regions1", "regions2", "regions3")}
        values = {**levels, **values}
    lows = {f.name: float(f.metadata["low"]) for f in fields(Assumptions)}
    for name, value in values.items():
        if name not in lows:
            names = ", ".join(["regions", *lows])
            raise AssumptionError(f"assumption {name!r}: not known; expected one of {names}")
        if not (math.isfinite(value) and value >= lows[name]):
            raise AssumptionError(f"assumption {name}: got {value!r}; expected a number of {lows[name]:g} or more")
    return SourcedAssumptions(replace(base.values, **values), {**base.sources, **dict.fromkeys(values, source)})
