"""Ablations: grids, what DVC is given, the table over seeds, and the paper's own beside it."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ouro.ablation import KNOWN, Arm, GridError, Score, figure, findings, grid, markdown, over_seeds, papers, summarise
from ouro.params import Params

ROOT = Path(__file__).resolve().parent.parent


def scores(arm: str, values: list[float], benchmark: str = "held-out") -> list[Score]:
    return [Score(arm, seed, benchmark, value, value / 2) for seed, value in enumerate(values)]


def test_a_grid_is_every_combination_in_order() -> None:
    arms = grid(["train.k=0,5", "train.selection=random,informative"])
    assert [arm.name for arm in arms] == [
        "k-0__selection-random", "k-0__selection-informative", "k-5__selection-random", "k-5__selection-informative",
    ]  # fmt: skip
    assert arms[3].label == "k = 5, selection = informative"
    assert arms[3].overrides == ("train.k=5", "train.selection=informative")
    assert [arm.label for arm in grid(KNOWN["k"])] == [f"k = {k}" for k in (0, 1, 2, 3, 5, 7)]


def test_commas_in_brackets_and_odd_characters_are_kept_apart() -> None:
    arms = grid(["synthesize.aspects=[style],[style, object details]", "train.learning_rate=1e-3,0.5"])
    assert arms[2].overrides == ("synthesize.aspects=[style, object details]", "train.learning_rate=1e-3")
    assert arms[3].name == "aspects-_style_object_details___learning_rate-0_5"
    assert all(arm.annotates for arm in arms)
    assert not Arm("a", "a", ("train.k=0", "benchmark.k=0")).annotates


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "got no --set"), (["train.k"], r"--set 'train\.k': expected KEY=VALUE,VALUE"), (["train.k=0,,1"], "KEY="),
        (["train.k=0,0"], "the same value twice"), (["train.k=0"], "one arm; expected at least two values"),
        (["train.k=0,1", "train.k=2,3"], "one --set KEY=VALUE,VALUE for each key"),
    ],
)  # fmt: skip
def test_a_grid_that_is_none_is_said(texts: list[str], said: str) -> None:
    with pytest.raises(GridError, match=said):
        grid(texts)


def test_means_intervals_and_paired_differences_are_those_derived_by_hand() -> None:
    arms = grid(["train.k=0,5"])
    rows = summarise(arms, [*scores("k-0", [0.3, 0.4, 0.5]), *scores("k-5", [0.4, 0.5, 0.6])])
    assert [row.accuracy.value for row in rows] == pytest.approx([0.4, 0.5])
    half = 4.302653 * 0.1 / math.sqrt(3)  # Student's t for two degrees of freedom, deviation 0.1
    assert rows[0].accuracy.low == pytest.approx(0.4 - half, abs=1e-6)
    assert rows[1].difference.value == pytest.approx(0.1)
    assert rows[1].difference.low == pytest.approx(0.1), "every seed gained as much: paired, nothing varies"
    assert rows[1].beyond and not rows[0].beyond
    assert rows[1].margin.value == pytest.approx(0.25)
    assert "highest k = 5 with 50.0" in findings(rows)[0] and "k = 5 (+10.0)" in findings(rows)[0]
    assert "| held-out | k = 5 | 3 | 50.0 [25.2, 74.8] |" in markdown(rows)


def test_one_seed_has_no_interval_and_nothing_is_beyond_it() -> None:
    rows = summarise(grid(["train.k=0,5"]), [*scores("k-0", [0.1]), *scores("k-5", [0.9])])
    assert math.isnan(rows[1].difference.low) and not rows[1].beyond
    assert "| 90.0 |" in markdown(rows)
    assert "beyond the interval of the difference to k = 0: none" in findings(rows)[0]
    assert math.isnan(over_seeds([0.5]).low)


def test_a_score_that_is_missing_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(ValueError, match="no score of"):
        summarise(grid(["train.k=0,5"]), scores("k-0", [0.1]))


def test_the_papers_figures_stand_by_their_arms() -> None:
    by_k = papers("k", grid(KNOWN["k"]))
    assert by_k["average"] == {"k = 0": 77.3, "k = 1": 74.0, "k = 2": 78.8, "k = 3": 78.7, "k = 5": 80.0, "k = 7": 75.6}
    by_annotations = papers("annotations", grid(KNOWN["annotations"]))
    assert by_annotations["chartqa"]["k = 5, supervision = ours"] == 84.1
    assert by_annotations["ai2d"]["k = 3, supervision = orig"] == 66.0
    assert papers("mine", grid(["train.k=0,1"])) == {}


def test_the_same_figures_make_the_same_picture() -> None:
    arms = grid(KNOWN["k"])
    rows = summarise(arms, [s for arm in arms for s in scores(arm.name, [0.3, 0.4])])
    pictures = {figure("here", arms, rows, papers("k", arms)) for _ in range(2)}
    assert len(pictures) == 1 and pictures.pop().startswith(b"\x89PNG")
    assert figure("here", arms, rows, {}).startswith(b"\x89PNG")


def test_the_matrix_is_dvcs_own_and_the_same_grid_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.ablate import write_matrix

    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    path = write_matrix("k", grid(KNOWN["k"]), 2, Params())
    before = path.stat().st_mtime_ns
    assert write_matrix("k", grid(KNOWN["k"]), 2, Params()).stat().st_mtime_ns == before
    (stage,) = yaml.safe_load(path.read_text())["stages"].values()
    assert "flows/arm.py" in stage["deps"] and "tasks/ablation.py" in stage["deps"]
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only", "ablations/k/dvc.yaml"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert len(listed) == 12 and listed[0] == "ablations/k/dvc.yaml:arm@k-0-0", listed


def test_the_command_says_what_is_wrong_before_anything_starts(tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "flows.cli", "ablate", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stdout + done.stderr
        return done.stderr

    assert "ablation 'depth': expected one of k, annotations, or a grid" in said("depth")
    assert "train.k: got -1" in said("--set", "train.k=0,-1")
