"""Qwen2-VL-7B's shape on one GPU, at the paper's batch: `uv run python perf/gpu.py [--set train.batch_size=8]`.

Weights are random, so nothing has to be fetched; sizes are those of ouro.vision.architecture, the params of
profiles/paper.yaml (4 images x 8 accumulations a step, LoRA of rank 8 on the language model, bfloat16, checkpointing),
images and texts as long as `ouro estimate` assumes for photographs: the full image with k = 5 regions, a description
and five questions. First the forms of attention are compared on a small model in float32, on
one row and on several: losses, and gradients of the adapter. Then JointTrainer itself trains, each arm in a process of
its own:

    shared/flex      an image once, its branches in a tree mask, through FlexAttention's block mask
    shared/sdpa      the same under a dense mask
    shared/segments  the same, attention image by image
    separate/flex    the images repeated for each branch
    separate/sdpa    the same under a dense mask (over a minute a step, by its FLOPs)

Printed for each: tokens/s, images/s, MFU (FLOPs that the model needs, without repeated forwards, over seconds and the
data sheet's peak), memory, padding; medians over the steps after the first. One more step under torch.profiler says
what stands between MFU and 1: repeated forwards, padding, time without a kernel, time in kernels that are no matrix
product, and how much of the peak matrix products and attention reach while they run. Target: MFU of 45% by the best
shared arm; exit code 1 when it is missed, a form differs or an arm fails, 2 without a GPU. --out keeps what is
measured after each arm. Where /dev/shm is small (containers), --set train.workers=0. `--small` runs all of it on a CPU
with a model of some thousand weights, which shows that the script works and nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ouro.core.params import Params
    from ouro.training.rows import EncodedImage
    from ouro.vision.architecture import Grid

ROOT = Path(__file__).resolve().parent.parent
BASE = "Qwen2-VL-7B-Instruct"
IMAGE, START, END, PAD = 151655, 151652, 151653, 151643  # Qwen2-VL's special tokens
SYSTEM = 15  # tokens before the first picture
ARMS = ("shared/flex", "shared/sdpa", "shared/segments", "separate/flex", "separate/sdpa")
TARGET = 0.45
SAME = 1e-4  # most that losses, and gradients over their largest, may differ in float32
ATTENTION = r"flash|fmha|flex|scaled_dot_product|attention"  # looked for first: their names hold "cutlass", too
MATRICES = r"gemm|cutlass|nvjet|cublas|xmma|aten::(mm|addmm|bmm)$"


class Shape(NamedTuple):
    """A model's config as Qwen2VLConfig takes it, and how large pictures and texts are beside the 7B's (1)."""

    vision: dict[str, Any]
    text: dict[str, Any]
    scale: float


def shape_of(small: bool) -> Shape:
    from ouro.vision.architecture import ARCHITECTURES

    config = dict(ARCHITECTURES[BASE])
    vision = config.pop("vision_config")
    config.pop("model_type")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    if not small:
        return Shape(vision, {**config, "rope_parameters": rope}, 1.0)
    vision = {**vision, "depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2}
    text = {**config, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    text |= {"intermediate_size": 96, "rope_parameters": {**rope, "mrope_section": [2, 3, 3]}}
    return Shape(vision, text, 0.15)


def random_model(shape: Shape, dtype: str, device: str) -> Any:
    """Qwen2-VL of that shape with random weights, made where it trains."""
    import torch
    from transformers import AutoModelForImageTextToText, Qwen2VLConfig

    ids = {"vocab_size": 152064, "bos_token_id": PAD, "eos_token_id": PAD + 2, "pad_token_id": PAD}
    config = Qwen2VLConfig(
        vision_config=shape.vision, text_config={**ids, **shape.text}, image_token_id=IMAGE, video_token_id=IMAGE + 1,
        vision_start_token_id=START, vision_end_token_id=END, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, dtype), attn_implementation="sdpa")


class Photographs:
    """`n` images as training rows: random pixels and token ids, of the sizes that an estimate assumes."""

    def __init__(self, n: int, params: Params, config: dict[str, Any], scale: float) -> None:
        from ouro.costs.assumptions import Assumptions
        from ouro.vision.architecture import MAX_TOKENS, MIN_TOKENS, PixelBounds, read_architecture

        vision = read_architecture(config).vision
        unit = (vision.patch * vision.merge) ** 2
        self.n, self.params, self.scale, self.assumptions = n, params, scale, Assumptions()
        self.sight = PixelBounds(vision, MIN_TOKENS * unit, MAX_TOKENS * unit)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> EncodedImage:
        import torch

        from ouro.training.rows import EncodedImage
        from ouro.vision.flops import visual_tokens

        rng = np.random.default_rng([0, index])
        grids = self._grids(rng)
        prefix = self._words(rng, SYSTEM)
        for grid in grids:
            prefix += [START, *[IMAGE] * visual_tokens(self.sight.vision, grid), END]
        patches = sum(t * h * w for t, h, w in grids)
        values = rng.standard_normal((patches, self.sight.vision.values), dtype=np.float32)
        pixels = {"pixel_values": torch.from_numpy(values), "image_grid_thw": torch.tensor(grids)}
        return EncodedImage(self._rows(rng, prefix, grids), pixels, str(index))

    def _grids(self, rng: np.random.Generator) -> list[Grid]:
        """Of the image, between 0.7 and 1.3 of the assumed sides, and of k regions."""
        assumptions, train = self.assumptions, self.params.train
        scale = self.scale * rng.uniform(0.7, 1.3)
        width, height = assumptions.width * scale, assumptions.height * scale
        areas = np.array([assumptions.area1, assumptions.area2, assumptions.area3])
        often = np.array([assumptions.regions1, assumptions.regions2, assumptions.regions3]) / assumptions.regions
        grids = [self.sight.grid(width, height, train.max_pixels)]
        for area in rng.choice(areas, train.k, p=often):
            factor = math.sqrt(area)
            grids.append(
                self.sight.grid(max(28.0, width * factor), max(28.0, height * factor), train.region_max_pixels)
            )
        return grids

    def _rows(self, rng: np.random.Generator, prefix: list[int], grids: list[Grid]) -> tuple[Any, ...]:
        from ouro.training.packing import PackedBranch, pack_row, separate_rows

        assumptions, ends = self.assumptions, 4
        lengths = [(ends + 6, max(4, round(assumptions.merged * self.scale * rng.uniform(0.6, 1.4))))]
        lengths += [(ends + round(assumptions.question), round(assumptions.answer))] * self.params.train.questions
        branches = [
            PackedBranch(self._words(rng, prompt_length), self._words(rng, learnt), [1.0] * learnt, min(task, 1))
            for task, (prompt_length, learnt) in enumerate(lengths)
        ]
        row_options = {"image_token": IMAGE, "merge": self.sight.vision.merge}
        if self.params.train.packing == "separate":
            return tuple(separate_rows(prefix, grids, branches, **row_options))
        return (pack_row(prefix, grids, branches, **row_options),)

    @staticmethod
    def _words(rng: np.random.Generator, n: int) -> list[int]:
        return [int(i) for i in rng.integers(1000, 100_000, n)]


def the_params(args: argparse.Namespace, arm: str) -> Params:
    from ouro.core.params import load_params

    packing, attention = arm.split("/")
    knobs: dict[str, Any] = {"packing": packing, "attention": attention, "processes": 1}
    if args.small:
        knobs |= {"max_pixels": 12544, "region_max_pixels": 3136, "batch_size": 2, "accumulation": 2, "workers": 0}
    overrides = tuple(f"train.{name}={json.dumps(value)}" for name, value in knobs.items())
    return load_params(ROOT / "profiles" / "paper.yaml", (*overrides, *args.set))


def trainable(model: Any, params: Params) -> Any:
    """The model as ouro.training.lora prepares it."""
    from peft import LoraConfig, get_peft_model

    from ouro.training.attention import use_attention
    from ouro.training.lora import target_modules

    use_attention(model, params.train.attention)
    targets = target_modules(model, params.train)
    lora = LoraConfig(r=params.train.rank, lora_alpha=params.train.alpha, target_modules=targets)
    return get_peft_model(model, lora)


def equality(device: str, forms: Sequence[str]) -> dict[str, float | str]:
    """Largest relative difference of loss and adapter gradients to sdpa's, by form, or the error that it ended with:
    float32, the small shape, three images in one row and five in several."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    model = random_model(shape_of(small=True), "float32", device)
    batches = [(3, 16384), (5, 700)]
    reference = [_learnt(model, "sdpa", device, *batch) for batch in batches]
    differences: dict[str, float | str] = {}
    for form in forms:
        try:
            pairs = [(_learnt(model, form, device, *b), r) for b, r in zip(batches, reference, strict=True)]
        except Exception as error:  # whatever a compiler says: the other forms are measured all the same
            differences[form] = f"{type(error).__name__}: {str(error)[:300]}"
            continue
        differences[form] = max(_apart(one, other) for one, other in pairs)
    return differences


