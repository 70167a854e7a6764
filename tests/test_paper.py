"""The paper's tables: its figures as it prints them, and ours in rows of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_scores import CASES, predictions

from flows.cli import app, guarded
from flows.score import Options
from flows.score import run as score
from ouro.benchmarks.loaders.registry import BENCHMARKS
from ouro.benchmarks.paper import tables


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
    found = tables()[table - 1]
    (row,) = (row for row in found.rows if row.model == model)
    assert row.figures[found.benchmarks.index(benchmark)] == figure


def test_the_six_tables_cover_the_twenty_benchmarks() -> None:
    assert [(t.number, len(t.rows)) for t in tables()] == [(1, 17), (2, 13), (3, 11), (4, 11), (5, 6), (6, 4)]
    asked = {name for table in tables()[:4] for name in table.benchmarks}
    assert asked == {b.name for b in BENCHMARKS.values() if b.table} and len(asked) == 20
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
    case = CASES["docvqa: val_v1.0_withQT.json"]
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
