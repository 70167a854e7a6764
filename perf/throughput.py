"""How fast annotation is, as ratios measured in one run: `uv run python perf/throughput.py [--scenes 200]`.

(a) Waves against Algorithm 1 run literally (ouro.annotate.reference): one region a call, one call of each model. The
    describing alone, and the whole: proposing, describing, merging. Target: describing 6 times faster.
(b) HFVisionLM against a bare loop of `model.generate` over the same crops, sorted perfectly: by visual tokens and, as
    only hindsight can, by the length of the reply; batches within the same bounds. With the processor's call in the
    loop, and with inputs prepared beforehand. Target: 85% of the loop's crops/s.

All use one loaded model (with ouro.vision.fast's vision tower) in one process, and take turns: in each round the waves
and the bare loops describe all scenes, the literal recursion, which is slow, its share of them, so that after the last
round it has described every scene once. Beside them runs the stage's own way on CPUs, a pool of model.processes (wall
clock only). Rates are in crops/s, of wall clock and of processor time; a busy machine disturbs the latter less.
Printed: medians over the rounds, the ratio of each round as median, lowest and highest, and how many descriptions
differ from those of the waves. In float32 none may; in bfloat16 batches of another make-up round otherwise, and a few
do. Exit code 1 when a target (of wall clock, all with the same threads) is missed, or in float32 a description
differs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image as PILImage

from ouro.annotate.describe import describe_shard
from ouro.annotate.merge import merge_shard
from ouro.annotate.recurse import propose_shard
from ouro.annotate.reference import recursive_annotate
from ouro.core.params import Params, load_params
from ouro.core.records import Description, Image
from ouro.nano.merging import merge_nano
from ouro.nano.scenes import draw_scene, render
from ouro.vision.encoding import views
from ouro.vision.hf import HFVisionLM
from ouro.vision.pool import PooledVLM
from ouro.vision.protocols import OnReplies, Request, plan_batches
from ouro.vision.rpn import RPNProposer

WAVES_TARGET, BARE_TARGET = 6.0, 0.85
POOL = "pool"  # its workers' processor time is not seen from here


class Took(NamedTuple):
    """Seconds on the clock and of the processor, for `crops` of them."""

    wall: float
    cpu: float
    crops: int

    def rates(self) -> tuple[float, float]:
        return self.crops / self.wall, self.crops / self.cpu


Rounds = dict[str, list[Took]]


class Clocked:
    """A VisionLM that adds up what its `generate` takes, and keeps what it was asked."""

    def __init__(self, vlm: HFVisionLM) -> None:
        self.vlm, self.fingerprint = vlm, vlm.fingerprint
        self.asked: list[Request] = []
        self.wall = self.cpu = 0.0

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        progress: Callable[[int], None] | None = None,
        on_replies: OnReplies | None = None,
    ) -> list[str]:
        start = time.perf_counter(), time.process_time()
        replies = self.vlm.generate(requests, max_new_tokens=max_new_tokens, progress=progress, on_replies=on_replies)
        self.wall += time.perf_counter() - start[0]
        self.cpu += time.process_time() - start[1]
        self.asked += requests
        return replies

    def took(self) -> Took:
        return Took(self.wall, self.cpu, len(self.asked))


@contextmanager
def clock(rounds: Rounds, name: str, crops: Callable[[], int]) -> Generator[None]:
    start = time.perf_counter(), time.process_time()
    yield
    rounds[name].append(Took(time.perf_counter() - start[0], time.process_time() - start[1], crops()))


class World:
    """Scenes with their pictures, and the proposer."""

    def __init__(self, scenes: int, params: Params) -> None:
        self.params = params
        self.pictures = {
            str(i): PILImage.fromarray(render(draw_scene(np.random.default_rng([11, i])))) for i in range(scenes)
        }
        self.images = [Image(i, f"{i}.png", p.width, p.height, "nano") for i, p in self.pictures.items()]
        self.proposers = [RPNProposer(Path(params.model.proposer), min_score=params.propose.tau)]

    def in_waves(self, vlm: HFVisionLM, rounds: Rounds) -> tuple[list[Description], list[Request]]:
        """Propose, describe and merge as the stages do."""
        clocked = Clocked(vlm)
        with clock(rounds, "waves, whole", lambda: len(clocked.asked)):
            image_pictures = [(image, self.pictures[image.image_id]) for image in self.images]
            regions = propose_shard(image_pictures, self.proposers, self.params.propose).regions
            descriptions, _ = describe_shard(
                regions, self.pictures, clocked, self.params.describe, seed=self.params.seed
            )
            merge_shard(self.images, regions, descriptions, self.params.merge, template=merge_nano)
        rounds["waves, describing"].append(clocked.took())
        return descriptions, clocked.asked

    def literally(self, images: Sequence[Image], vlm: HFVisionLM, rounds: Rounds) -> list[Description]:
        clocked = Clocked(vlm)
        descriptions: list[Description] = []
        with clock(rounds, "literal, whole", lambda: len(clocked.asked)):
            for image in images:
                picture = self.pictures[image.image_id]
                descriptions += recursive_annotate(
                    image, picture, self.proposers, clocked, self.params, merge_nano
                ).descriptions
        rounds["literal, describing"].append(clocked.took())
        return descriptions


class BareLoop:
    """What a user would write: transformers' processor and generate, batch by batch, in the best order."""

    def __init__(self, vlm: HFVisionLM, requests: Sequence[Request], lengths: Sequence[int], params: Params) -> None:
        self.model, self.processor = vlm.model, vlm.encoder.processor
        self.requests, self.most_new = requests, params.describe.max_new_tokens
        tokens = [sum(map(vlm.encoder.visual_tokens, views(r))) for r in requests]
        best = sorted(range(len(requests)), key=lambda i: (-tokens[i], -lengths[i]))
        bounds = params.describe.batch_size, params.describe.batch_tokens
        self.plan: list[list[int]] = []
        for bound in dict.fromkeys(requests[i].max_pixels for i in best):  # the processor takes one bound a call
            same = [i for i in best if requests[i].max_pixels == bound]
            packed = plan_batches([requests[i] for i in same], bounds[0], [tokens[i] for i in same], bounds[1])
            self.plan += [[same[j] for j in batch] for batch in packed]

    def inputs(self, batch: Sequence[int]) -> Any:
        texts = [self._text(self.requests[i].prompt) for i in batch]
        low = self.processor.image_processor.size["shortest_edge"]
        size = {"shortest_edge": low, "longest_edge": self.requests[batch[0]].max_pixels[0]}
        images = [self.requests[i].images[0] for i in batch]
        return self.processor(text=texts, images=images, padding=True, return_tensors="pt", size=size)

    def _text(self, prompt: str) -> str:
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
        return self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)

    def say(self, inputs: Any) -> list[str]:
        with torch.inference_mode():
            out = self.model.generate(**inputs, max_new_tokens=self.most_new, do_sample=False)
        texts = self.processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts]

    def run(self, prepared: Sequence[Any] | None = None) -> list[str]:
        replies = [""] * len(self.requests)
        for n, batch in enumerate(self.plan):
            inputs = prepared[n] if prepared else self.inputs(batch)
            for i, text in zip(batch, self.say(inputs), strict=True):
                replies[i] = text
        return replies


