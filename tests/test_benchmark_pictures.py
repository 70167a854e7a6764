"""Which file a benchmark's picture is: many benchmarks call every picture image.png or 1.png."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from asked import Scripted
from PIL import Image as PILImage

from cli.app import app
from ouro.benchmarks.loaders.registry import benchmark
from ouro.core.params import load_params
from ouro.vision.protocols import Request
from tasks import asking, benchmark_sources

ROOT = Path(__file__).resolve().parent.parent
COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def paint(path: Path, color: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.new("RGB", (40, 40), COLORS[color]).save(path)


def seen(request: Request) -> str:
    """The colour that is shown; of a choice its letter."""
    pixel = request.images[0].getpixel((20, 20))
    color = next(name for name, rgb in COLORS.items() if rgb == pixel)
    letters = [line[0] for line in request.prompt.splitlines() if line[1:] == f". {color}"]
    return letters[0] if letters else color


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    scripted = Scripted(seen)
    monkeypatch.setattr(asking, "annotator", lambda *_: scripted)
    return scripted


def run(data: Path, name: str) -> Any:
    source = benchmark_sources.open_source(benchmark(name), data, 10**8)
    return asking.run_benchmark(
        source, load_params(ROOT / "params.yaml"), data / "run", k=0, limit=0, protocol="", controls=False,
        cache=data / "cache", adapter=None,
    )  # fmt: skip


def scienceqa(folder: Path) -> None:
    """Problems 1, 2, 3 about pictures in red, green, blue."""
    folder.mkdir(parents=True)
    problems = {
        str(n): {"question": "Which color?", "choices": list(COLORS), "answer": n - 1, "hint": "",
                 "image": "image.png", "subject": "natural science", "split": "test"}
        for n in (1, 2, 3)
    }  # fmt: skip
    (folder / "problems.json").write_text(json.dumps(problems))
    (folder / "pid_splits.json").write_text(json.dumps({"test": ["1", "2", "3"]}))


def chartqa(folder: Path, name: str) -> None:
    folder.mkdir(parents=True)
    (folder / "test_human.json").write_text(json.dumps([{"imgname": name, "query": "Color?", "label": "red"}]))
    (folder / "test_augmented.json").write_text(json.dumps([{"imgname": "own.png", "query": "Color?", "label": "red"}]))
    paint(folder / "own.png", "red")


@pytest.mark.parametrize(
    "places", ["images/test/{}", "test/test/{}", "ScienceQA/data/images/test/{}", "test/{}", "pictures/{}"]
)
def test_pictures_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, model: Scripted, places: str) -> None:
    """A model that names the colour it sees is right three times of three, however deep the pictures lie."""
    scienceqa(tmp_path / "scienceqa")
    for number, color in enumerate(COLORS, start=1):
        paint(tmp_path / "scienceqa" / places.format(number) / "image.png", color)
    score = run(tmp_path, "scienceqa")
    assert (score.reported.value, score.account.n_out, score.account.rejected) == (1.0, 3, {})


def test_an_absent_picture_is_not_replaced_by_another_of_its_name(tmp_path: Path, model: Scripted) -> None:
    scienceqa(tmp_path / "scienceqa")
    for number, color in ((1, "red"), (3, "blue")):
        paint(tmp_path / f"scienceqa/deeper/test/{number}/image.png", color)
    score = run(tmp_path, "scienceqa")
    assert (score.account.n_out, score.account.rejected, score.reported.value) == (2, {"missing_image": 1}, 1.0)
    (detail,) = score.account.details["missing_image"]
    assert detail.startswith("2: test/2/image.png is not below") and "deeper/test/1/image.png" in detail


def test_the_only_picture_that_is_there_belongs_to_its_own_problem(tmp_path: Path, model: Scripted) -> None:
    """Also where the benchmark asks about no other picture of this name."""
    scienceqa(tmp_path / "scienceqa")
    (tmp_path / "scienceqa/pid_splits.json").write_text(json.dumps({"test": ["1"]}))
    paint(tmp_path / "scienceqa/deeper/test/3/image.png", "red")
    paint(tmp_path / "scienceqa/deeper/image.png", "red")
    with pytest.raises(asking.BenchmarkFileError, match=r"missing_image.*test/1/image\.png is not below"):
        run(tmp_path, "scienceqa")


def test_tables_of_one_number_are_told_apart_by_their_folders(tmp_path: Path, model: Scripted) -> None:
    """WTQ's csv/203-csv/1.png and csv/204-csv/1.png, rendered beside the folder csv; 205 was not rendered."""
    rows = "".join(f"nu-{n}\tcolor?\tcsv/{n}-csv/1.csv\t{c}\n" for n, c in ((203, "red"), (204, "blue"), (205, "red")))
    folder = tmp_path / "wtq"
    for number, color in ((203, "red"), (204, "blue")):
        paint(folder / f"page/{number}-csv/1.png", color)
        (folder / f"csv/{number}-csv").mkdir(parents=True)
        (folder / f"csv/{number}-csv/1.csv").write_text("a,b\n")
    (folder / "pristine-unseen-tables.tsv").write_text("id\tutterance\tcontext\ttargetValue\n" + rows)
    score = run(tmp_path, "wtq")
    assert (score.reported.value, score.account.n_out, score.account.rejected) == (1.0, 2, {"missing_image": 1})


