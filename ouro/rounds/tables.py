"""Rounds as pandas tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from ouro.rounds.ledger import Round, read_rounds

if TYPE_CHECKING:
    from pandas import DataFrame

MEASURED = ("benchmark", "k", "against", "before", "after", "gain", "low", "high", "n", "points")


def rounds_table(rounds: Sequence[Round] | None = None) -> DataFrame:
    """A row for every round and comparison of its candidate (one row without, where nothing was measured).

    Columns: what `Round` holds of a round; `images`, `regions`, `pairs`: its counts; of a comparison `benchmark`,
    `k` regions shown, `against` (base or champion), its score `before` and the candidate's `after`, the `gain` with its
    95% interval (`low`, `high`) over `n` questions: shares, except for captions; `points`: their factor when shown.
    By default all finished rounds of this checkout. Raises LedgerError.
    """
    import pandas as pd

    rounds = read_rounds() if rounds is None else rounds
    about = [
        {"round": r.number, "annotator": r.annotator, "trained_from": r.trained_from, **r.counts, "words": r.words,
         "promoted": r.verdict.promoted, "gained": r.gained, "run": r.run, "seconds": sum(r.seconds.values())}
        for r in rounds
    ]  # fmt: skip
    measured = [
        (r.number, m.benchmark, m.k, m.models[0], m.first, m.second, m.gain.value, m.gain.low, m.gain.high, m.gain.n,
         m.points)
        for r in rounds for m in r.measured
    ]  # fmt: skip
    comparisons = pd.DataFrame(measured, columns=["round", *MEASURED]).astype({"k": "Int64", "n": "Int64"})
    return pd.DataFrame(about, columns=None if about else ["round"]).merge(comparisons, on="round", how="left")


def gains(table: DataFrame) -> DataFrame:
    """Of `rounds_table`: a row for every round and benchmark, the gain over the base beside that over the champion.

    Columns, as they are shown: `name` ("held-out, k = 5"), `base`, `candidate` (points), `over_base`, `over_champion`
    ("+20.1 [+17.7, +22.6]", "-" where not compared); `base` is the champion's where a round has no comparison with
    the base. Index: round, benchmark, k.
    """
    keys = ["round", "benchmark", "k"]
    regions = ", k = " + table["k"].astype("string")
    frame = table.assign(
        name=table["benchmark"].fillna("-") + regions.where(table["k"].gt(0).fillna(False), "").fillna(""),
        base=(table["points"] * table["before"]).map("{:.1f}".format, na_action="ignore"),
        candidate=(table["points"] * table["after"]).map("{:.1f}".format, na_action="ignore"),
        gain=[_interval(*row) for row in table[["points", "gain", "low", "high"]].itertuples(index=False)],
    ).set_index(keys)
    champion = frame.loc[frame["against"] == "champion", "gain"]
    has_base = frame["against"].eq("base").groupby("round").transform("any")
    rows = frame[~has_base | frame["against"].eq("base")]
    both = rows.assign(over_base=rows["gain"], over_champion=champion.reindex(rows.index))
    return cast("DataFrame", both[["name", "base", "candidate", "over_base", "over_champion"]]).fillna("-")


def _interval(points: float, gain: float, low: float, high: float) -> str:
    return "-" if gain != gain else f"{points * gain:+.1f} [{points * low:+.1f}, {points * high:+.1f}]"
