"""A benchmark asked of a model: every reply kept, judged, and never asked for twice."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asked import Scripted, fill
from PIL import Image as PILImage
from serving import served_nano

from cli.app import app, guarded
from ouro.benchmarks.asking import ReplyStore
from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.registry import benchmark, prompt_of
from ouro.core.layout import Layout
from ouro.core.params import Params, load_params
from ouro.vision.protocols import Refused, Request
from tasks import annotator as annotators
from tasks import asking, benchmark_sources, mlflow_pages, tracking
from tasks import benchmark as stage

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("docvqa", "chartqa", "vqav2", "klc", "scienceqa", "pope")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Asked instead of nano; its fingerprint is nano's."""
    scripted = Scripted()
    monkeypatch.setattr(asking, "annotator", lambda *_: scripted)
    return scripted


def run(data: Path, name: str, out: Path, params: Params | None = None, **knobs: Any) -> Any:
    arguments: dict[str, Any] = {
        "k": 0,
        "limit": 0,
        "protocol": "",
        "controls": False,
        "cache": out.parent / "cache",
        "adapter": None,
    }
    source = benchmark_sources.open_source(benchmark(name), data, 10**8)
    return asking.run_benchmark(source, params or load_params(ROOT / "params.yaml"), out, **{**arguments, **knobs})


def replies(out: Path, name: str) -> dict[str, str]:
    lines = (out / name / "predictions.jsonl").read_text().rstrip("\n").split("\n")
    return {row["question_id"]: row["prediction"] for row in map(json.loads, lines)}


def test_a_question_is_put_as_the_registry_says_and_asked_once(tmp_path: Path, model: Scripted) -> None:
    data = fill(tmp_path / "data", ["docvqa"])
    score = run(data, "docvqa", tmp_path / "run")
    assert [r.prompt.splitlines()[-1] for r in model.asked] == [
        "Answer the question using a single word or phrase."
    ] * 2
    assert [(len(r.images), r.max_pixels) for r in model.asked] == [(1, (16384,))] * 2
    assert replies(tmp_path / "run", "docvqa") == {"7": "no", "8": "no"}
    assert (score.account.n_in, score.account.n_out, score.reported.value) == (2, 2, 0.0)
    first = (tmp_path / "run/docvqa/scores.json").read_bytes()
    run(data, "docvqa", tmp_path / "run")
    assert len(model.asked) == 2, "a repeat asks nothing"
    assert (tmp_path / "run/docvqa/scores.json").read_bytes() == first


@pytest.mark.parametrize("name", NAMES)
def test_every_question_is_asked_in_the_words_of_the_registry(tmp_path: Path, model: Scripted, name: str) -> None:
    data, bench, done = fill(tmp_path / "data", [name]), benchmark(name), list[int]()
    score = run(data, name, tmp_path / "run", progress=done.append)
    items = [one for one in benchmark_sources.open_source(bench, data, 10**8).load() if isinstance(one, Item)]
    prompts = [r.prompt for r in model.asked]
    assert sorted(prompts) == sorted({(prompt_of(bench, i), i.image): prompt_of(bench, i) for i in items}.values())
    assert model.lengths == {bench.max_new_tokens}
    assert sum(done) == len(items) == score.account.n_out == len(replies(tmp_path / "run", name))
    assert score.account.n_in == score.account.n_out + sum(score.account.rejected.values())


def test_the_same_question_about_the_same_picture_is_asked_once(tmp_path: Path, model: Scripted) -> None:
    data = fill(tmp_path / "data", ["chartqa"])
    path = data / "chartqa/test_human.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:1] * 3))
    score = run(data, "chartqa", tmp_path / "run")
    assert (score.account.n_out, len(model.asked)) == (4, 2), "three times the one of test_human, one of test_augmented"
    assert list(replies(tmp_path / "run", "chartqa")) == ["human-0", "human-1", "human-2", "augmented-0"]


def test_a_reply_that_no_file_takes_is_kept_all_the_same(tmp_path: Path, model: Scripted) -> None:
    """A server cuts a reply inside an emoji: half a surrogate pair, which neither SQLite nor UTF-8 takes."""
    model.reply = lambda r: "no \ud83d\u2028\nline"
    run(fill(tmp_path / "data", ["docvqa"]), "docvqa", tmp_path / "run")
    assert set(replies(tmp_path / "run", "docvqa").values()) == {"no \ufffd\u2028\nline"}


def test_a_model_that_fails_leaves_no_half_file_and_what_was_answered(tmp_path: Path, model: Scripted) -> None:
    data, out = fill(tmp_path / "data", ["chartqa", "docvqa"]), tmp_path / "run"

    def broken(request: Request) -> str:
        raise RuntimeError("out of memory")

    run(data, "docvqa", out)
    n_requests, model.reply = len(model.asked), broken
    for name in ("docvqa", "chartqa"):
        with contextlib.nullcontext() if name == "docvqa" else pytest.raises(RuntimeError, match="out of memory"):
            run(data, name, out)
    assert len(model.asked) > n_requests
    assert [p.name for p in out.rglob("*.tmp")] == []
    assert not (out / "chartqa/predictions.jsonl").exists()