class Learnt(NamedTuple):
    """A loss and the gradients of the adapter (none where the form has no backward here)."""

    loss: float
    grads: dict[str, Any]


def _learnt(model: Any, form: str, device: str, images: int, row_tokens: int) -> Learnt:
    import copy

    import torch

    from ouro.training.losses import joint_loss
    from ouro.training.trainer import Collator, MicroBatch

    args = argparse.Namespace(small=True, set=["train.gradient_checkpointing=false"])
    params = the_params(args, f"shared/{form}")
    data = Photographs(images, params, model.config.to_dict(), shape_of(small=True).scale)
    torch.manual_seed(1)
    learner = trainable(copy.deepcopy(model), params)
    for name, weight in learner.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    batch = Collator(PAD, row_tokens)([data[i] for i in range(images)])
    micro = MicroBatch({k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()})
    backward = form != "flex" or device == "cuda"  # FlexAttention has none on a CPU
    with torch.set_grad_enabled(backward):
        loss = joint_loss(learner, micro.batch, micro.pixels).total
    if backward:
        loss.backward()
    return Learnt(float(loss.detach()), {n: p.grad for n, p in learner.named_parameters() if p.grad is not None})


def _apart(one: Learnt, other: Learnt) -> float:
    """NaN counts as any distance."""
    apart = [abs(one.loss / other.loss - 1)]
    for name, grad in one.grads.items():
        theirs = other.grads[name]
        apart.append(float((grad - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12)))
    return max(float("inf") if value != value else value for value in apart)


