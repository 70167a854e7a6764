"""The held-out questions as a benchmark: asked once, controlled, compared; values that follow from what models see."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import killed_benchmark
import numpy as np
import pyarrow.parquet as pq
import pytest
from asked import Scripted, blind, collection, number, seeing, write_questions
from hypothesis import given
from hypothesis import strategies as st
from killed_benchmark import ask_logging
from killed_benchmark import benchmark_params as params
from PIL import Image as PILImage

from ouro.benchmarks import asking as asking_module
from ouro.benchmarks.asking import Asker, Question, ReplyStore, Settings
from ouro.benchmarks.asking import ask as put
from ouro.benchmarks.comparison import Comparison, compare_runs
from ouro.benchmarks.constants import constant_answers
from ouro.benchmarks.controls import wrong_images
from ouro.benchmarks.items import HELD_OUT, BenchmarkFileError, Item
from ouro.benchmarks.judging import metric_of
from ouro.benchmarks.loaders.registry import benchmark
from ouro.benchmarks.pictures import Absent
from ouro.benchmarks.run_folder import read_run
from ouro.benchmarks.scored import Score
from ouro.core.layout import Layout
from ouro.core.records import Box
from ouro.vision.protocols import Request
from tasks import asking, benchmark_sources, mlflow_pages, tracking
from tasks import benchmark as stage

ROOT = Path(__file__).resolve().parent.parent
IMAGES = 40


def ask(
    layout: Layout, out: Path, reply: Callable[[Request], str], monkeypatch: pytest.MonkeyPatch, k: int = 0,
    *overrides: str,
) -> tuple[Score, Scripted]:  # fmt: skip
    model, settings = Scripted(reply), params("benchmark.bootstrap_samples=200", *overrides)
    monkeypatch.setattr(asking, "annotator", lambda *_: model)
    score = asking.run_benchmark(
        benchmark_sources.source_of(HELD_OUT, settings, layout=layout), settings, out, k=k, limit=0, protocol="",
        controls=True, cache=out.parent / f"replies of {out.name}", adapter=None,
    )  # fmt: skip
    assert score
    return score, model


def compared(first: Path, second: Path) -> Comparison:
    (comparison,) = compare_runs(read_run(first, "base"), read_run(second, "boot"), seed=0, resamples=200)
    return comparison


# ---- controls ------------------------------------------------------------------------------------------


@given(st.sets(st.text(max_size=3), min_size=2, max_size=30), st.integers(0, 99))
def test_every_image_gets_another_and_each_is_used_once(images: set[str], seed: int) -> None:
    wrong = wrong_images(images, np.random.default_rng(seed))
    assert wrong == wrong_images(sorted(images) * 2, np.random.default_rng(seed))
    assert set(wrong) == set(wrong.values()) == images
    assert all(a != b for a, b in wrong.items())


def test_one_image_cannot_be_shuffled() -> None:
    with pytest.raises(ValueError, match="got 1 image"):
        wrong_images(["i", "i"], np.random.default_rng(0))


def test_the_most_frequent_answer_is_counted_in_its_normal_form_and_ties_are_alphabetical() -> None:
    """Of count "two" and "2." are one answer, said ten times as 3 is, and 2 comes first."""
    items = [
        Item("0", "i", "?", ("Two",) * 6 + ("3",) * 4, "count"),
        Item("1", "j", "?", ("2.",) * 4 + ("3",) * 6, "count"),
        Item("2", "k", "?", ("no",) * 9 + ("yes",), "existence"),
    ]
    metric = metric_of(benchmark(HELD_OUT))
    assert constant_answers(lambda: items, metric) == {("count", ""): "2", ("existence", ""): "no"}


def test_a_seeing_model_keeps_its_margin_and_a_blind_one_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = collection(tmp_path, IMAGES)
    seen, _ = ask(layout, tmp_path / "seeing", seeing, monkeypatch)
    assert seen.reported.value == 1.0 and seen.shuffled is not None and seen.margin is not None
    assert seen.margin.macro.value == pytest.approx(1.0 - seen.shuffled)
    assert seen.margin.macro.low > 0.2 and seen.margin.macro.p < 0.05
    guessed, _ = ask(layout, tmp_path / "blind", blind, monkeypatch)
    accuracy, constant = guessed.figures["accuracy"].kinds, guessed.controls["constant"].kinds
    assert accuracy["color"].value == constant["color"].value == 0.25
    assert accuracy["existence"].value == constant["existence"].value == 0.5
    assert guessed.reported.value == guessed.constant == pytest.approx(0.375)
    assert guessed.margin is not None
    margin = guessed.margin.macro
    assert (margin.value, margin.low, margin.high, margin.p) == (0.0, 0.0, 0.0, 1.0)
    assert (guessed.images, guessed.figures["accuracy"].micro.n, accuracy["color"].n) == (IMAGES, 80, 40)


def test_the_margin_and_its_paired_difference_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """i0 is red with a star, i1 green without; each is shown for the other, so that who sees is wrong on every shuffled
    picture: margin 1 - 0, in every draw of pictures. Who is blind says red and yes: right of i0, wrong of i1, whatever
    it is shown: margin 0 in every draw. So the margins differ by 1; accuracy by 0 (i0 twice) to 1 (i1 twice)."""
    layout = collection(tmp_path, 2)
    for name, reply in (("blind", blind), ("seeing", seeing)):
        ask(layout, tmp_path / name, reply, monkeypatch)
    row = compared(tmp_path / "blind", tmp_path / "seeing").macro
    assert row.base_margin and row.boot_margin and row.margin_gain
    assert (row.base_accuracy.value, row.boot_accuracy.value, row.majority) == (0.5, 1.0, 0.5)
    assert (row.base_shuffled, row.boot_shuffled) == (0.5, 0.0)
    assert (row.base_margin.value, row.base_margin.p, row.boot_margin.value) == (0.0, 1.0, 1.0)
    assert (row.margin_gain.value, row.margin_gain.low, row.margin_gain.high) == (1.0, 1.0, 1.0)
    assert (row.accuracy_gain.value, row.accuracy_gain.low, row.accuracy_gain.high) == (0.5, 0.0, 1.0)


def test_a_comparison_is_paired_and_survives_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = collection(tmp_path, IMAGES)
    for name, reply in (("blind", blind), ("seeing", seeing)):
        ask(layout, tmp_path / name, reply, monkeypatch)
    c = compared(tmp_path / "blind", tmp_path / "seeing")
    gain = c.macro.accuracy_gain
    assert gain.value == pytest.approx(1 - 0.375) and 0 < gain.low <= gain.value <= gain.high
    assert c.macro.margin_gain and c.macro.boot_margin
    assert c.macro.margin_gain.value == pytest.approx(c.macro.boot_margin.value)
    same = compared(tmp_path / "seeing", tmp_path / "seeing").overall
    assert same.margin_gain and (same.margin_gain.low, same.margin_gain.high, same.margin_gain.p) == (0.0, 0.0, 1.0)
    assert Comparison.from_json(json.loads(json.dumps(c.to_json(), allow_nan=False))) == c


def test_margins_on_other_wrong_images_are_not_paired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = collection(tmp_path, IMAGES)
    ask(layout, tmp_path / "one", seeing, monkeypatch)
    ask(layout, tmp_path / "two", seeing, monkeypatch, 0, "seed=9")
    row = compared(tmp_path / "one", tmp_path / "two").macro
    assert row.margin_gain is None and row.base_margin and row.accuracy_gain.value == 0.0


# ---- asking --------------------------------------------------------------------------------------------


def test_questions_are_put_as_the_params_say_beside_the_regions_that_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = collection(tmp_path, 4)
    suffix = "benchmark.suffix=' in {one} word'"
    _, model = ask(layout, tmp_path / "run", seeing, monkeypatch, 1, suffix, "benchmark.max_new_tokens=3")
    assert {r.prompt for r in model.asked} == {"what color? in {one} word", "a star? in {one} word"}
    assert model.lengths == {3}
    assert {tuple(view.size for view in r.images) for r in model.asked} == {((60, 60), (50, 40))}, "the largest one"
    assert {r.max_pixels for r in model.asked} == {(16384, 9216)}
    reply_regions = [(r.prompt[:3], number(r)) for r in model.asked[:8]]
    assert reply_regions == [(prompt, k) for k in range(4) for prompt in ("wha", "a s")], (
        "questions about one picture together"
    )


class Fresh:
    """10 x 10 pictures, decoded anew whenever asked for; `n_open` of them are still held by somebody."""

    def __init__(self) -> None:
        self.opened: list[weakref.ref[PILImage.Image]] = []

    def digest(self, image: str) -> str:
        return image

    def absence(self, image: str) -> Absent:
        return Absent("missing_image", image)

    def open(self, image: str) -> PILImage.Image:
        picture = PILImage.new("RGB", (10, 10), (int(image[1:]), 0, 0))
        self.opened.append(weakref.ref(picture))
        return picture

    @property
    def n_open(self) -> int:
        return sum(ref() is not None for ref in self.opened)


class Looking(Scripted):
    """Replies with the question and the picture's number; notes the sizes of calls, views, and what is open."""

    def __init__(self, pictures: Fresh) -> None:
        super().__init__(lambda r: f"{r.prompt}/{number(r)}")
        self.pictures, self.calls = pictures, list[tuple[int, int]]()
        self.n_open = 0

    def generate(self, requests: Sequence[Request], **settings: Any) -> list[str]:
        self.n_open = max(self.n_open, self.pictures.n_open)
        self.calls.append((len(requests), len({id(view) for r in requests for view in r.images})))
        replies = super().generate(requests, **settings)
        self.asked.clear()  # or they would hold the pictures
        return replies