def measure(world: World, vlm: HFVisionLM, pool: PooledVLM, n_rounds: int) -> dict[str, Any]:
    """All of them in turn, `n_rounds` times, after one round that is not counted."""
    requests = world.in_waves(vlm, defaultdict(list))[1]
    replies = vlm.generate(requests, max_new_tokens=world.params.describe.max_new_tokens)
    lengths = [len(vlm.encoder.text(reply)) for reply in replies]
    bare = BareLoop(vlm, requests, lengths, world.params)
    prepared = [bare.inputs(batch) for batch in bare.plan]
    pool.generate(requests[:64], max_new_tokens=1)  # loads the model in every process
    n, crops, differing = world.params.describe.max_new_tokens, len(requests), defaultdict[str, int](int)
    rounds: Rounds = defaultdict(list)
    for k in range(n_rounds):
        descriptions = {d.region_id: d for d in world.in_waves(vlm, rounds)[0]}
        with clock(rounds, "bare, processor in the loop", lambda: crops):
            one = bare.run()
        with clock(rounds, "ours", lambda: crops):
            ours = vlm.generate(requests, max_new_tokens=n)
        with clock(rounds, "bare, inputs prepared", lambda: crops):
            two = bare.run(prepared)
        with clock(rounds, POOL, lambda: crops):
            three = pool.generate(requests, max_new_tokens=n)
        literal = world.literally(world.images[k::n_rounds], vlm, rounds)
        differing["literal"] += sum(
            d.region_id not in descriptions or d.text != descriptions[d.region_id].text for d in literal
        )
        for name, other in (("bare", one), ("bare, prepared", two), ("pool", three), ("round before", replies)):
            differing[name] += sum(a != b for a, b in zip(ours, other, strict=True))
    return {"crops": crops, "regions a scene": crops / len(world.images), "differing": dict(differing)} | report(rounds)