@contextmanager
def profiled(device: str) -> Generator[Any]:
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=kinds) as profiler:
        yield profiler


def by_kind(profiler: Any, device: str) -> dict[str, float]:
    """Seconds in matrix products, attention and the rest: of kernels on a GPU, of operators on a CPU."""
    sums = {"matrices": 0.0, "attention": 0.0, "other": 0.0}
    for event in profiler.events():
        on_gpu = event.device_type.name == "CUDA"
        if on_gpu != (device == "cuda") or event.is_user_annotation:  # those span the kernels within
            continue
        name = event.name.lower()
        kind = "attention" if re.search(ATTENTION, name) else "matrices" if re.search(MATRICES, name) else "other"
        sums[kind] += (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6
    return sums


def run_arm(args: argparse.Namespace, arm: str) -> dict[str, Any]:
    """Train one arm here; what its steps reached, and what the profiled one spent its time on."""
    import torch
    from transformers import PrinterCallback, TrainerCallback
    from transformers.trainer_utils import SaveStrategy

    from ouro.training.trainer import Collator, JointTrainer, ReportCallback, training_arguments

    device = "cuda" if torch.cuda.is_available() else "cpu"
    params, shape = the_params(args, arm), shape_of(args.small)
    t = params.train
    images = t.batch_size * t.accumulation
    model = random_model(shape, "bfloat16" if device == "cuda" else "float32", device)
    config = model.config.to_dict()
    logs: list[dict[str, float]] = []
    spent: dict[str, float] = {}
    ends: list[float] = []

    class Profile(TrainerCallback):
        """Of the last step."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == state.max_steps - 1:
                self.profile = profiled(device)
                self.profiler, self.start = self.profile.__enter__(), time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            ends.append(time.perf_counter())
            if state.global_step == state.max_steps:
                if device == "cuda":
                    torch.cuda.synchronize()
                spent["seconds"] = time.perf_counter() - self.start
                self.profile.__exit__(None, None, None)
                spent.update(by_kind(self.profiler, device))

    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(t, Path(folder), 0)
        arguments.logging_steps, arguments.save_strategy = 1, SaveStrategy.NO
        data: Any = Photographs((args.steps + 1) * images, params, config, shape.scale)
        trainer = JointTrainer(
            params=t, pad=PAD, model=trainable(model, params), args=arguments, train_dataset=data,
            data_collator=Collator(PAD, t.row_tokens),
            callbacks=[ReportCallback(lambda step, of, values: logs.append(values)), Profile()],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    steps = [log for log in logs if "mfu" in log][1:-1]  # not the first, which compiles, and not the profiled one
    names = ("tokens_per_second", "mfu", "memory_gb", "padding", "saved_by_sharing", "loss")
    reached = {name: statistics.median(step[name] for step in steps) for name in names}
    before = [log["tokens"] for log in logs if "mfu" in log]
    tokens = (before[-1] - before[0]) / (len(before) - 1)
    reached |= {"images_per_second": reached["tokens_per_second"] / tokens * images, "tokens_a_step": tokens}
    reached["seconds_a_step"] = statistics.median(np.diff(ends)[:-1])  # waiting for data included
    last = range(args.steps * images, (args.steps + 1) * images)
    return {**reached, "peak": trainer.meter.peak, "between": between(spent, data, last, t, trainer.meter)}


def between(spent: dict[str, float], data: Any, indices: range, t: Any, meter: Any) -> dict[str, float]:
    """What stands between MFU and 1, in shares of the profiled step, which saw the images at `indices`."""
    from ouro.vision.flops import step_flops

    done = needed = 0.0
    for index in indices:
        example = data[index]
        grids = [tuple(g) for g in example.pixels["image_grid_thw"].tolist()] * len(example.rows)
        tokens, attended = sum(row.ids.numel() for row in example.rows), sum(row.attended() for row in example.rows)
        supervised = sum(int((row.weights > 0).sum()) for row in example.rows)
        done += step_flops(meter.config, grids, tokens, attended, supervised, t)
        needed += step_flops(meter.config, grids, tokens, attended, supervised, t, recompute=False)
    seconds, working = spent["seconds"], spent["matrices"] + spent["attention"]
    return {
        "FLOPs repeated by checkpointing, over those needed": done / needed - 1,
        "profiled step, seconds": seconds,
        "its MFU": needed / (seconds * meter.peak),
        "without a kernel": max(0.0, 1 - (working + spent["other"]) / seconds),
        "in matrix products": spent["matrices"] / seconds,
        "in attention": spent["attention"] / seconds,
        "in other kernels": spent["other"] / seconds,
        "of the peak, while in matrix products or attention": done / (max(working, 1e-9) * meter.peak),
    }


def main() -> int:
    """Compare, measure all arms, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4, help="of each arm, two or more, and one more that is profiled")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="over profiles/paper.yaml")
    parser.add_argument("--small", action="store_true", help="a model of some thousand weights, on a CPU, too")
    parser.add_argument("--arm", choices=ARMS, action="append", help="this one only; may be repeated")
    parser.add_argument("--out", type=Path, help="write what is measured there, after each arm")
    parser.add_argument("--here", choices=("arm", "equality"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.steps < 2:
        parser.error(f"--steps {args.steps}: expected two or more; the first compiles and is not counted")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # Trainer would take all there are
    import torch

    on_gpu = torch.cuda.is_available()
    if not on_gpu and not args.small:
        print("no GPU that PyTorch sees: nothing was measured. --small tries the script on a CPU", file=sys.stderr)
        return 2
    arms = args.arm or [arm for arm in ARMS if on_gpu or not arm.endswith("flex")]
    if args.here:
        device = "cuda" if on_gpu else "cpu"
        print(json.dumps(run_arm(args, arms[0]) if args.here == "arm" else equality(device, ("segments", "flex"))))
        return 0
    return measured(args, arms, on_gpu)


def measured(args: argparse.Namespace, arms: Sequence[str], on_gpu: bool) -> int:
    """Each in a process of its own, so that one that fails takes no other with it."""
    import torch
    import transformers

    options = [word for text in args.set for word in ("--set", text)] + ["--small"] * args.small
    device = torch.cuda.get_device_name() if on_gpu else "a CPU"
    report: dict[str, Any] = {"device": device, "torch": torch.__version__, "transformers": transformers.__version__}
    apart = report["differences to sdpa"] = _of_own_process(["--here", "equality", *options])
    by_arm = report["arms"] = dict[str, Any]()
    for arm in arms:
        by_arm[arm] = _of_own_process(["--here", "arm", "--arm", arm, f"--steps={args.steps}", *options])
        print(arm, by_arm[arm], file=sys.stderr, flush=True)
        if args.out:
            args.out.write_text(json.dumps(report, indent=1) + "\n")
    ran = {arm: one for arm, one in by_arm.items() if isinstance(one, dict)}
    same = isinstance(apart, dict) and all(isinstance(v, float) and v <= SAME for v in apart.values())
    met = {f"forms equal within {SAME}": same, "every arm ran": len(ran) == len(by_arm)}
    if on_gpu and not args.small:
        best = max((one["mfu"] for arm, one in ran.items() if arm.startswith("shared")), default=0.0)
        met[f"MFU of {TARGET:.0%}"] = best >= TARGET
    report["targets met"] = met
    print(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(met.values()) else 1


def _of_own_process(words: Sequence[str]) -> Any:
    """What this script prints as its last line with these arguments, or how it ended."""
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return f"exit code {done.returncode}; its error stands above"
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
