"""Estimates what a round will cost, stage by stage: calls, tokens, FLOPs, seconds of one GPU and of CPU cores.

Seconds come from a GPU's data sheet and the utilisation reached (ouro.core.rates), or from the last run of a stage:
seconds per FLOP, or per image where no FLOPs are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ouro.core.params import Params
from ouro.core.rates import Rates
from ouro.costs.assumptions import Assumptions
from ouro.costs.workload import Calls, PictureGrids, TrainingRows, Workload, estimate_workload
from ouro.vision.architecture import Architecture, Grid, PixelBounds
from ouro.vision.flops import (
    count_language_weights,
    count_weights,
    decode_flops,
    kv_bytes,
    prefill_flops,
    step_flops,
    vision_flops,
    visual_tokens,
)

STAGES = ("propose", "describe", "merge", "synthesize", "train", "benchmark")
FLOP_STAGES = ("describe", "synthesize", "train", "benchmark")  # their seconds are proportional to their FLOPs
BYTES = 2  # of a number in bf16


class StageCost(NamedTuple):
    """The cost of a stage. `calls` of the VLM (train: rows; propose: pictures for the proposal network); tokens read,
    visual ones included, and written (train: supervised); seconds of one GPU, None where they were not measured."""

    stage: str
    calls: float = 0.0
    read: float = 0.0
    written: float = 0.0
    flops: float = 0.0
    seconds: float | None = 0.0
    cpu_seconds: float = 0.0
    formula: str = ""


class CostEstimate(NamedTuple):
    """The cost of all stages for `images` images. `packings`: FLOPs of training by packing."""

    images: float
    stages: tuple[StageCost, ...]
    packings: dict[str, float]

    def seconds(self) -> float:
        """GPU-seconds of all stages whose seconds are known."""
        return sum(s.seconds or 0.0 for s in self.stages)

    def to_json(self) -> dict[str, Any]:
        """The estimate as plain values for JSON."""
        total = {"gpu_hours": self.seconds() / 3600, "cpu_hours": sum(s.cpu_seconds for s in self.stages) / 3600}
        rows = [s._asdict() for s in self.stages]
        return {"images": self.images, "stages": rows, "total": total, "training_flops_by_packing": self.packings}


class EstimateInputs(NamedTuple):
    """Everything that an estimate depends on. `tokens_of` counts the tokens of a text."""

    params: Params
    arch: Architecture
    sight: PixelBounds
    values: Assumptions
    seen: PictureGrids
    tokens_of: Callable[[str], float]


def estimate_costs(
    inputs: EstimateInputs, images: float, rates: Rates, measured: Mapping[str, float] | None = None
) -> CostEstimate:
    """The cost of a round on `images` images. `measured`: seconds per unit of work by stage (see `unit_seconds`)."""
    work = estimate_workload(inputs.params, inputs.sight, images, inputs.values, inputs.seen, inputs.tokens_of)
    stages = (
        _estimate_propose(inputs, work, rates),
        _estimate_calls("describe", inputs, work.describe, rates),
        StageCost("merge", cpu_seconds=images * inputs.values.merge_seconds, formula="images x merge_seconds, on CPUs"),
        _estimate_synthesize(inputs, work, rates),
        _estimate_train(inputs, work.rows[inputs.params.train.packing], rates),
        _estimate_calls("benchmark", inputs, work.benchmark, rates),
    )
    if measured is not None:
        stages = tuple(_apply_measured(s, images, measured) for s in stages)
    packings = {name: _count_row_flops(inputs, rows) * rows.n for name, rows in work.rows.items()}
    return CostEstimate(images, stages, packings)


def unit_seconds(past_estimate: CostEstimate, seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds per unit of work, from an estimate of a past run and the seconds that each of its stages took."""
    units = {s.stage: _count_units(s, past_estimate.images) for s in past_estimate.stages}
    return {name: elapsed / units[name] for name, elapsed in seconds.items() if units.get(name)}


def _count_units(stage: StageCost, images: float) -> float:
    """Units of a stage's work: FLOPs if a VLM does it, else images."""
    return stage.flops if stage.stage in FLOP_STAGES and stage.flops else images


def _apply_measured(stage: StageCost, images: float, measured: Mapping[str, float]) -> StageCost:
    seconds_per_unit = measured.get(stage.stage)
    seconds = None if seconds_per_unit is None else seconds_per_unit * _count_units(stage, images)
    unit = "FLOPs" if stage.stage in FLOP_STAGES and stage.flops else "images"
    formula = (
        f"{unit} x {seconds_per_unit:.3g} s, as in the last run"
        if seconds_per_unit is not None
        else "was not run: nothing measured"
    )
    return stage._replace(seconds=seconds, cpu_seconds=0.0, formula=formula)


def _estimate_propose(inputs: EstimateInputs, work: Workload, rates: Rates) -> StageCost:
    flops = work.detections * inputs.values.detector * 1e9
    reads = work.images * inputs.values.ocr_reads if "ocr" in inputs.params.propose.proposers else 0.0
    return StageCost(
        "propose", work.detections, flops=flops, seconds=flops / (rates.gpu.peak * rates.mfu_detector),
        cpu_seconds=reads * inputs.values.ocr_seconds,
        formula=f"pictures x {inputs.values.detector:g} GFLOPs / (peak x {rates.mfu_detector:g}); OCR on CPUs: "
        f"images x {inputs.values.ocr_reads:g} x {inputs.values.ocr_seconds:g} core-seconds",
    )  # fmt: skip


def _estimate_synthesize(inputs: EstimateInputs, work: Workload, rates: Rates) -> StageCost:
    if not work.synthesize:
        return StageCost("synthesize", formula="a template writes: no model is asked")
    return _estimate_calls("synthesize", inputs, work.synthesize, rates)


