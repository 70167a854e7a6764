"""The paper's tables: its figures as it prints them, and ours in rows of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from predictions import NAMED_CASES, predictions

from cli.app import app, guarded
from cli.score import Options
from cli.score import run as score
from ouro.benchmarks.intervals import Estimate
from ouro.benchmarks.items import BenchmarkFileError
from ouro.benchmarks.loaders.registry import BENCHMARKS
from ouro.benchmarks.paper import BASE, DOUBT, OURS, Measured, measured, tables


@pytest.mark.parametrize(
    ("table", "model", "benchmark", "figure"),
    [
        (1, "OURO-7B", "okvqa", 66.2), (1, "Qwen2-VL-7B", "scienceqa", 95.4), (1, "Qwen2-VL-7B", "vsr", None),
        (2, "Qwen2-VL-7B", "chartqa", 73.5), (2, "OURO-7B", "wtq", 72.0), (2, "GPT-4o", "docvqa", 92.8),
        (3, "Qwen2-VL-7B", "textvqa", 82.2), (3, "OURO-7B", "estvqa", 90.2), (3, "Pix2Struct-Large", "ai2d", 42.1),
        (4, "OURO-7B", "coco-caption", 136.2), (4, "Monkey-7B", "flickr30k", 86.1),
        (5, "OURO-7B, k = 7", "vizwiz", 79.2), (5, "OURO-7B, k = 0", "average", 77.3),
        (6, "OURO-7B, k = 3, Orig.", "ai2d", 66.0), (6, "OURO-7B, k = 5, Ours", "stvqa", 77.0),
    ],
)  # fmt: skip
def test_figures_are_those_of_the_paper(table: int, model: str, benchmark: str, figure: float | None) -> None:
    paper_table = tables()[table - 1]
    (row,) = (row for row in paper_table.rows if row.model == model)
    assert row.figures[paper_table.benchmarks.index(benchmark)] == figure


def test_the_six_tables_cover_the_twenty_benchmarks() -> None:
    assert [(t.number, len(t.rows)) for t in tables()] == [(1, 17), (2, 13), (3, 11), (4, 11), (5, 6), (6, 4)]
    names = {name for table in tables()[:4] for name in table.benchmarks}
    assert names == {b.name for b in BENCHMARKS.values() if b.table} and len(names) == 20
    for table in tables():
        assert all(len(row.figures) == len(table.benchmarks) for row in table.rows)


def test_the_average_of_table_5_is_that_of_its_rows() -> None:
    """A figure that was read from the wrong column would show here. Of k = 5 the paper says 80.0, and it is 79.89."""
    for row in tables()[4].rows:
        *figures, average = row.figures
        off = 0.12 if row.model == "OURO-7B, k = 5" else 0.051
        assert average == pytest.approx(sum(f or 0 for f in figures) / len(figures), abs=off), row.model


def test_what_was_measured_has_its_own_row_and_the_rest_stays_empty(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case = NAMED_CASES["docvqa: val_v1.0_withQT.json"]
    file = predictions(tmp_path / "p.jsonl", {"7": "12.50", "8": "none"})
    score(Options("docvqa", case.paths, file, "", False, True, tmp_path / "run/docvqa", True, resamples=100))
    (tmp_path / "run/run.json").write_text(json.dumps({"label": "a|b"}))
    capfd.readouterr()
    words = ["paper", str(tmp_path / "run"), "--format", "markdown", "--table", "2", "--table", "3"]
    assert guarded(lambda: app(words, standalone_mode=False)) == 0
    out = capfd.readouterr().out
    assert r"| measured here | a\|b | 50.0 \[50.0, 50.0\], n = 2, val, rrc |  |  |  |  |  |" in out
    assert out.count("| measured here") == 1, "table 3 has nothing of this run"
    assert "| paper | OURO-7B | 93.5 | 84.1 | 79.1 | 52.5 | 56.2 | 72.0 |" in out
    assert "DocVQA 91.4" in out and "94.5" in out


def test_a_folder_that_is_no_run_and_a_table_that_is_not_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: app(["paper", str(tmp_path)], standalone_mode=False)) == 2
    assert "got no scores.json" in capfd.readouterr().err
    assert guarded(lambda: app(["paper", "--table", "7"], standalone_mode=False)) == 2
    assert "table 7: expected one of 1, 2, 3, 4, 5, 6" in capfd.readouterr().err


MICRO, MACRO = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 4}, {"value": 1.25, "low": 1.0, "high": 1.5, "n": 4}
SCORES = {
    "benchmark": "docvqa", "title": "DocVQA", "protocol": "rrc", "split": "val", "n": 4, "reported": "anls",
    "points": 100.0, "macro": False, "figures": {"anls": {"micro": MICRO, "macro": MACRO, "kinds": {}}},
}  # fmt: skip


def a_run(folder: Path, about: dict[str, Any], **scores: object) -> Path:
    """A run with what the tables need of it and nothing else: no samples, no predictions."""
    all_scores = {**SCORES, **scores}
    (folder / str(all_scores["benchmark"])).mkdir(parents=True)
    (folder / str(all_scores["benchmark"]) / "scores.json").write_text(json.dumps(all_scores))
    (folder / "run.json").write_text(json.dumps(about))
    return folder


def printed(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    capfd.readouterr()
    assert guarded(lambda: app(["paper", *words], standalone_mode=False)) == 0
    return capfd.readouterr().out


def test_measured_is_the_reported_figure_in_points(tmp_path: Path) -> None:
    micro = a_run(tmp_path / "micro", {"model": "m", "adapter": "", "k": 5})
    macro = a_run(tmp_path / "macro", {"model": "n"}, benchmark="textcaps", split="test", macro=True)
    assert measured([micro, macro]) == {
        ("m, k = 5", "docvqa"): Measured(Estimate(50.0, 25.0, 75.0, 4), "val", "rrc"),
        ("n", "textcaps"): Measured(Estimate(125.0, 100.0, 150.0, 4), "test", "rrc"),
    }
    assert measured([]) == {}


def test_runs_of_one_model_are_told_apart(tmp_path: Path) -> None:
    """By k, then by folder: rows of one name could not be told apart. A folder named twice is one run."""
    runs = [a_run(tmp_path / str(i), {"label": "m", "k": k}) for i, k in enumerate((0, 5, 5))]
    labels = [label for label, _ in measured([*runs, runs[0] / ".." / "0"])]
    assert labels == ["m, k = 0", f"m, k = 5 ({runs[1]})", f"m, k = 5 ({runs[2]})"]


def test_a_k_that_the_label_names_is_not_named_twice(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", {"label": "bootstrapped, k = 3", "k": 3})
    assert measured([run]).keys() == {("bootstrapped, k = 3", "docvqa")}


def test_nothing_measured_leaves_the_papers_rows_as_they_are(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    alone = printed(capfd, "--format", "markdown", "--table", "2")
    assert "| measured here" not in alone
    beside = printed(capfd, str(a_run(tmp_path / "run", {"model": "m"})), "--format", "markdown", "--table", "2")
    assert [line for line in beside.splitlines() if "measured here |" not in line] == alone.splitlines()
    assert r"| measured here | m | 50.0 \[25.0, 75.0\], n = 4, val, rrc |  |  |  |  |  |" in beside


def test_json_has_all_figures_in_points_and_null_where_nothing_was_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path / "run", {"model": "a|b"})
    two, three = json.loads(printed(capfd, str(run), "--format", "json", "--table", "2", "--table", "3"))
    (here,) = two["measured here"]
    assert here["model"] == "a|b" and here["figures"]["wtq"] is None and three["measured here"] == []
    assert here["figures"]["docvqa"] == {
        "value": 50.0, "low": 25.0, "high": 75.0, "n": 4, "split": "val", "protocol": "rrc"
    }  # fmt: skip
    roles = {row["model"]: row["role"] for row in two["paper"]}
    assert (roles[BASE], roles[OURS], roles["Qwen-VL-7B"]) == ("base", "ouro", "other")
    assert {row["figures"]["docvqa"] for row in two["paper"] if row["role"] == "ouro"} == {93.5}


@pytest.mark.parametrize("form", ["table", "markdown", "json"])
def test_the_note_stands_under_tables_1_to_4_only(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    notes = [DOUBT in printed(capfd, "--format", form, "--table", str(n)) for n in range(1, 7)]
    assert notes == [True] * 4 + [False] * 2


def test_no_figure_is_cut_on_a_narrow_screen(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 columns once made "61…" of 61.3, and one name of all the paper's models."""
    monkeypatch.setenv("COLUMNS", "60")
    run = a_run(tmp_path / "run", {"model": "a[b]c"})
    for table in tables():
        out = printed(capfd, str(run), "--table", str(table.number))
        assert "…" not in out and ("a[b]c" in out and "50.0 [25.0, 75.0]" in out) == (table.number == 2)
        for row in table.rows:
            (line,) = (line for line in out.splitlines() if line.startswith(" paper") and f" {row.model}  " in line)
            assert line.split(row.model)[1].split() == [f"{f:.1f}" for f in row.figures if f is not None]


@pytest.mark.parametrize("text", ['{"benchmark": "docvqa"}', '{"figures": []}', "[]", "{"])
def test_scores_that_cannot_be_read_are_named(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = a_run(tmp_path / "run", {"model": "m"}) / "docvqa/scores.json"
    file.write_text(text)
    assert guarded(lambda: app(["paper", str(tmp_path / "run")], standalone_mode=False)) == 2
    assert str(file) in capfd.readouterr().err
    with pytest.raises(BenchmarkFileError, match="run the benchmark again"):
        measured([tmp_path / "run"])


def test_a_folder_that_is_not_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFileError, match=r"missing: got no scores\.json"):
        measured([tmp_path / "missing"])
