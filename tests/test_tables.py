"""Tables as pandas DataFrames and CSV: values derived by hand."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

from ouro.ablations.grid import NAMED, grid
from ouro.ablations.results import MAIN, results, results_table, to_json
from ouro.benchmarks.intervals import Estimate
from ouro.benchmarks.tables import comparison_table
from ouro.core.records import Image, QAPair
from ouro.pages.measure import Collector
from ouro.pages.statistics import statistics_table
from ouro.rounds.gate import Measured, Verdict
from ouro.rounds.ledger import Round, write_round
from ouro.rounds.tables import gains, rounds_table


def compared(against: str, gain: float, k: int = 0) -> Measured:
    """From 30 points; the interval is 2 points to either side, over 100 questions."""
    estimate = Estimate(gain, gain - 0.02, gain + 0.02, 100)
    return Measured("held-out", k, (against, "candidate"), 0.3, 0.3 + gain, estimate)


def finished(number: int, *measured: Measured) -> Round:
    return Round(
        number, "models/nano", "base", "base", "c" * 64, {"images": 4, "regions": 9, "pairs": 20}, 17.5, measured,
        Verdict(True, ()), True, seconds={"train": 2.0, "merge": 0.5},
    )  # fmt: skip


ROUNDS = [
    finished(1, compared("base", 0.1), compared("base", 0.05, k=5)),
    finished(2, compared("champion", -0.087), compared("base", 0.2), compared("base", 0.1, k=5)),
    finished(3),
    finished(10, compared("champion", 0.01)),
]


def test_rounds_have_a_row_a_comparison_and_one_where_nothing_was_measured() -> None:
    table = rounds_table(ROUNDS)
    assert table["round"].tolist() == [1, 1, 2, 2, 2, 3, 10]
    assert table["images"].tolist() == [4] * 7 and table["seconds"].tolist() == [2.5] * 7
    row = table.iloc[2]
    assert (row["against"], row["k"], row["before"], row["n"]) == ("champion", 0, 0.3, 100)
    assert (row["gain"], row["low"], row["high"]) == (-0.087, -0.087 - 0.02, -0.087 + 0.02)
    assert table.iloc[5][["benchmark", "k", "gain"]].isna().all()
    assert rounds_table([]).empty


def test_gains_over_base_and_champion_stand_beside_each_other() -> None:
    """Round 10 was compared with the champion alone; its gain stands in both columns, as its scores are those."""
    table = gains(rounds_table(ROUNDS)).reset_index()[["round", "name", "candidate", "over_base", "over_champion"]]
    assert table.to_numpy().tolist() == [
        [1, "held-out", "40.0", "+10.0 [+8.0, +12.0]", "-"],
        [1, "held-out, k = 5", "35.0", "+5.0 [+3.0, +7.0]", "-"],
        [2, "held-out", "50.0", "+20.0 [+18.0, +22.0]", "-8.7 [-10.7, -6.7]"],
        [2, "held-out, k = 5", "40.0", "+10.0 [+8.0, +12.0]", "-"],
        [3, "-", "-", "-", "-"],
        [10, "held-out", "31.0", "+1.0 [-1.0, +3.0]", "+1.0 [-1.0, +3.0]"],
    ]


def test_rounds_as_csv_and_on_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.testing import CliRunner

    from cli.app import app

    monkeypatch.chdir(tmp_path)
    for record in ROUNDS:
        write_round(record)
    runner = CliRunner()
    printed = runner.invoke(app, ["rounds", "--csv", "-"])
    assert printed.exit_code == 0
    assert pd.read_csv(io.StringIO(printed.output))["gain"].round(3).tolist()[:3] == [0.1, 0.05, -0.087]
    assert runner.invoke(app, ["rounds", "--csv", "rounds.csv"]).output == ""
    assert (tmp_path / "rounds.csv").read_text() == printed.output
    lines = runner.invoke(app, ["rounds"]).output.splitlines()
    assert len(lines) == 1 + 6 and lines[5].split()[:2] == ["3", "nano"], "a round that measured nothing is shown"


def test_an_ablation_has_a_row_an_arm_and_figure() -> None:
    """k = 0: 40, 50, 60; k = 5: 41, 51, 61 and a figure of its own: paired by seed, the difference is 1 +- 0."""
    arms = [arm for arm in grid(NAMED["k"]) if arm.name in ("k-0", "k-5")]
    measured = {("k-0", seed): {MAIN: 0.4 + 0.1 * seed} for seed in range(3)}
    measured |= {("k-5", seed): {MAIN: 0.41 + 0.1 * seed, "regions": 1.0} for seed in (2, 1, 0)}
    table = results_table(to_json("k", results(arms, measured))["arms"])
    assert table[["arm", "figure", "seeds"]].to_numpy().tolist() == [
        ["k-0", MAIN, 3], ["k-5", MAIN, 3], ["k-5", "regions", 3],
    ]  # fmt: skip
    assert table["mean"].tolist() == pytest.approx([0.5, 0.51, 1.0])
    ends = ["difference_mean", "difference_low", "difference_high"]
    assert table[ends].iloc[1].tolist() == pytest.approx([0.01, 0.01, 0.01])
    assert table[ends].iloc[[0, 2]].isna().all(axis=None)


def test_comparisons_have_a_row_a_kind_and_say_which_is_reported() -> None:
    kinds = {"color": {"value": 0.2, "low": 0.1, "high": 0.3, "p": 0.01, "n": 4}}
    micro, macro = ({"value": v, "low": 0.0, "high": 1.0, "p": 0.5, "n": 8} for v in (0.25, 0.5))
    one = {
        "benchmark": "gqa", "title": "GQA", "figure": "accuracy", "macro": False, "points": 100.0, "first": 0.5,
        "second": 0.75, "difference": {"micro": micro, "macro": macro, "kinds": kinds},
    }  # fmt: skip
    table = comparison_table([{"first": "base", "second": "boot", "benchmarks": [one]}])
    assert table[["kind", "reported", "value", "n"]].to_numpy().tolist() == [
        ["micro", True, 0.25, 8], ["macro", False, 0.5, 8], ["color", False, 0.2, 4],
    ]  # fmt: skip
    assert table["first_score"].tolist()[0] == 0.5 and table["first_score"].isna().tolist() == [False, True, True]
    assert comparison_table([]).empty


def test_statistics_have_a_row_a_number_and_rounds_stand_beside_each_other() -> None:
    tables: list[pd.DataFrame] = []
    for name, words in (("round 1", "a table"), ("round 2", "a table and a box")):
        collector = Collector(name)
        pairs = [QAPair("q", "1" * 16, "style", "?", "!", None)]
        collector.image(Image("1" * 16, "x.png", 100, 100, "x", captions=(words,)), [], [], None, pairs)
        collector.aspects({"style": (1, 4)})
        tables.append(statistics_table(collector.result().to_json()))
    both = pd.concat(tables).pivot(columns="round", index=["figure", "group", "item"], values="value")
    assert both.loc[("caption_words", "original", "mean")].tolist() == [2.0, 5.0]
    style = tables[0].set_index(["figure", "group"])["value"]
    assert style.loc["acceptance"].to_dict() == {"style": 0.25}


def test_pandas_stays_out_of_the_start() -> None:
    code = "import sys; import cli.app, cli.rounds, cli.benchmark; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
