"""What a round would cost: the work counted by hand, the roofline, measured rates, and the command."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.app import app, guarded
from ouro.core.artifacts import write_shard
from ouro.core.params import Params, load_params
from ouro.core.rates import GPUS, Rates, rates
from ouro.core.records import Description, Image, QAPair, Region, Scene
from ouro.costs.assumptions import AssumptionError, Assumptions, default_assumptions, replace_values
from ouro.costs.estimate import EstimateInputs, estimate_costs, unit_seconds
from ouro.costs.workload import BranchTokens, estimate_grids, estimate_packed_row, estimate_workload
from ouro.vision.architecture import ARCHITECTURES, Architecture, PixelBounds, read_architecture, read_pixel_bounds
from ouro.vision.flops import count_language_weights, decode_flops, kv_bytes, prefill_flops, vision_flops

ROOT = Path(__file__).resolve().parent.parent
ARCH: Architecture = read_architecture(ARCHITECTURES["Qwen2-VL-7B-Instruct"])
SIGHT: PixelBounds = read_pixel_bounds("none", ARCH.vision)


def words(text: str) -> float:
    return len(text.split())


def inputs(params: Params, values: Assumptions | None = None) -> EstimateInputs:
    assumptions = values or Assumptions()
    return EstimateInputs(params, ARCH, SIGHT, assumptions, estimate_grids(params, SIGHT, assumptions), words)


@pytest.fixture(scope="module")
def paper() -> Params:
    return load_params(ROOT / "profiles/paper.yaml")


# ---- the work -------------------------------------------------------------------------------------------------


def test_calls_of_a_collection_are_those_of_the_method(paper: Params) -> None:
    """10 images of 1 + 13 regions, each described and named; five aspects; 3 epochs; each question to 2 models, about
    2 images, in 2 arms."""
    values = replace(Assumptions(), regions1=8.0, regions2=4.0, regions3=1.0, asked=100.0)
    work = estimate_workload(paper, SIGHT, 10, values, estimate_grids(paper, SIGHT, values), words)
    assert sum(c.n for c in work.describe) == pytest.approx(10 * 14 * 2)  # a description and a name
    assert sum(c.n * c.encoded for c in work.describe) == pytest.approx(10 * 14)  # on the same features
    assert sum(c.n for c in work.synthesize) == 10 * 5
    assert work.rows["shared"].n == 30
    assert sum(c.n for c in work.benchmark) == 100 * 2 * 2 * 2
    assert work.detections == 10 * (1 + 8 + 4)  # regions of level 3 are not searched: propose.max_depth is 3


def test_rows_by_hand_shared_separate_and_as_a_conversation() -> None:
    """A prefix of 100, a description of 5 + 10 tokens, two questions of 3 + 2."""
    grids = {(1, 20, 20): 1.0}
    rows = {
        p: estimate_packed_row(100, BranchTokens(5, 10), BranchTokens(3, 2), 2, grids, p)
        for p in ("shared", "separate", "conversation")
    }
    assert rows["shared"][2:] == (125, 5050 + (1500 + 120) + 2 * (500 + 15), 14)
    assert rows["separate"][2:] == (325, 115 * 116 / 2 + 2 * 105 * 106 / 2, 14)
    assert rows["conversation"][2:] == (125, 125 * 126 / 2, 14)
    assert rows["separate"].grids == {(1, 20, 20): 3.0} and rows["shared"].grids == grids


@settings(deadline=None)
@given(prefix=st.integers(1, 30), desc=st.integers(1, 9), qa=st.integers(1, 9), n=st.integers(0, 4))
def test_keys_seen_in_a_shared_row_are_those_of_its_attention_mask(prefix: int, desc: int, qa: int, n: int) -> None:
    from ouro.training.packing import tree_mask

    branch = [0] * prefix + [1] * (desc + 1) + [b for i in range(n) for b in [i + 2] * (qa + 1)]
    row = estimate_packed_row(prefix, BranchTokens(1, desc), BranchTokens(1, qa), n, {}, "shared")
    assert row.attended == float(tree_mask(torch.tensor([branch])).sum())
    assert row.tokens == len(branch) and row.supervised == desc + n * qa


@settings(max_examples=200, deadline=None)
@given(width=st.integers(1, 3000), height=st.integers(1, 3000), most=st.integers(784, 2_000_000))
def test_patches_are_those_of_qwen2_vls_own_resizing(width: int, height: int, most: int) -> None:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    if max(width, height) / min(width, height) > 200:
        return
    low, high = min(SIGHT.least, most), min(most, SIGHT.most)
    h, w = smart_resize(height, width, 28, low, high)
    assert SIGHT.grid(width, height, most) == (1, h // 14, w // 14)


def test_bounds_of_a_local_processor_are_read() -> None:
    nano = read_architecture(json.loads((ROOT / "models/nano/config.json").read_text()))
    bounds = read_pixel_bounds(str(ROOT / "models/nano"), nano.vision)
    assert (bounds.least, bounds.most) == (48 * 48, 128 * 128)
    assert bounds.grid(20, 20, 9216) == (1, 6, 6) and bounds.grid(256, 256, 10**6) == (1, 16, 16)


def test_a_server_answers_as_many_calls_at_once_as_are_under_way(paper: Params) -> None:
    served = paper.model_copy(update={"model": paper.model.model_copy(update={"backend": "openai", "concurrency": 7})})
    work = estimate_workload(served, SIGHT, 1, Assumptions(), estimate_grids(served, SIGHT, Assumptions()), words)
    assert {c.batch for c in (*work.describe, *work.synthesize)} == {7}


# ---- assumptions ----------------------------------------------------------------------------------------------


def test_every_assumption_has_a_source(paper: Params) -> None:
    assumptions = default_assumptions(paper, nano=False)
    assert set(assumptions.sources) == {f.name for f in fields(Assumptions)}
    assert all(source for source in assumptions.sources.values())


def test_regions_scales_all_levels_and_says_who_wanted_that(paper: Params) -> None:
    assumptions = replace_values(default_assumptions(paper, nano=False), {"regions": 26}, "given")
    assert (assumptions.values.regions1, assumptions.values.regions2, assumptions.values.regions3) == (16, 8, 2)
    assert assumptions.sources["regions2"] == "given" and assumptions.sources["area2"].startswith("assumed")


@pytest.mark.parametrize("values", [{"regionz": 1.0}, {"merged": 0.0}, {"regions": -1.0}, {"pairs": float("inf")}])
def test_assumptions_that_cannot_be_are_refused(paper: Params, values: dict[str, float]) -> None:
    with pytest.raises(AssumptionError, match="expected"):
        replace_values(default_assumptions(paper, nano=False), values, "given")


# ---- seconds --------------------------------------------------------------------------------------------------


def _one_batch(batch: int, reply: float, rate: Rates) -> tuple[float, float]:
    """Seconds and FLOPs of `batch` descriptions of whole images of 16 visual tokens, in one batch."""
    params = Params.model_validate({"describe": {"batch_size": batch, "batch_tokens": 10**6, "max_new_tokens": 9999}})
    values = replace(
        Assumptions(), width=112.0, height=112.0, regions1=0.0, regions2=0.0, regions3=0.0, image_reply=reply, tail=1.0
    )
    estimate = estimate_costs(inputs(params, values), batch, rate)
    stage = next(s for s in estimate.stages if s.stage == "describe")
    assert stage.seconds is not None
    return stage.seconds, stage.flops


def test_decoding_is_bound_by_the_memory_or_by_launches_or_by_flops() -> None:
    """Prompt: 19 around it, 3 words, 16 + 2 of the picture = 40 tokens. The first token comes out of the prefill."""
    gpu = GPUS["h100"]
    plain = Rates(gpu, mfu_prefill=0.5, bandwidth_share=1.0, launch=0.0)
    read, _ = _one_batch(4, 1, plain)
    looked = vision_flops(ARCH, (1, 8, 8)) + prefill_flops(ARCH, 40)
    assert read == pytest.approx(4 * looked / (gpu.peak * 0.5))
    moved = 2 * count_language_weights(ARCH.text) + 4 * kv_bytes(ARCH.text, 40 + 101 / 2)
    assert _one_batch(4, 101, plain)[0] - read == pytest.approx(100 * moved / gpu.bandwidth)
    slow = plain._replace(launch=1.0)
    assert _one_batch(4, 101, slow)[0] - read == pytest.approx(100 * 28)
    fast = plain._replace(gpu=gpu._replace(bandwidth=1e30))
    step = 4 * decode_flops(ARCH, 40 + 101 / 2, 2) / (gpu.peak * 0.5)
    assert _one_batch(4, 101, fast)[0] - read == pytest.approx(100 * step)
    assert _one_batch(4, 101, plain)[1] == pytest.approx(4 * (looked + decode_flops(ARCH, 40, 101)))


def test_costs_grow_with_the_images_and_training_with_the_epochs(paper: Params) -> None:
    one, ten = (estimate_costs(inputs(paper), n, Rates(GPUS["h100"])) for n in (1000, 10_000))
    for a, b in zip(one.stages[:-1], ten.stages[:-1], strict=True):
        assert b.flops == pytest.approx(10 * a.flops)
    assert one.stages[-1] == ten.stages[-1]  # the benchmark's questions stay
    more = paper.model_copy(update={"train": paper.train.model_copy(update={"epochs": 6})})
    train = estimate_costs(inputs(more), 1000, Rates(GPUS["h100"])).stages[4]
    assert train.seconds == pytest.approx(2 * (one.stages[4].seconds or 0))
    assert train.seconds == pytest.approx(train.flops / (989e12 * 0.45))


def test_shared_rows_save_the_pictures_of_every_branch_but_one(paper: Params) -> None:
    estimate = estimate_costs(inputs(paper), 100, Rates(GPUS["h100"]))
    assert estimate.packings["shared"] == pytest.approx(estimate.stages[4].flops)
    assert 3 < estimate.packings["separate"] / estimate.packings["shared"] < 6  # six branches
    assert 1 <= estimate.packings["conversation"] / estimate.packings["shared"] < 1.1


def test_measured_seconds_of_a_run_come_out_of_it_again_and_scale(paper: Params) -> None:
    some = inputs(paper)
    took = {"propose": 5.0, "describe": 60.0, "train": 300.0}
    pace = unit_seconds(estimate_costs(some, 100, Rates(GPUS["h100"])), took)
    second = estimate_costs(some, 100, Rates(GPUS["h100"]), pace)
    assert {s.stage: s.seconds for s in second.stages if s.seconds is not None} == pytest.approx(took)
    assert next(s for s in second.stages if s.stage == "merge").seconds is None
    twice = estimate_costs(some, 200, Rates(GPUS["h100"]), pace)
    assert twice.seconds() == pytest.approx(2 * sum(took.values()))


def test_a_template_that_writes_the_pairs_asks_no_model() -> None:
    estimate = estimate_costs(inputs(Params()), 10, Rates(GPUS["h100"]))
    assert next(s for s in estimate.stages if s.stage == "synthesize").calls == 0
    asking = Params.model_validate({"synthesize": {"round_trip": True}})
    second = estimate_costs(inputs(asking), 10, Rates(GPUS["h100"]))
    assert next(s for s in second.stages if s.stage == "synthesize").calls == 10 * Assumptions().pairs


def test_all_gpus_of_the_table_have_a_source_and_servers_launch_nothing() -> None:
    assert all(gpu.source and gpu.peak > gpu.bandwidth > gpu.memory for gpu in GPUS.values())
    assert rates("H100", 0.4, 0.5, served=True).launch == 0 < rates("h100", 0.4, 0.5, served=False).launch


# ---- --like ---------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """One training image of 560 x 280 with a region of 280 x 140 and one of 140 x 70 in it, and a held-out image."""
    root = tmp_path / "data"
    name = "shard-00000.parquet"
    images = [Image("a", "a.png", 560, 280, "a"), Image("b", "b.png", 99, 99, "b", split="test")]
    regions = [
        Region("a/0", "a", None, 0, (0, 0, 560, 280), 1.0, "image", kind="scene"),
        Region("a/0.0", "a", "a/0", 1, (0, 0, 280, 140), 0.9, "rpn"),
        Region("a/0.0.0", "a", "a/0.0", 2, (0, 0, 140, 70), 0.9, "rpn"),
    ]
    descriptions = [Description(r.region_id, "a", "one two three" if r.parent_id else "one", "m") for r in regions]
    pairs = [QAPair("q", "a", "style", "is it red?", "yes")]
    written: dict[str, tuple[Any, list[Any]]] = {
        "images": (Image, images), "regions": (Region, regions), "descriptions": (Description, descriptions),
        "scenes": (Scene, [Scene("a", "a b c d", (), ())]), "qa": (QAPair, pairs),
    }  # fmt: skip
    for folder, (kind, records) in written.items():
        (root / folder).mkdir(parents=True)
        write_shard(root / folder / name, kind, records, n_in=len(records), rejected=[])
    return root


def test_a_dataset_tells_its_own_assumptions(dataset: Path, paper: Params) -> None:
    from ouro.core.layout import layout_of
    from ouro.costs.workload_like import profile_dataset

    profile = profile_dataset(layout_of(dataset), paper, SIGHT, words)
    assert profile.images == 1
    expected = {
        "width": 560, "height": 280, "regions1": 1, "regions2": 1, "regions3": 0, "area1": 0.25, "area2": 0.0625,
        "image_reply": 2, "region_reply": 4, "merged": 4, "pairs": 1, "question": 3, "answer": 2,
        "written": (3 + 2 + 4) / 5,
    }  # fmt: skip
    assert profile.values == pytest.approx(expected)
    assert profile.seen.trained_image == {(1, 20, 40): 1.0}
    assert profile.seen.trained_region == {(1, 10, 20): 0.5, (1, 4, 10): 0.5}  # 70 pixels are 2.5 tokens, rounded to 2
    values = replace_values(default_assumptions(paper, nano=False), profile.values, "measured").values
    estimate = estimate_costs(inputs(paper)._replace(values=values, seen=profile.seen), 1, Rates(GPUS["h100"]))
    assert next(s for s in estimate.stages if s.stage == "describe").calls == pytest.approx(3 * 2)


# ---- the command ----------------------------------------------------------------------------------------------


def ouro(*command: str) -> int:
    try:
        return guarded(lambda: app(list(command)))
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "profiles").mkdir()
    for name in ("params.yaml", "profiles/paper.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "models").mkdir()
    (tmp_path / "models/nano").symlink_to(ROOT / "models/nano")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_table_names_stages_totals_formulas_and_what_is_assumed(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ouro("estimate", "--profile", "paper", "--images", "1400000", "--price", "2") == 0
    output = capsys.readouterr().out
    for part in ("1,400,000 images", "describe", "39.2 M", "GPU-hours", "days on 8 x h100", "rates assumed"):
        assert part in output
    assert "that ship with ouro" in output and "separate" in output and "formulas:" in output
    assert "regions1 8: assumed" in output and "cost:" in output


def test_json_holds_the_same_numbers(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "--profile",
        "paper",
        "--images",
        "100",
        "--gpus",
        "2",
        "--price",
        "3",
        "--assume",
        "regions=39",
        "--json",
    ]
    assert ouro("estimate", *command) == 0
    report = json.loads(capsys.readouterr().out)
    hours = report["total"]["gpu_hours"]
    assert hours == pytest.approx(sum(s["seconds"] for s in report["stages"]) / 3600)
    assert report["cost"] == pytest.approx(3 * hours) and report["days"] == pytest.approx(hours / 48)
    assert report["assumptions"]["regions1"] == {"value": 24.0, "source": "given"}
    assert next(s for s in report["stages"] if s["stage"] == "describe")["calls"] == pytest.approx(100 * 40 * 2)


def test_measured_scales_the_last_round(checkout: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The dataset lies in data/: one image. 50 images take 50 times its seconds, whatever the GPU's data sheet says."""
    (checkout / ".ouro").mkdir()
    (checkout / ".ouro/last-round.json").write_text(json.dumps({"work": {"describe": 2.0, "merge": 0.5}}))
    assert ouro("estimate", "--like", "data", "--images", "50", "--measured", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    seconds = {s["stage"]: s["seconds"] for s in report["stages"]}
    assert seconds["describe"] == pytest.approx(100) and seconds["merge"] == pytest.approx(25)
    assert seconds["train"] is None and "measured: seconds of the last round" in report["notes"][-1]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["--profile", "paper"], "--images: got none"),
        (["--images", "0"], "Invalid value for '--images'"),
        (["--size", "big"], "expected WIDTHxHEIGHT"),
        (["--size", "0x10"], "assumption width: got 0.0"),
        (["--assume", "regions"], "expected NAME=NUMBER"),
        (["--assume", "regions=many"], "expected NAME=NUMBER"),
        (["--assume", "regoins=4"], "'regoins': not known"),
        (["--gpu", "h1000"], "--gpu h1000: not in the table"),
        (["--mfu-train", "1.5"], "--mfu-train 1.5: expected a share"),
        (["--like", "nowhere"], "nowhere: no such folder"),
        (["--measured"], "no .ouro/last-round.json"),
        (["--set", "model.base=models/llava", "--images", "5"], "model.base models/llava: no config.json"),
    ],
)
def test_bad_input_is_one_error_and_exit_code_2(
    command: list[str], message: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ouro("estimate", *command) == 2
    printed: str = capsys.readouterr().err
    assert message in " ".join(printed.split()) and "Traceback" not in printed


def test_like_and_a_size_contradict_each_other(
    dataset: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ouro("estimate", "--like", "data", "--size", "10x10") == 2
    assert "leave --size and --assume of it out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA H100 PCIe", "h100-pcie"), ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100"), ("NVIDIA L40S", "l40s"), ("NVIDIA L4", "l4"), ("NVIDIA A10", "a10"),
        ("AMD Instinct MI300X", "mi300x"), ("NVIDIA L40", None), ("NVIDIA RTX A1000 Laptop GPU", None),
        ("NVIDIA A10G", None), ("NVIDIA H100 NVL", None), ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
    ],
)  # fmt: skip
def test_a_gpu_is_known_by_its_whole_name(name: str, key: str | None) -> None:
    from ouro.core.rates import GPUS, known_gpu

    assert known_gpu(name) == (GPUS[key] if key else None)
