"""What a generated dataset looks like in numbers: caption lengths, regions, OCR, acceptance, rejections.

Caption lengths by level and round are those of VILA^2, Table 1 ("Avg #words", mean and standard deviation), to
which median and 95th percentile are added. Nothing here rounds. ouro.pages.measure counts; this module holds the
result, its JSON and its metrics.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

from ouro.core.errors import OuroError

ORIGINAL, MERGED = "original", "merged"
"""Rows of caption lengths beside those of the levels: the collection's own captions, and Scene.text."""


class StatisticsError(OuroError, ValueError):
    """Statistics of another round that cannot be read."""


@dataclass(frozen=True, slots=True)
class CaptionLength:
    """Words a caption in one round. `level`: "original", "0", "1", ... (regions alone) or "merged"."""

    round: str
    level: str
    n: int
    mean: float
    std: float
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class RegionCount:
    """How many regions have this `value` of `by` ("level", "source", "kind"), in all and a mean image."""

    by: str
    value: str
    n: int
    per_image: float


@dataclass(frozen=True, slots=True)
class OCRCoverage:
    """`images`: share of images with text; `area`: mean share of an image's area under text boxes; `characters`:
    of the outermost regions with text, since a block's text repeats that of its lines."""

    images: float
    area: float
    characters: int


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Of the question-answer pairs that were written for an aspect (eq. 5), how many were kept."""

    aspect: str
    kept: int
    written: int

    @property
    def share(self) -> float:
        return self.kept / self.written if self.written else 0.0


@dataclass(frozen=True, slots=True)
class StageRow:
    """What came into a stage, what went out, and (reason, count) of what was rejected."""

    stage: str
    n_in: int
    n_out: int
    rejected: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of one dataset. `regions_mean` and the like leave out the whole image.

    `decisions`: what merges settled, by kind; `confidence`: the mean of the pairs that carry one.
    """

    round: str
    images: int
    scenes: int
    pairs: int
    captions: tuple[CaptionLength, ...]
    regions_mean: float
    regions_median: float
    regions_p95: float
    regions: tuple[RegionCount, ...]
    ocr: OCRCoverage
    acceptance: tuple[Acceptance, ...]
    decisions: tuple[tuple[str, int], ...]
    confidence: float | None
    stages: tuple[StageRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for statistics.json."""
        return asdict(self)

    def metrics(self) -> dict[str, float]:
        """Flat numbers for a tracker; names hold letters, digits and _ - . / only, and no two are the same."""
        metrics: dict[str, float] = {}
        for _, *path, value in statistics_table(self.to_json()).itertuples(index=False):
            plain = "/".join(_safe(part) for part in path if part is not None)
            name, n = plain, 2
            while name in metrics:
                name, n = f"{plain}-{n}", n + 1
            metrics[name] = float(value)
        return metrics


def statistics_table(content: Mapping[str, Any]) -> DataFrame:
    """A row for every number of a statistics.json: round, figure, group, item (None where there is none), value.

    ("caption_words", "merged", "mean"), ("regions_per_image", "source", "rpn"), ("acceptance", "style", None),
    ("rejected", "propose", "nms"), ... Two rounds side by side: `pandas.concat([first, second]).pivot(columns="round",
    index=["figure", "group", "item"], values="value")`.
    """
    import pandas as pd

    totals = ("images", "scenes", "pairs", "regions_mean", "regions_median", "regions_p95")
    rows: list[tuple[str, str | None, str | None, float]] = [
        *((name, None, None, content[name]) for name in totals),
        *(("caption_words", c["level"], name, c[name]) for c in content["captions"] for name in _SPREAD),
        *(("regions_per_image", r["by"], r["value"], r["per_image"]) for r in content["regions"]),
        *(("ocr", name, None, value) for name, value in content["ocr"].items()),
        *(("acceptance", a["aspect"], None, a["kept"] / (a["written"] or 1)) for a in content["acceptance"]),
        *(("decisions", kind, None, n) for kind, n in content["decisions"]),
        *(("rejected", s["stage"], reason, n) for s in content["stages"] for reason, n in s["rejected"]),
    ]
    if content["confidence"] is not None:
        rows.append(("confidence", None, None, content["confidence"]))
    table = pd.DataFrame(rows, columns=["figure", "group", "item", "value"], dtype="object").astype({"value": float})
    table.insert(0, "round", content["round"])
    return table


_SPREAD = ("n", "mean", "std", "median", "p95")


def _safe(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", part)[:60] or "none"


def captions_from_json(name: str, value: Any) -> tuple[CaptionLength, ...]:
    """The caption lengths of an earlier statistics.json, called `name` in errors. Raises StatisticsError."""
    try:
        rows = tuple(_caption(row) for row in value["captions"])
    except (KeyError, TypeError, ValueError) as error:
        raise StatisticsError(
            f"{name}: got no caption lengths ({error!r}); expected a statistics.json that `ouro inspect` wrote"
        ) from error
    return rows


def _caption(row: Any) -> CaptionLength:
    numbers = {name: float(row[name]) for name in ("mean", "std", "median", "p95")}
    if not all(map(math.isfinite, numbers.values())):
        raise ValueError(f"not finite: {numbers}")
    return CaptionLength(str(row["round"]), str(row["level"]), int(row["n"]), **numbers)
