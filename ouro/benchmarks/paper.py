"""Tables 1 to 6 of OURO as it prints them (section 4, all figures its own), and beside them what was measured here.

paper.json holds them: a list of tables, each with its benchmarks (names of ouro.benchmarks.loaders.registry; `average`
is the paper's own) and rows of a model and its figures, null where the paper has none. The two are never mixed: a
measured figure has a row of its own, with interval and n.

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
from typing import TYPE_CHECKING, NamedTuple

from ouro.benchmarks.loaders.registry import BENCHMARKS

if TYPE_CHECKING:
    from ouro.benchmarks.run_folder import ScoredFolder

FILE = Path(__file__).with_name("paper.json")
DOUBT = (
    "The paper's Qwen2-VL-7B has ChartQA 73.5, DocVQA 91.4, TextVQA 82.2; that model's own report says 83.0, 94.5, "
    "84.3. Compare OURO with a base that was measured here, by the same protocol."
)


class Row(NamedTuple):
    """A model and its figures in points, None where the paper has none."""

    model: str
    figures: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the paper."""

    number: int
    title: str
    benchmarks: tuple[str, ...]
    rows: tuple[Row, ...]

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


def measured(table: Table, runs: Sequence[dict[str, ScoredFolder]]) -> list[tuple[str, list[str]]]:
    """Of each run its label and a text for every benchmark of a table; "" where it was not measured.

    Runs without any of them are left out.
    """
    rows: list[tuple[str, list[str]]] = []
    for run in runs:
        texts = [_figure(run[name]) if name in run else "" for name in table.benchmarks]
        if any(texts):
            rows.append((next(iter(run.values())).label, texts))
    return rows


def _figure(one: ScoredFolder) -> str:
    """73.5 [71.0, 76.2], n = 2500, val, rrc"""
    e, points = one.reported, float(one.scores["points"])
    interval = f"[{points * e.low:.1f}, {points * e.high:.1f}]"
    return f"{points * e.value:.1f} {interval}, n = {e.n}, {one.scores['split']}, {one.scores['protocol']}"