def test_a_picture_is_not_taken_from_another_benchmark(tmp_path: Path, model: Scripted) -> None:
    chartqa(tmp_path / "chartqa", "166.png")
    paint(tmp_path / "ai2d/images/166.png", "red")
    score = run(tmp_path, "chartqa")
    assert score.account.rejected == {"missing_image": 1}
    assert "ai2d" not in str(score.account.details)


def test_two_pictures_that_fit_equally_well_are_none(tmp_path: Path, model: Scripted) -> None:
    chartqa(tmp_path / "chartqa", "166.png")
    paint(tmp_path / "chartqa/test/png/166.png", "red")
    paint(tmp_path / "chartqa/train/png/166.png", "blue")
    score = run(tmp_path, "chartqa")
    assert score.account.rejected == {"ambiguous_image": 1}
    assert score.account.details["ambiguous_image"] == [
        "human-0: 166.png may be any of test/png/166.png, train/png/166.png"
    ]
    paint(tmp_path / "chartqa/train/png/166.png", "red")
    assert run(tmp_path, "chartqa").account.rejected == {}, "the same file twice is one picture"


def test_a_folder_of_another_name_is_no_obstacle_and_one_of_the_same_name_is(tmp_path: Path, model: Scripted) -> None:
    """DocVQA says documents/x.png, its download spdocvqa_images/x.png; where documents is there, x.png is missing."""
    records = [
        {"questionId": n, "question": "Color?", "image": f"documents/{n}.png", "docId": n, "answers": ["red"],
         "question_types": ["form"]}
        for n in (1, 2)
    ]  # fmt: skip
    folder = tmp_path / "docvqa"
    for number in (1, 2):
        paint(folder / f"spdocvqa_images/{number}.png", "red")
    (folder / "val_v1.0_withQT.json").write_text(json.dumps({"data": records}))
    assert run(tmp_path, "docvqa").account.n_out == 2
    paint(folder / "documents/1.png", "red")
    assert run(tmp_path, "docvqa").account.rejected == {"missing_image": 1}


def test_pictures_that_several_benchmarks_share_are_linked(tmp_path: Path, model: Scripted) -> None:
    paint(tmp_path / "coco/train2014/166.png", "red")
    chartqa(tmp_path / "chartqa", "166.png")
    (tmp_path / "chartqa/train2014").symlink_to("../coco/train2014")
    (tmp_path / "coco/train2014/again").symlink_to("..")
    assert run(tmp_path, "chartqa").account.rejected == {}


@pytest.mark.parametrize("name", ["../outside.png", "/{}/outside.png"])
def test_a_path_does_not_lead_out_of_the_folder(tmp_path: Path, model: Scripted, name: str) -> None:
    paint(tmp_path / "outside.png", "red")
    chartqa(tmp_path / "chartqa", name.format(str(tmp_path).strip("/")))
    assert run(tmp_path, "chartqa").account.rejected == {"missing_image": 1}


def test_the_length_of_a_reply_is_an_option_that_the_run_records(
    tmp_path: Path, model: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And another length is another question: the reply that was cut is not kept for it."""
    chartqa(tmp_path / "chartqa", "own.png")
    words = ["benchmark", "--benchmarks", "chartqa", "--data", str(tmp_path), "--no-controls", "--no-track"]
    monkeypatch.setattr("cli.benchmark.CACHE", tmp_path / "cache")
    model.reply = lambda r: "<think>It is"
    app([*words, "--out", str(tmp_path / "a")], standalone_mode=False)
    model.reply = lambda r: "<think>It is red</think>red"
    app([*words, "--out", str(tmp_path / "b"), "--max-new-tokens", "4096"], standalone_mode=False)
    assert model.lengths == {16, 4096}
    runs = [json.loads((tmp_path / name / "run.json").read_text())["max_new_tokens"] for name in "ab"]
    scores = [json.loads((tmp_path / name / "chartqa/scores.json").read_text()) for name in "ab"]
    assert runs == [0, 4096]
    assert [one["thinking"] for one in scores] == [
        {"replies": 2, "cut before an answer": 2}, {"replies": 2, "cut before an answer": 0},
    ]  # fmt: skip
    assert [one["figures"]["relaxed accuracy"]["micro"]["value"] for one in scores] == [0.0, 1.0]
