"""What an ablation came to: every figure over its seeds, differences between arms, and the paper's beside them.

Seeds are what is drawn anew: the order of images, the regions and questions shown, the initial LoRA weights. Images,
annotations and held-out questions stay the same, so an interval says how much another training would move a figure, and
nothing about other images. It is Student's (t with n - 1 degrees of freedom); differences are paired by seed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ouro.ablations.grid import SUPERVISION, Arm, K, reference, varied_keys
from ouro.benchmarks.paper import Table, tables
from ouro.core.errors import OuroError

if TYPE_CHECKING:
    from pandas import DataFrame

MAIN = "image/accuracy/macro-average"
Figures = Mapping[str, float]  # "image/accuracy/color" -> 0.5, of one training


class ResultsError(OuroError, ValueError):
    """Scores of an ablation that do not make a table."""


class Spread(NamedTuple):
    """A figure over seeds: the values, their mean, and its 95% interval (None where one seed gives none)."""

    values: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None

    @property
    def beyond(self) -> bool | None:
        """Whether the interval leaves out zero; None where there is no interval."""
        return None if self.low is None or self.high is None else self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), "values": list(self.values)}


@dataclass(frozen=True)
class Result:
    """One arm: its figures over the seeds, and their differences to the arm it is compared with (itself: none)."""

    arm: Arm
    figures: dict[str, Spread]
    against: Arm
    differences: dict[str, Spread]

    @property
    def is_reference(self) -> bool:
        return self.against == self.arm

    def to_json(self) -> dict[str, Any]:
        return {
            "arm": self.arm.name, "label": self.arm.label, "set": self.arm.values, "against": self.against.name,
            "figures": {name: s.to_json() for name, s in self.figures.items()},
            "differences": {name: s.to_json() for name, s in self.differences.items()},
        }  # fmt: skip


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and Student's 95% interval: mean +- t(0.975, n - 1) * s / sqrt(n)."""
    from scipy.stats import t

    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Spread(tuple(values), mean, None, None)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)
    return Spread(tuple(values), mean, mean - half, mean + half)


def results(arms: Sequence[Arm], measured: Mapping[tuple[str, int], Figures]) -> list[Result]:
    """`measured`: the figures of every arm's name and seed. Raises ResultsError where one is missing."""
    import pandas as pd

    seeds = sorted({seed for _, seed in measured})
    absent = [(arm.name, seed) for arm in arms for seed in seeds if (arm.name, seed) not in measured]
    if absent or not seeds:
        raise ResultsError(f"got no scores of {absent or 'any arm'}, expected those of every arm and seed")
    frame = pd.DataFrame({key: dict(figures) for key, figures in sorted(measured.items())})
    return [_result(arm, reference(arm, arms), frame) for arm in arms]


def _result(arm: Arm, against: Arm, frame: DataFrame) -> Result:
    """`frame`: a row for every figure, a column for every arm and seed."""
    arm_frame, other = (cast("DataFrame", frame[one.name]) for one in (arm, against))
    return Result(arm, _spreads(arm_frame), against, {} if against == arm else _spreads(arm_frame - other))


def _spreads(by_seed: DataFrame) -> dict[str, Spread]:
    """Of the figures that every seed has."""
    return {str(name): over_seeds([float(value) for value in row]) for name, *row in by_seed.dropna().itertuples()}


def findings(arm_results: Sequence[Result], name: str = MAIN) -> list[str]:
    """One sentence for every arm that is compared: the difference, and whether it is beyond its interval."""
    compared = [result for result in arm_results if not result.is_reference and name in result.differences]
    sentences = [_finding(result, result.differences[name]) for result in compared]
    if len(compared) > 1 and len(arm_results[0].figures[name].values) > 1:
        sentences.append(
            f"{len(compared)} comparisons at 95% each, not corrected for their number; the intervals are over "
            f"{len(arm_results[0].figures[name].values)} seeds of training on the same images and questions"
        )
    return sentences


def _finding(result: Result, d: Spread) -> str:
    verdict = {None: "one seed, so no interval", True: "beyond its interval", False: "within its interval"}[d.beyond]
    text = f"{result.arm.label} against {result.against.label}: {points(d, sign=True)} points, {verdict}"
    return f"{text}: no difference shown" if d.beyond is False else text


def points(s: Spread | None, *, sign: bool = False) -> str:
    """In percentage points: 50.0 [47.9, 52.4]."""
    if s is None:
        return ""
    form = "+.1f" if sign else ".1f"
    text = f"{100 * s.mean:{form}}"
    return text if s.low is None or s.high is None else f"{text} [{100 * s.low:{form}}, {100 * s.high:{form}}]"


# ---- the paper's own ------------------------------------------------------------------------------


def paper_table(arms: Sequence[Arm]) -> Table | None:
    """Table 5 where k alone varies, Table 6 where annotations do (with k or without), None for any other grid."""
    varied = set(varied_keys(arms))
    number = 5 if varied == {K} else 6 if SUPERVISION in varied and varied <= {K, SUPERVISION} else 0
    return next((table for table in tables() if table.number == number), None)


def paper_averages(arms: Sequence[Arm]) -> dict[str, float]:
    """Arm name -> the average that Table 5 prints, or the mean of Table 6's figures, of the arms that the paper has."""
    table = paper_table(arms)
    averages: dict[str, float] = {}
    for arm in arms if table else ():
        assert table
        for row in table.rows:
            scores = {name: f for name, f in zip(table.benchmarks, row.figures, strict=True) if f is not None}
            if _matches(row.model, arm):
                averages[arm.name] = scores.get("average", math.fsum(scores.values()) / len(scores))
    return averages


