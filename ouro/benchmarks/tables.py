"""Comparisons of benchmark runs as a pandas table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame


def comparison_table(comparisons: Sequence[Mapping[str, Any]]) -> DataFrame:
    """A row for every pair of runs, benchmark and kind of question, of what `ouro compare --format json` prints.

    `kind`: "micro" is all questions, "macro" the mean of the kinds; `reported`: the one that tables of papers show.
    `value` is second minus first, with its 95% interval (`low`, `high`), `p` and `n` questions; `first_score` and
    `second_score` belong to the reported row alone. Shares, except for captions; `points`: their factor when shown.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for pair in comparisons:
        runs = {"first": pair["first"], "second": pair["second"]}
        for one in pair["benchmarks"]:
            about = {**runs, **{key: one[key] for key in ("benchmark", "title", "figure", "points")}}
            both = one["difference"]
            kinds = {"micro": both["micro"], "macro": both["macro"], **both["kinds"]}
            for kind, difference in kinds.items():
                reported = kind == ("macro" if one["macro"] else "micro")
                scores = {"first_score": one["first"], "second_score": one["second"]} if reported else {}
                rows.append({**about, "kind": kind, "reported": reported, **difference, **scores})
    return pd.DataFrame(rows)
