"""RefCOCO: one convention of boxes for all replies of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from asked import Scripted
from PIL import Image as PILImage

from cli.score import Options, run
from ouro.benchmarks.items import BenchmarkFileError
from ouro.benchmarks.loaders.registry import benchmark
from ouro.core.params import load_params
from tasks import asking, benchmark_sources

ROOT = Path(__file__).resolve().parent.parent
BOX = (20, 20, 100, 80)  # a tenth, a fifth, a half, four fifths of a picture of 200 x 100


def scored(folder: Path, replies: list[str], protocol: str, capsys: pytest.CaptureFixture[str], as_json: bool) -> Any:
    """Each reply about a box of (20, 20, 100, 80) in a picture of 200 x 100."""
    rows = [{"image": f"{i}.jpg", "sent": "cup", "bbox": BOX, "width": 200, "height": 100} for i in range(len(replies))]
    (folder / "refcoco_val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [{"question_id": f"val-{i}", "prediction": reply} for i, reply in enumerate(replies)]
    (folder / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(Options("refcoco", [folder / "refcoco_val.jsonl"], folder / "p.jsonl", protocol, False, False, None, as_json))
    out = capsys.readouterr()
    return json.loads(out.out) if as_json else out.out + out.err


@pytest.mark.parametrize(
    ("replies", "protocol", "value", "unreadable", "forms"),
    [
        (["[20, 20, 100, 80]"] * 2, "pixels", 1.0, 0.0, {"pixels": 2}),
        (["[22, 17, 109, 67]"], "qwen2.5-vl", 1.0, 0.0, {"qwen2.5-vl": 1}),  # shown at 196 x 112
        (["[100, 200, 500, 800]", "[0, 0, 1, 1]"], "thousandths", 0.5, 0.0, {"thousandths": 2}),
        (["[100, 200, 500, 800]", "[0.1, 0.2, 0.5, 0.8]"], "thousandths", 0.5, 0.5,
         {"thousandths": 1, "fractions, not read": 1}),
        (["[0.1, 0.2, 0.5, 0.8]", "[0, 0, 1, 1]"], "", 0.5, 0.0, {"fractions": 2}),
        (["<|box_start|>(100,200),(500,800)<|box_end|>", "[100, 200, 500, 800]"], "", 1.0, 0.0, {"thousandths": 2}),
        (["{<10><20><50><80>}", "[0.1, 0.2, 0.5, 0.8]", "[100, 200, 500, 800]"], "", 2 / 3, 1 / 3,
         {"percent": 1, "fractions": 1, "bare numbers, not read": 1}),
        (["none", "2 men, 100 and 200 of 500"], "", 0.0, 1.0, {"no box, not read": 2}),
        (["<think>[1, 2, 3, 4]</think>[20, 20, 100, 80]"], "pixels", 1.0, 0.0, {"pixels": 1}),
    ],
)  # fmt: skip
def test_one_convention_for_all_replies_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], replies: list[str], protocol: str, value: float,
    unreadable: float, forms: dict[str, int],
) -> None:  # fmt: skip
    scores = scored(tmp_path, replies, protocol, capsys, True)
    assert scores["figures"]["recall at IoU 0.5"]["macro"]["value"] == pytest.approx(value)
    assert (scores["unreadable"], scores["forms"]) == (pytest.approx(unreadable), forms)
    said = scored(tmp_path, replies, protocol, capsys, False)
    assert ("boxes written as: a mixture: " in said) is (len(forms) > 1)


@pytest.mark.parametrize("reply", ["[20, 20, 100, 80]", "[0, 0, 1, 1]", "x1=20, y1=20, x2=100, y2=80"])
def test_bare_numbers_are_an_error_that_names_the_protocols(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: str
) -> None:
    with pytest.raises(BenchmarkFileError, match=r"1 replies are boxes of bare numbers.*--protocol thousandths"):
        scored(tmp_path, [reply], "", capsys, True)


def test_a_model_that_is_asked_is_read_as_its_family_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen2.5-VL sees a picture of 400 x 300 within 20,000 pixels as 140 x 112: divided by sqrt(120,000 / 20,000) =
    2.449, 163.3 x 122.5, and down to multiples of 28."""
    picture = PILImage.new("RGB", (400, 300))
    (tmp_path / "data/refcoco").mkdir(parents=True)
    picture.save(tmp_path / "data/refcoco/a.png")
    row = {"image": "a.png", "sent": "cup", "bbox": [200, 150, 400, 300], "width": 400, "height": 300}
    (tmp_path / "data/refcoco/refcoco_val.jsonl").write_text(json.dumps(row) + "\n")
    scripted = Scripted(lambda r: '[{"bbox_2d": [70, 56, 140, 112]}]')
    monkeypatch.setattr(asking, "annotator", lambda *_: scripted)
    served = ("model.backend=openai", "model.name=Qwen/Qwen2.5-VL-7B-Instruct", "benchmark.max_pixels=20000")
    for knobs, protocol, value in ((served, "qwen2.5-vl", 1.0), (("model.base=models/nano",), "thousandths", 0.0)):
        params = load_params(ROOT / "params.yaml", knobs)
        score = asking.run_benchmark(
            benchmark_sources.open_source(benchmark("refcoco"), tmp_path / "data", 10**8), params, tmp_path / "run",
            k=0, limit=0, protocol="", controls=False, cache=tmp_path / "cache", adapter=None,
        )  # fmt: skip
        assert score is not None and (score.protocol, score.reported.value) == (protocol, value)