def test_another_picture_prompt_model_or_number_of_regions_is_another_question(
    tmp_path: Path, model: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = fill(tmp_path / "data", ["docvqa"]), tmp_path / "run"
    run(data, "docvqa", out)
    PILImage.new("RGB", (64, 48), "red").save(data / "docvqa/images/page.png")
    run(data, "docvqa", out)
    assert len(model.asked) == 4
    run(data, "docvqa", out, k=2)
    assert len(model.asked) == 6
    params = load_params(ROOT / "params.yaml", ("benchmark.max_pixels=4096",))
    run(data, "docvqa", out, params)
    assert len(model.asked) == 8
    monkeypatch.setattr(asking, "fingerprint", lambda *_: "another")
    run(data, "docvqa", out)
    assert len(model.asked) == 10


def test_regions_stand_beside_the_picture(tmp_path: Path, model: Scripted) -> None:
    data = fill(tmp_path / "data", ["docvqa"])
    run(data, "docvqa", tmp_path / "run", k=3)
    assert {len(r.images) for r in model.asked} == {4}
    assert {r.max_pixels for r in model.asked} == {(16384, 9216, 9216, 9216)}


def test_the_shuffled_control_shows_another_picture(tmp_path: Path, model: Scripted) -> None:
    data = fill(tmp_path / "data", ["scienceqa"])
    model.reply = lambda r: "B" if "solid" in r.prompt else "A"  # blind: right, whatever it is shown
    score = run(data, "scienceqa", tmp_path / "run", controls=True)
    assert (score.reported.value, score.shuffled, score.constant) == (1.0, 1.0, 1.0)
    assert (score.margin.micro.value, score.margin.micro.p) == (0.0, 1.0)
    by_prompt: dict[str, list[bytes]] = {}
    for request in model.asked:
        by_prompt.setdefault(request.prompt, []).append(request.images[0].tobytes())
    assert len(by_prompt) == 2
    assert all(len(pictures) == 2 and pictures[0] != pictures[1] for pictures in by_prompt.values())


def test_what_cannot_be_asked_is_rejected_with_its_reason(tmp_path: Path, model: Scripted) -> None:
    data = fill(tmp_path / "data", ["vqav2"])
    (data / "vqav2/images/sign.png").write_bytes(b"no picture")
    model.reply = lambda r: Refused("too long") if "color" in r.prompt else "no"
    score = run(data, "vqav2", tmp_path / "run")
    assert score.account.rejected == {"refused": 1, "unreadable_image": 1}
    assert (score.account.n_in, score.account.n_out) == (3, 1)
    assert replies(tmp_path / "run", "vqav2") == {"7000": "no"}
    model.reply = lambda r: "red"
    (data / "vqav2/images/sign.png").unlink()
    score = run(data, "vqav2", tmp_path / "run")
    assert score.account.rejected == {"missing_image": 1}, "what was refused is asked again"
    assert replies(tmp_path / "run", "vqav2") == {"7000": "no", "7001": "red"}
    for picture in (data / "vqav2/images").iterdir():
        picture.unlink()
    with pytest.raises(BenchmarkFileError, match=r"vqav2: no question could be asked; rejected: .*missing_image"):
        run(data, "vqav2", tmp_path / "other")


def test_a_limit_takes_the_first_questions(tmp_path: Path, model: Scripted) -> None:
    data = fill(tmp_path / "data", ["vqav2"])
    assert run(data, "vqav2", tmp_path / "run", limit=2).account.n_out == 2
    assert list(replies(tmp_path / "run", "vqav2")) == ["7000", "7001"]


def test_replies_that_are_kept_are_there_for_another_process(tmp_path: Path) -> None:
    store = ReplyStore(tmp_path / "replies.db")
    store.put({f"k{i}": str(i) for i in range(1200)})
    code = "import sys, pathlib\nfrom ouro.benchmarks.asking import ReplyStore\n"
    code += "ReplyStore(pathlib.Path(sys.argv[1])).put({'x': 'y'})"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "replies.db")], check=True, cwd=ROOT)
    assert store.get(["k7", "x", "none", *(f"k{i}" for i in range(1200))]).keys() >= {"k7", "x", "k1199"}
    assert store.get(["none"]) == {}


# ---- in the loop -----------------------------------------------------------------------------------------