@pytest.mark.parametrize(
    ("fit", "calls"), [(6, [(18, 18)]), (5, [(15, 15), (3, 3)]), (2, [(6, 6)] * 3), (0, [(3, 3)] * 6)]
)
def test_replies_come_in_order_crops_are_shared_and_only_one_chunk_of_pictures_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: int, calls: list[tuple[int, int]]
) -> None:
    """Three questions about each of six pictures with two regions; `fit` pictures with them are held at once."""
    monkeypatch.setattr(asking_module, "CHUNK_PIXELS", fit * 100 * 3)
    pictures = Fresh()
    model = Looking(pictures)
    boxes: list[Box] = [(0, 0, 8, 5), (2, 2, 6, 7)]
    asker = Asker(
        "model",
        cast(Any, lambda: model),
        lambda chunk: {image: boxes for image, _ in chunk},
        ReplyStore(tmp_path / "r"),
    )
    items = [Item(f"{n}{k}", f"i{k}", f"q{n}", ("yes",)) for n in range(3) for k in range(6)]
    settings = Settings(lambda item: item.question, 9, (100, 100), 2, "boxes")
    answers = list(put((Question(item, item.image) for item in items), asker, pictures, settings))
    assert [answer.reply for answer in answers] == [f"q{n}/{k}" for n in range(3) for k in range(6)]
    assert model.calls == calls, "questions, and views: each picture and its two crops once"
    assert model.n_open <= max(fit, 1) + 1 and len(pictures.opened) == 6


