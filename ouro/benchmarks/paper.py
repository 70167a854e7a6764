"""Tables 1 to 6 of OURO as it prints them (section 4, all figures its own), and beside them what was measured here.

paper.json holds them: a list of tables, each with its benchmarks (names of ouro.benchmarks.loaders.registry; `average`
is the paper's own) and rows of a model and its figures, null where the paper has none. The two are never mixed: a
measured figure has a row of its own, with interval and n.

Every figure was compared with the text of the paper; none of its cells is missing or shifted, so that null is its "-".
The paper writes IconVQA for IconQA, VQAV2 for VQAv2; rows of tables 5 and 6 are named by their k and annotations.

Doubts: the paper's Qwen2-VL-7B has ChartQA 73.5, DocVQA 91.4 and TextVQA 82.2, where the model's own report says 83.0,
94.5 and 84.3, so what a base scores is only known when it is measured by the same protocol; protocols and splits are
not named; the average that table 5 prints for k = 5 is 80.0, that of its figures 79.9.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ouro.benchmarks.intervals import Estimate
from ouro.benchmarks.items import BenchmarkFileError
from ouro.benchmarks.loaders.registry import BENCHMARKS
from ouro.benchmarks.run_folder import SCORES, check_once, labels, read_object, reported, scored_folders

FILE = Path(__file__).with_name("paper.json")
BASE, OURS = "Qwen2-VL-7B", "OURO-7B"
DOUBT = (
    f"The paper's {BASE} has ChartQA 73.5, DocVQA 91.4, TextVQA 82.2, below that model's official 83.0, 94.5, 84.3: a "
    "base must always be measured with the same protocol. Splits and protocols of what was measured here are those "
    "named beside each figure; the paper names none."
)


class Row(NamedTuple):
    """A model and its figures in points, None where the paper has none."""

    model: str
    figures: tuple[float | None, ...]

    @property
    def role(self) -> Literal["base", "ouro", "other"]:
        """Whether it is the model that OURO starts from, OURO in any of its settings, or another one."""
        if self.model == BASE:
            return "base"
        return "ouro" if self.model.split(",")[0] == OURS else "other"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the paper."""

    number: int
    title: str
    benchmarks: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def note(self) -> str:
        """What must be known to compare its figures with others; nothing under the ablations."""
        return DOUBT if self.number <= 4 else ""

    def heads(self) -> list[str]:
        """Its benchmarks as their authors write them."""
        return [BENCHMARKS[name].title if name in BENCHMARKS else name for name in self.benchmarks]


@lru_cache(maxsize=1)
def tables() -> tuple[Table, ...]:
    """All six."""
    return tuple(
        Table(
            value["table"], value["title"], tuple(value["benchmarks"]),
            tuple(Row(model, tuple(figures)) for model, *figures in value["rows"]),
        )
        for value in json.loads(FILE.read_text())
    )  # fmt: skip


class Measured(NamedTuple):
    """What a run has of a benchmark: its reported figure in points, as the paper prints its own, and how it came."""

    estimate: Estimate
    split: str
    protocol: str

    def texts(self) -> list[str]:
        """73.5 [71.0, 76.2] | n = 2500 | val | rrc"""
        e = self.estimate
        return [f"{e.value:.1f} [{e.low:.1f}, {e.high:.1f}]", f"n = {e.n}", self.split, self.protocol]

    def to_json(self) -> dict[str, Any]:
        return {**self.estimate.to_json(), "split": self.split, "protocol": self.protocol}


def measured(folders: Sequence[Path]) -> dict[tuple[str, str], Measured]:
    """What was measured, by the label of the run and the name of the benchmark; runs in the order of their folders.

    Runs of one label are told apart by k, then by their folder. Raises BenchmarkFileError for a folder that is no run.
    """
    run_folders = list({folder.resolve(): folder for folder in folders}.values())
    measurements: dict[tuple[str, str], Measured] = {}
    for folder, label in zip(run_folders, labels(run_folders), strict=True):
        places = scored_folders(folder)
        every = [read_object(place / SCORES) for place in places]
        names = [str(scores.get("benchmark", place.name)) for place, scores in zip(places, every, strict=True)]
        check_once(places, names)
        for place, name, scores in zip(places, names, every, strict=True):
            measurements[label, name] = _measured(place / SCORES, scores)
    return measurements


def _measured(path: Path, scores: dict[str, Any]) -> Measured:
    try:
        e, points = reported(scores), float(scores["points"])
        here = Estimate(points * e.value, points * e.low, points * e.high, e.n)
        return Measured(here, str(scores["split"]), str(scores["protocol"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BenchmarkFileError(
            f"{path}: no reported figure can be read from it ({type(error).__name__}: {error}), expected split, "
            "protocol, points, macro, reported and its figures; run the benchmark again"
        ) from error
