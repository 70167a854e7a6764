"""What a round costs, stage by stage, before it is run: calls, tokens, FLOPs, seconds of one GPU and of CPU cores.

Seconds come from a GPU's data sheet and the share of it that is reached (ouro.core.rates), or from what a stage took
when it was last run: seconds a FLOP, or an image where no FLOPs are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ouro.core.params import Params
from ouro.core.rates import Rates
from ouro.costs.assumptions import Assumptions
from ouro.costs.workload import Calls, Pictures, Rows, Workload, workload
from ouro.vision.architecture import Architecture, Grid, Sight
from ouro.vision.flops import (
    decode_flops,
    kv_bytes,
    language_weights,
    prefill_flops,
    step_flops,
    vision_flops,
    visual_tokens,
    weights,
)

STAGES = ("propose", "describe", "merge", "synthesize", "train", "benchmark")
COUNTED = ("describe", "synthesize", "train", "benchmark")  # their seconds go with their FLOPs
BYTES = 2  # of a number in bf16


class Stage(NamedTuple):
    """The cost of a stage. `calls` of the VLM (train: rows; propose: pictures for the proposal network); tokens read,
    visual ones included, and written (train: learnt); seconds of one GPU, None where they were not measured."""

    stage: str
    calls: float = 0.0
    read: float = 0.0
    written: float = 0.0
    flops: float = 0.0
    seconds: float | None = 0.0
    cpu_seconds: float = 0.0
    formula: str = ""


class Estimate(NamedTuple):
    """All stages; `packings`: FLOPs of training by packing; `images` they are for."""

    images: float
    stages: tuple[Stage, ...]
    packings: dict[str, float]

    def seconds(self) -> float:
        """GPU-seconds of all stages whose seconds are known."""
        return sum(s.seconds or 0.0 for s in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        total = {"gpu_hours": self.seconds() / 3600, "cpu_hours": sum(s.cpu_seconds for s in self.stages) / 3600}
        rows = [s._asdict() for s in self.stages]
        return {"images": self.images, "stages": rows, "total": total, "training_flops_by_packing": self.packings}


class Inputs(NamedTuple):
    """What decides the work. `tokens_of` says how many tokens a text has."""

    params: Params
    arch: Architecture
    sight: Sight
    values: Assumptions
    seen: Pictures
    tokens_of: Callable[[str], float]


def estimate(given: Inputs, images: float, rates: Rates, measured: Mapping[str, float] | None = None) -> Estimate:
    """The cost of a round on `images` images. `measured`: seconds a unit of work by stage (see `unit_seconds`)."""
    work = workload(given.params, given.sight, images, given.values, given.seen, given.tokens_of)
    stages = (
        _propose(given, work, rates),
        _asked("describe", given, work.describe, rates),
        Stage("merge", cpu_seconds=images * given.values.merge_seconds, formula="images x merge_seconds, on CPUs"),
        _synthesize(given, work, rates),
        _train(given, work.rows[given.params.train.packing], rates),
        _asked("benchmark", given, work.benchmark, rates),
    )
    if measured is not None:
        stages = tuple(_as_measured(s, images, measured) for s in stages)
    packings = {name: _row_flops(given, rows) * rows.n for name, rows in work.rows.items()}
    return Estimate(images, stages, packings)


def unit_seconds(made: Estimate, seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds a unit of work, from an estimate of the work that was done and what each stage took."""
    units = {s.stage: _units(s, made.images) for s in made.stages}
    return {name: took / units[name] for name, took in seconds.items() if units.get(name)}


def _units(stage: Stage, images: float) -> float:
    """A stage's work: its FLOPs if a VLM does it, else its images."""
    return stage.flops if stage.stage in COUNTED and stage.flops else images


def _as_measured(stage: Stage, images: float, measured: Mapping[str, float]) -> Stage:
    each = measured.get(stage.stage)
    seconds = None if each is None else each * _units(stage, images)
    unit = "FLOPs" if stage.stage in COUNTED and stage.flops else "images"
    formula = f"{unit} x {each:.3g} s, as in the last run" if each is not None else "was not run: nothing measured"
    return stage._replace(seconds=seconds, cpu_seconds=0.0, formula=formula)


def _propose(given: Inputs, work: Workload, rates: Rates) -> Stage:
    flops = work.detections * given.values.detector * 1e9
    reads = work.images * given.values.ocr_reads if "ocr" in given.params.propose.proposers else 0.0
    return Stage(
        "propose", work.detections, flops=flops, seconds=flops / (rates.gpu.peak * rates.mfu_detector),
        cpu_seconds=reads * given.values.ocr_seconds,
        formula=f"pictures x {given.values.detector:g} GFLOPs / (peak x {rates.mfu_detector:g}); OCR on CPUs: "
        f"images x {given.values.ocr_reads:g} x {given.values.ocr_seconds:g} core-seconds",
    )  # fmt: skip


def _synthesize(given: Inputs, work: Workload, rates: Rates) -> Stage:
    if not work.synthesize:
        return Stage("synthesize", formula="a template writes: no model is asked")
    return _asked("synthesize", given, work.synthesize, rates)