class _Generation(NamedTuple):
    """FLOPs and seconds of calls: the pictures and the prompt, then the reply."""

    prefill: float
    decode: float
    prefill_seconds: float
    decode_seconds: float
    steps: float
    bound: str


def _estimate_calls(name: str, inputs: EstimateInputs, calls: Sequence[Calls], rates: Rates) -> StageCost:
    generations = [_estimate_generation(inputs, c, rates) for c in calls]
    vision = inputs.arch.vision
    prefill, decode = (sum(getattr(g, part) for g in generations) for part in ("prefill_seconds", "decode_seconds"))
    steps = sum(g.steps for g in generations)
    return StageCost(
        name, sum(c.n for c in calls), sum(c.n * c.prompt(vision) for c in calls), sum(c.n * c.reply for c in calls),
        sum(g.prefill + g.decode for g in generations), prefill + decode,
        formula=f"prefill {_format_hours(prefill)}: FLOPs / (peak x {rates.mfu_prefill:g}); "
        f"decode {_format_hours(decode)}: "
        f"{steps:.3g} steps x {1e3 * decode / max(steps, 1e-9):.3g} ms, bound by {_find_bound(generations)}",
    )  # fmt: skip


def _format_hours(seconds: float) -> str:
    return f"{seconds / 3600:,.3g} h"


def _find_bound(generations: Iterable[_Generation]) -> str:
    """The bound of the calls whose decoding takes longest."""
    return max(generations, key=lambda g: g.decode_seconds, default=_Generation(0, 0, 0, 0, 0, "nothing")).bound


def _estimate_generation(inputs: EstimateInputs, calls: Calls, rates: Rates) -> _Generation:
    """A decode step of a batch takes the longest of: reading its bytes from memory (all weights, and the keys and
    values of its texts), computing its FLOPs, and launching its layers' kernels."""
    arch, n, prompt, reply = inputs.arch, calls.n, calls.prompt(inputs.arch.vision), calls.reply
    encoding = calls.encoded * sum(share * vision_flops(arch, grid) for grid, share in calls.grids.items())
    prefill = n * (encoding + prefill_flops(arch, prompt))
    decode = n * decode_flops(arch, prompt, reply)
    batch = max(1.0, min(float(calls.batch), n))
    steps = n / batch * max(0.0, reply - 1) * inputs.values.tail
    bytes_read = BYTES * count_language_weights(arch.text) + batch * kv_bytes(arch.text, prompt + reply / 2, BYTES)
    step_seconds = {
        "memory": bytes_read / (rates.gpu.bandwidth * rates.bandwidth_share),
        "FLOPs": batch * decode_flops(arch, prompt + reply / 2, 2) / (rates.gpu.peak * rates.mfu_prefill),
        "launches": rates.launch * arch.text.layers,
    }
    bound = max(step_seconds, key=lambda name: step_seconds[name])
    return _Generation(
        prefill, decode, prefill / (rates.gpu.peak * rates.mfu_prefill), steps * step_seconds[bound], steps, bound
    )


def _count_row_flops(inputs: EstimateInputs, rows: TrainingRows) -> float:
    """FLOPs of one training row: forward, backward and the forward that checkpointing repeats."""
    train = inputs.params.train

    def picture_flops(grid: Grid) -> float:
        return step_flops(inputs.arch, [grid], 0, 0, 0, train)

    first_grid = [min(rows.grids)]  # whether there are pictures decides how far the text's backward goes
    text_flops = step_flops(
        inputs.arch, first_grid, rows.tokens, rows.attended, rows.supervised, train
    ) - picture_flops(first_grid[0])
    return text_flops + sum(n * picture_flops(grid) for grid, n in rows.grids.items())


def _estimate_train(inputs: EstimateInputs, rows: TrainingRows, rates: Rates) -> StageCost:
    flops = _count_row_flops(inputs, rows)
    unrepeated = _count_row_flops(inputs._replace(params=_without_checkpointing(inputs.params)), rows)
    return StageCost(
        "train", rows.n, rows.n * rows.tokens, rows.n * rows.supervised, rows.n * flops,
        rows.n * flops / (rates.gpu.peak * rates.mfu_train),
        formula=f"rows x {flops:.3g} FLOPs / (peak x {rates.mfu_train:g}); {1 - unrepeated / flops:.0%} of it is "
        f"repeated by checkpointing, so MFU {rates.mfu_train * unrepeated / flops:.2g}; "
        f"{rows.tokens:,.0f} tokens a row",
    )  # fmt: skip


def _without_checkpointing(params: Params) -> Params:
    return params.model_copy(update={"train": params.train.model_copy(update={"gradient_checkpointing": False})})


def describe_memory(inputs: EstimateInputs, rates: Rates) -> str:
    """One line on the annotator's memory: its weights and a batch's keys and values against the GPU's memory."""
    d = inputs.params.describe
    vision = inputs.arch.vision
    largest_picture = max((visual_tokens(vision, g) for g in inputs.seen.image), default=0)
    cache_bytes = d.batch_size * kv_bytes(
        inputs.arch.text, largest_picture + inputs.values.template + d.max_new_tokens, BYTES
    )
    weight_bytes = count_weights(inputs.arch) * BYTES
    verdict = "fits" if weight_bytes + cache_bytes < 0.9 * rates.gpu.memory else "DOES NOT FIT"
    return (
        f"annotator: {weight_bytes / 1e9:.3g} GB of weights, {cache_bytes / 1e9:.3g} GB of keys and values in a batch "
        f"of {d.batch_size}: {verdict} in {rates.gpu.memory / 1e9:.0f} GB"
    )