def test_the_stage_asks_every_model_with_regions_and_without_and_writes_what_a_gate_reads(
    tmp_path: Path, model: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(mlflow_pages.URI, f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    data, layout = fill(tmp_path / "b", ["scienceqa"]), Layout(tmp_path / "data", tmp_path / ".ouro/cache")
    knobs = ("benchmark.names=[scienceqa]", f"benchmark.folder={data}", "benchmark.k=2", "propose.proposers=[rpn]")
    here = (f"model.base={ROOT / 'models/nano'}", f"model.proposer={ROOT / 'models/nano/rpn'}")
    params = load_params(ROOT / "params.yaml", (*knobs, *here, "model.adapter=models/champion"))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"another model")
    (tmp_path / "models/champion").mkdir(parents=True)
    (tmp_path / "models/champion/adapter_model.safetensors").write_bytes(b"a third model")
    for folder in (adapter, tmp_path / "models/champion"):
        (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    for which in stage.contenders(params):
        model.reply = (lambda r: "B" if "solid" in r.prompt else "A") if which == "bootstrapped" else (lambda r: "A")
        for k in stage.shown_regions(params):
            stage.ask_benchmark.fn("scienceqa", which, k, layout, params, adapter)
    assert {len(r.images) for r in model.asked} == {1, 3}
    rows = json.loads(stage.compare_benchmarks.fn(layout, params).read_text())["benchmarks"]
    assert [(row["k"], row["models"][0], row["first"], row["second"]) for row in rows] == [
        (k, other, 0.5, 1.0) for k in (0, 2) for other in ("base", "champion")
    ]
    assert {row["difference"]["micro"]["value"] for row in rows} == {0.5}
    assert (layout.scores / "benchmarks-k2.png").read_bytes().startswith(b"\x89PNG")
    client = tracking.client()
    (logged,) = client.search_runs([client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id])  # type: ignore[union-attr]
    assert logged.data.metrics["scienceqa/k2/over champion value"] == 0.5
    assert logged.data.metrics["scienceqa/k2/margin bootstrapped"] == 0.0, "right whatever they are shown"
    assert {row["margin"]["difference"]["micro"]["value"] for row in rows} == {0.0}


def test_a_list_with_a_benchmark_that_is_not_there_is_refused_before_anything_runs(tmp_path: Path) -> None:
    params = load_params(ROOT / "params.yaml", ("benchmark.names=[docvqa]", f"benchmark.folder={tmp_path}"))
    with pytest.raises(BenchmarkFileError, match=r"docvqa: no such folder; DocVQA needs val_v1\.0_withQT\.json"):
        benchmark_sources.check_benchmarks(params)


# ---- nano, end to end ----------------------------------------------------------------------------------

SETTINGS = ("benchmark.dtype=float32", "model.processes=1")


def command(data: Path, out: Path, *words: str) -> list[str]:
    named = ["benchmark", "--benchmarks", ",".join(NAMES), "--data", str(data), "--out", str(out), "--no-track"]
    return [*named, *(word for knob in SETTINGS for word in ("--set", knob)), *words]


def files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.json*"))}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    annotators._load.cache_clear()
    return tmp_path


def test_nano_killed_and_resumed_writes_what_a_whole_run_writes_and_a_repeat_loads_no_model(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = fill(checkout / "data", NAMES)
    words = [sys.executable, "-m", "cli.app", *command(data, checkout / "killed")]
    process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    until(lambda: (checkout / "killed/docvqa/predictions.jsonl").is_file())
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    assert guarded(lambda: app(command(data, checkout / "killed"), standalone_mode=False)) == 0
    shutil.rmtree(checkout / ".ouro/benchmark")  # the whole run asks everything itself
    assert guarded(lambda: app(command(data, checkout / "whole"), standalone_mode=False)) == 0
    outputs = files(checkout / "whole")
    assert files(checkout / "killed") == outputs
    assert len([name for name in outputs if name.endswith("scores.json")]) == len(NAMES)

    def load(*_: object) -> None:
        raise AssertionError("a repeat loads no model")

    monkeypatch.setattr(asking, "annotator", load)
    assert guarded(lambda: app(command(data, checkout / "again"), standalone_mode=False)) == 0
    monkeypatch.undo()
    assert files(checkout / "again") == outputs
    assert "DocVQA" in capfd.readouterr().out


@pytest.mark.slow
def test_nano_says_the_same_here_and_through_a_server(checkout: Path) -> None:
    data = fill(checkout / "data", NAMES)
    assert guarded(lambda: app(command(data, checkout / "here", "--no-controls"), standalone_mode=False)) == 0
    with served_nano(checkout / "log.txt") as (url, name):
        served = ("--backend", "openai", "--url", url, "--model", name, "--no-controls")
        assert guarded(lambda: app(command(data, checkout / "served", *served), standalone_mode=False)) == 0
    for bench in NAMES:
        assert replies(checkout / "served", bench) == replies(checkout / "here", bench), bench


def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