class _Generation(NamedTuple):
    """FLOPs and seconds of calls: the pictures and the prompt, then the reply."""

    prefill: float
    decode: float
    prefill_seconds: float
    decode_seconds: float
    steps: float
    bound: str


def _asked(name: str, given: Inputs, calls: Sequence[Calls], rates: Rates) -> Stage:
    made = [_generation(given, c, rates) for c in calls]
    vision = given.arch.vision
    prefill, decode = (sum(getattr(m, part) for m in made) for part in ("prefill_seconds", "decode_seconds"))
    steps = sum(m.steps for m in made)
    return Stage(
        name, sum(c.n for c in calls), sum(c.n * c.prompt(vision) for c in calls), sum(c.n * c.reply for c in calls),
        sum(m.prefill + m.decode for m in made), prefill + decode,
        formula=f"prefill {_hours(prefill)}: FLOPs / (peak x {rates.mfu_prefill:g}); decode {_hours(decode)}: "
        f"{steps:.3g} steps x {1e3 * decode / max(steps, 1e-9):.3g} ms, bound by {_most(made)}",
    )  # fmt: skip


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.3g} h"


def _most(made: Iterable[_Generation]) -> str:
    """What bounds most of the decoding."""
    return max(made, key=lambda m: m.decode_seconds, default=_Generation(0, 0, 0, 0, 0, "nothing")).bound


def _generation(given: Inputs, calls: Calls, rates: Rates) -> _Generation:
    """A step of a batch takes the longest of: its bytes (all weights, and the keys and values of its texts) through
    the memory, its FLOPs through the GPU, and the launching of its layers."""
    arch, n, prompt, reply = given.arch, calls.n, calls.prompt(given.arch.vision), calls.reply
    looking = calls.encoded * sum(share * vision_flops(arch, grid) for grid, share in calls.shown.items())
    prefill = n * (looking + prefill_flops(arch, prompt))
    decode = n * decode_flops(arch, prompt, reply)
    batch = max(1.0, min(float(calls.batch), n))
    steps = n / batch * max(0.0, reply - 1) * given.values.tail
    moved = BYTES * language_weights(arch.text) + batch * kv_bytes(arch.text, prompt + reply / 2, BYTES)
    each = {
        "memory": moved / (rates.gpu.bandwidth * rates.bandwidth_share),
        "FLOPs": batch * decode_flops(arch, prompt + reply / 2, 2) / (rates.gpu.peak * rates.mfu_prefill),
        "launches": rates.launch * arch.text.layers,
    }
    bound = max(each, key=lambda name: each[name])
    return _Generation(
        prefill, decode, prefill / (rates.gpu.peak * rates.mfu_prefill), steps * each[bound], steps, bound
    )


def _row_flops(given: Inputs, rows: Rows) -> float:
    """FLOPs of one training row, forward, backward and what checkpointing repeats."""
    train = given.params.train

    def looking(grid: Grid) -> float:
        return step_flops(given.arch, [grid], 0, 0, 0, train)

    some = [min(rows.shown)]  # that there are pictures decides what the backward of the text reaches
    reading = step_flops(given.arch, some, rows.tokens, rows.attended, rows.supervised, train) - looking(some[0])
    return reading + sum(n * looking(grid) for grid, n in rows.shown.items())


def _train(given: Inputs, rows: Rows, rates: Rates) -> Stage:
    flops = _row_flops(given, rows)
    once = _row_flops(given._replace(params=_without_checkpointing(given.params)), rows)
    return Stage(
        "train", rows.n, rows.n * rows.tokens, rows.n * rows.supervised, rows.n * flops,
        rows.n * flops / (rates.gpu.peak * rates.mfu_train),
        formula=f"rows x {flops:.3g} FLOPs / (peak x {rates.mfu_train:g}); {1 - once / flops:.0%} of it is repeated by "
        f"checkpointing, so MFU {rates.mfu_train * once / flops:.2g}; {rows.tokens:,.0f} tokens a row",
    )  # fmt: skip


def _without_checkpointing(params: Params) -> Params:
    return params.model_copy(update={"train": params.train.model_copy(update={"gradient_checkpointing": False})})


def fits(given: Inputs, rates: Rates) -> str:
    """The annotator's memory, as far as weights and a batch's keys and values go."""
    d = given.params.describe
    vision = given.arch.vision
    largest = max((visual_tokens(vision, g) for g in given.seen.image), default=0)
    texts = d.batch_size * kv_bytes(given.arch.text, largest + given.values.template + d.max_new_tokens, BYTES)
    held = weights(given.arch) * BYTES
    verdict = "fits" if held + texts < 0.9 * rates.gpu.memory else "DOES NOT FIT"
    return (
        f"annotator: {held / 1e9:.3g} GB of weights, {texts / 1e9:.3g} GB of keys and values in a batch of "
        f"{d.batch_size}: {verdict} in {rates.gpu.memory / 1e9:.0f} GB"
    )