def test_what_cannot_be_scored_or_shown_is_rejected_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = collection(tmp_path, 4)
    path = layout.annotations / "test_annotations.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["answers"].pop()
    path.write_text(json.dumps(content))
    (layout.images / "shard-00000/i1.png").unlink()
    score, _ = ask(layout, tmp_path / "run", seeing, monkeypatch)
    assert score.account.rejected == {"missing_image": 2, "not_ten_answers": 1}
    assert (score.account.n_in, score.account.n_out) == (8, 5)


def test_a_collection_without_questions_says_so(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data", tmp_path / ".ouro/cache")
    assert benchmark_sources.held_out_count(layout) == 0
    with pytest.raises(BenchmarkFileError, match=r"test_questions\.json: got no questions, expected those of stage"):
        benchmark_sources.source_of(HELD_OUT, params(), layout=layout)
    write_questions(layout, [])
    assert stage.asked_names(layout, params("benchmark.names=[docvqa]")) == ["docvqa"]


def test_a_killed_arm_goes_on_without_asking_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL in the fourth batch of 7: 21 replies are kept. Of 80 questions about their own picture and the same about
    another, those about one picture have the same words: 80 requests in all, and all are about 40 pictures."""
    monkeypatch.setattr(asking, "annotator", asking.annotator)  # put back what `ask_logging` sets
    collection(tmp_path, IMAGES)
    words = [sys.executable, killed_benchmark.__file__, str(tmp_path), "3"]
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    log = tmp_path / "log.txt"
    before = log.read_text().splitlines()
    assert len(before) == 21 and not (tmp_path / "run/held-out/predictions.jsonl").exists()
    resumed = ask_logging(tmp_path)
    requests = Counter(log.read_text().splitlines())
    assert len(requests) == 80 and set(requests.values()) == {1}, "none of them twice"
    whole, _ = ask(Layout(tmp_path / "data", tmp_path / "c"), tmp_path / "whole", seeing, monkeypatch)
    assert resumed.to_json() == whole.to_json()
    ask_logging(tmp_path)
    assert Counter(log.read_text().splitlines()) == requests, "a repeat asks nothing"


# ---- the stage -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The stage with a base that is blind, a champion that says no, and a candidate that sees; what it wrote."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _run_stage(tmp_path_factory.mktemp("stage"), monkeypatch)


def _run_stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv(mlflow_pages.URI, f"sqlite:///{folder / 'mlflow.db'}")
    monkeypatch.chdir(folder)
    layout = collection(folder, IMAGES)
    settings = params("benchmark.k=1", "benchmark.bootstrap_samples=200", "model.adapter=models/champion")
    for name in ("models/champion", "models/adapter"):
        Path(name).mkdir(parents=True)
        (Path(name) / "adapter_model.safetensors").write_bytes(name.encode())
        (Path(name) / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    replies = {"base": blind, "champion": lambda r: "no", "bootstrapped": seeing}
    for which in stage.contenders(settings):
        monkeypatch.setattr(asking, "annotator", lambda *_, reply=replies[which]: Scripted(reply))
        for k in stage.shown_regions(settings):
            stage.ask_benchmark.fn(HELD_OUT, which, k, layout, settings, Path("models/adapter"))
    gate = json.loads(stage.compare_benchmarks.fn(layout, settings).read_text())
    scores = json.loads((layout.scores / "scores.json").read_text())
    return {"layout": layout, "gate": gate, "scores": scores}


def test_the_stage_writes_what_gate_report_and_people_read(stage_run: dict[str, Any]) -> None:
    scores, gate, layout = stage_run["scores"], stage_run["gate"], stage_run["layout"]
    assert [(c["arm"], c["base"], c["boot"]) for c in scores["comparisons"]] == [
        (arm, "base", "bootstrapped") for arm in ("image", "image+regions")
    ]
    assert [c["base"] for c in scores["over champion"]] == ["champion"] * 2 and scores["k"] == 1
    macro = scores["comparisons"][0]["macro"]
    assert (macro["base_accuracy"]["value"], macro["boot_accuracy"]["value"]) == (pytest.approx(0.375), 1.0)
    assert (macro["majority"], macro["n"]) == (pytest.approx(0.375), 80)
    assert [(m["benchmark"], m["k"], m["models"][0], round(m["first"], 3)) for m in gate["measured"]] == [
        (HELD_OUT, 0, "base", 0.375), (HELD_OUT, 1, "base", 0.375),
        (HELD_OUT, 0, "champion", 0.25), (HELD_OUT, 1, "champion", 0.25),
    ]  # fmt: skip
    assert gate["benchmarks"] == []
    assert {p.name for p in layout.scores.iterdir()} == {
        "scores.json", "gate.json", "predictions.parquet", "image.png", "image+regions.png", "runs",
    }  # fmt: skip


def test_every_prediction_is_kept_with_both_images(stage_run: dict[str, Any]) -> None:
    rows = pq.read_table(stage_run["layout"].scores / "predictions.parquet").to_pylist()
    assert [(row["model"], row["arm"]) for row in rows[::80]] == [
        (model, arm) for model in ("base", "champion", "bootstrapped") for arm in ("image", "image+regions")
    ]
    image_rows = [row for row in rows if row["model"] == "bootstrapped" and row["arm"] == "image"]
    wrong = wrong_images((f"i{k}" for k in range(IMAGES)), np.random.default_rng(0))
    assert [row["question_id"] for row in image_rows] == list(range(80))
    for row in image_rows:
        assert row["wrong_image_id"] == wrong[row["image_id"]] != row["image_id"]
        assert row["score"] == 1.0 and row["answer"] == row["truth"]
        assert row["wrong_score"] == float(row["wrong_answer"] == row["truth"])
        assert row["majority_score"] == float(row["truth"] in ("black", "no"))


def test_mlflow_has_the_figures_under_their_names(stage_run: dict[str, Any]) -> None:
    client = tracking.client()
    (logged,) = client.search_runs([client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id])  # type: ignore[union-attr]
    metrics, row = logged.data.metrics, stage_run["scores"]["comparisons"][1]["macro"]
    assert metrics["image_regions/macro-average/gain"] == pytest.approx(row["accuracy_gain"]["value"])
    assert metrics["image_regions/macro-average/margin gain low"] == pytest.approx(row["margin_gain"]["low"])
    names = "majority base boot gain|gain low|gain high|margin base|margin boot|margin gain|margin gain low"
    of_color = {name.rpartition("/")[2] for name in metrics if name.startswith("image/color/")}
    assert of_color == {*names.split("|")[0].split(), *names.split("|")[1:]}
    assert metrics["image/over champion value"] == pytest.approx(0.75)