def report(rounds: Rounds) -> dict[str, Any]:
    """Median rates, and the ratios round by round."""
    rates: dict[str, dict[str, float]] = {}
    for name, took in rounds.items():
        wall, cpu = (statistics.median(column) for column in zip(*(t.rates() for t in took), strict=True))
        rates[name] = {"crops/s": wall, "crops/s of processor time": cpu}
    pairs = {
        "(a) waves / literal, describing": ("waves, describing", "literal, describing"),
        "(a) pool / literal, describing": (POOL, "literal, describing"),
        "(a) waves / literal, whole": ("waves, whole", "literal, whole"),
        "(b) ours / bare, processor in the loop": ("ours", "bare, processor in the loop"),
        "(b) ours / bare, inputs prepared": ("ours", "bare, inputs prepared"),
    }
    ratios = {name: _ratios(rounds[top], rounds[bottom]) for name, (top, bottom) in pairs.items()}
    rates[POOL].popitem()
    ratios["(a) pool / literal, describing"].pop("cpu")
    return {"rates": rates, "ratios": ratios}


def _ratios(top: Sequence[Took], bottom: Sequence[Took]) -> dict[str, list[float]]:
    """Median, lowest and highest ratio of the rates."""
    out: dict[str, list[float]] = {}
    for i, name in enumerate(("wall", "cpu")):
        each = [a.rates()[i] / b.rates()[i] for a, b in zip(top, bottom, strict=True)]
        out[name] = [statistics.median(each), min(each), max(each)]
    return out


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch, for all but the pool's workers")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), help="default: model.dtype of params.yaml")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    params = load_params(Path("params.yaml"))
    dtype = args.dtype or params.model.dtype
    bounds = params.describe.batch_size, params.describe.batch_tokens
    vlm = HFVisionLM(params.model.base, None, dtype, *bounds)
    pool = PooledVLM(params.model.base, None, dtype, bounds[0], params.model.processes, vlm.fingerprint, bounds[1])
    result = measure(World(args.scenes, params), vlm, pool, args.rounds)
    waves = result["ratios"]["(a) waves / literal, describing"]["wall"][0]
    loop = result["ratios"]["(b) ours / bare, processor in the loop"]["wall"][0]
    met = {f"(a) at least {WAVES_TARGET}": waves >= WAVES_TARGET, f"(b) at least {BARE_TARGET}": loop >= BARE_TARGET}
    same = dtype == "bfloat16" or not any(result["differing"].values())
    machine = {"cores": os.cpu_count(), "threads": args.threads, "load": os.getloadavg()[0], "dtype": dtype}
    print(json.dumps({**machine, "scenes": args.scenes, "rounds": args.rounds, **result, "targets met": met}, indent=1))
    return 0 if all(met.values()) and same else 1


if __name__ == "__main__":
    sys.exit(main())