def _matches(model: str, arm: Arm) -> bool:
    """Whether a row such as "OURO-7B, k = 3, Orig." is of the same k and annotations."""
    k = re.search(r"k = (\d+)", model)
    kind = "orig" if "Orig." in model else "ours"
    return k is not None and arm.values.get(K) == int(k[1]) and arm.values.get(SUPERVISION, "ours") == kind


# ---- tables ---------------------------------------------------------------------------------------


def results_table(arms: Sequence[Mapping[str, Any]]) -> DataFrame:
    """A row for every arm and figure of "arms" in a table.json: mean over `seeds` with Student's 95% interval, and the
    paired difference to the arm `against`. Shares of one, tokens apart.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for arm in arms:
        about = {"arm": arm["arm"], "label": arm["label"], "against": arm["against"]}
        for figure, spread in arm["figures"].items():
            cells = {"figure": figure, "seeds": len(spread["values"]), **{end: spread[end] for end in _ENDS}}
            difference = arm["differences"].get(figure, {})
            rows.append({**about, **cells, **{f"difference_{end}": difference.get(end) for end in _ENDS}})
    return pd.DataFrame(rows)


_ENDS = ("mean", "low", "high")


def table(arm_results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: of every arm the mean over question types, image alone and with regions, and each benchmark."""
    cells = _cells(arm_results, _columns(arm_results))
    tokens = [r.figures.get("tokens") for r in arm_results]
    cells.insert(1, "seeds", [str(len(next(iter(r.figures.values())).values)) for r in arm_results])
    cells.insert(2, "tokens", [f"{s.mean / 1e6:.2f} M" if s else "" for s in tokens])
    cells["difference, image alone"] = [points(r.differences.get(MAIN), sign=True) for r in arm_results]
    cells["to"] = ["" if r.is_reference else r.against.label for r in arm_results]
    return list(cells.columns), cells.to_numpy().tolist()


def _cells(arm_results: Sequence[Result], heads: Mapping[str, str]) -> DataFrame:
    """A row for every arm, a column for every figure: its points, "" where an arm lacks it."""
    import pandas as pd

    texts = pd.DataFrame([{name: points(s) for name, s in r.figures.items()} for r in arm_results])
    cells = texts.reindex(columns=list(heads)).rename(columns=heads).fillna("")
    cells.insert(0, "arm", [r.arm.label for r in arm_results])
    return cells


_HEADS = {
    "image/accuracy/macro-average": "accuracy, image alone",
    "image/margin/macro-average": "grounded margin",
    "image/gain/macro-average": "gain over base",
    "regions/accuracy/macro-average": "accuracy, image + k regions",
    "regions/gain/macro-average": "gain over base with them",
}


def _columns(arm_results: Sequence[Result]) -> dict[str, str]:
    """Figure -> head, of the figures that some arm has: k = 0 has none with regions."""
    names = dict.fromkeys(name for result in arm_results for name in result.figures)
    named = {name: name.removesuffix("/score") for name in names if name.endswith("/score")}
    return {name: head for name, head in (_HEADS | named).items() if name in names}


def by_type(arm_results: Sequence[Result], what: str = "image/accuracy/") -> tuple[list[str], list[list[str]]]:
    """Heads and rows: accuracy by question type, image alone."""
    kinds = [name for name in arm_results[0].figures if name.startswith(what) and name != MAIN]
    cells = _cells(arm_results, {name: name.removeprefix(what) for name in kinds})
    return list(cells.columns), cells.to_numpy().tolist()


def paper_rows(paper: Table) -> tuple[list[str], list[list[str]]]:
    """A table of the paper, every figure its own."""
    rows = [[row.model, *("" if f is None else f"{f:.1f}" for f in row.figures)] for row in paper.rows]
    return ["the paper's own", *paper.heads()], rows


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[*heads], ["---"] * len(heads), *map(list, rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def page(name: str, arm_results: Sequence[Result]) -> str:
    """table.md: measured here, what differs, and the paper's table under its own heading."""
    parts = [
        f"# Ablation {name}, measured here", markdown(*table(arm_results)),
        "In percentage points; mean over seeds, in brackets Student's 95% interval over seeds. Accuracy is the mean "
        "over question types of the held-out questions; the margin is what it keeps above that on shuffled images. "
        + _controls(arm_results),
        "\n".join(f"- {text}" for text in findings(arm_results)),
        "By question type, image alone:", markdown(*by_type(arm_results)),
    ]  # fmt: skip
    if paper := paper_table([result.arm for result in arm_results]):
        parts += [
            f"## Table {paper.number} of the paper: {paper.title}", markdown(*paper_rows(paper)),
            "The paper's OURO-7B on its benchmarks, each figure of one training, no intervals. Another model and other "
            "questions than above: the levels cannot be compared, only which way they go.",
        ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _controls(arm_results: Sequence[Result]) -> str:
    f = arm_results[0].figures
    base, majority = f.get("image/base/macro-average"), f.get("image/majority/macro-average")
    if base is None or majority is None:
        return ""
    return f"The base, image alone: {100 * base.mean:.1f}; each type's most frequent answer: {100 * majority.mean:.1f}."


def to_json(name: str, arm_results: Sequence[Result]) -> dict[str, Any]:
    """table.json: every figure with its values by seed; shares of one, the paper's in points under its own key."""
    arms = [result.arm for result in arm_results]
    paper = paper_table(arms)
    theirs = {"table": paper.number, "averages": paper_averages(arms)} if paper else None
    return {
        "ablation": name, "arms": [result.to_json() for result in arm_results], "findings": findings(arm_results),
        "paper": theirs,
    }  # fmt: skip
