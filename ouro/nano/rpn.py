"""Train the nano region proposal network: `python -m ouro.nano.rpn [--out models/nano/rpn]`.

Targets on scenes: containers and objects (signs are OCR's). Targets on container crops, cut with the few
pixels of error that a proposer makes: the objects. On crops of single objects: none. One thread, minutes.
Writes model.safetensors and config.json, which also holds the metrics on held-out scenes.
"""
# torchvision publishes no types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from ouro.core import boxes
from ouro.nano.scenes import SIZE, Box, Container, Pixels, Scene, draw_scene, render
from ouro.vision.rpn import CONFIG, WEIGHTS, ProposalNet, RPNConfig, RPNProposer, to_batch

if TYPE_CHECKING:
    from collections.abc import Iterable

TRAIN_SEED, HELD_OUT_SEED = 20_251, 20_252
OBJECTNESS = 0.5


class Batch(NamedTuple):
    """`images`: (B, 3, H, W); `sizes`: (h, w) of each; `targets`: (N, 4) float32 xyxy of each."""

    images: Tensor
    sizes: list[tuple[int, int]]
    targets: list[Tensor]


def truth(scene: Scene) -> list[Box]:
    """Boxes of all containers and objects."""
    return [c.box for c in scene.containers] + [i.box for i in scene.items]


def batches(rng: np.random.Generator, n: int) -> list[Batch]:
    """`n` scenes, crops of all their containers, and as many crops of single objects."""
    renders = [(s, render(s)) for s in (draw_scene(rng) for _ in range(n))]
    scenes = [(picture, truth(scene)) for scene, picture in renders]
    crops = [_container_crop(rng, picture, c) for scene, picture in renders for c in scene.containers]
    alone = [
        (_crop(picture, _jitter(rng, scene.items[0].box)), list[Box]()) for scene, picture in renders if scene.items
    ]
    return [_batch(group) for group in (scenes, crops, alone)]


def _container_crop(rng: np.random.Generator, picture: Pixels, container: Container) -> tuple[Pixels, list[Box]]:
    x0, y0, x1, y1 = _jitter(rng, container.box)
    inside = [
        (max(a - x0, 0), max(b - y0, 0), min(c, x1) - x0, min(d, y1) - y0)
        for a, b, c, d in (item.box for item in container.items)
    ]
    return _crop(picture, (x0, y0, x1, y1)), inside


def _jitter(rng: np.random.Generator, box: Box, pixels: int = 3) -> Box:
    x0, y0, x1, y1 = (int(v) for v in np.clip(np.array(box) + rng.integers(-pixels, pixels + 1, 4), 0, SIZE))
    return x0, y0, x1, y1


def _crop(picture: Pixels, box: Box) -> Pixels:
    x0, y0, x1, y1 = box
    return picture[y0:y1, x0:x1]


def _batch(group: list[tuple[Pixels, list[Box]]]) -> Batch:
    pictures = [picture for picture, _ in group]
    targets = [torch.tensor(b, dtype=torch.float32).reshape(-1, 4) for _, b in group]
    return Batch(to_batch(pictures), [(p.shape[0], p.shape[1]) for p in pictures], targets)


def train(config: RPNConfig, steps: int, scenes_per_step: int, seed: int) -> ProposalNet:
    """A network trained for `steps` steps, with progress on the terminal."""
    from rich.progress import track

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = ProposalNet(config).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    for step in track(range(steps), description="training the RPN"):
        optimizer.zero_grad()
        loss = torch.zeros(())
        for part in batches(rng, scenes_per_step):
            _, losses = net(part.images, part.sizes, part.targets)
            loss = loss + losses["loss_objectness"] + 20.0 * losses["loss_rpn_box_reg"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}/{steps} loss {loss.item():.3f}", flush=True)
    return net.eval()


def measure(folder: Path, n_scenes: int, seed: int = HELD_OUT_SEED) -> dict[str, Any]:
    """Recall at IoU 0.5 and 0.7 and precision, at objectness 0.5, on scenes never trained on."""
    rng = np.random.default_rng(seed)
    scenes = [draw_scene(rng) for _ in range(n_scenes)]
    pictures = [PIL.Image.fromarray(render(scene)) for scene in scenes]
    proposer = RPNProposer(folder, OBJECTNESS)
    start = time.perf_counter()
    detections = [[p.box for p in proposals] for proposals in proposer.propose(pictures)]
    seconds = time.perf_counter() - start
    pairs = [(detected_boxes, truth(scene)) for detected_boxes, scene in zip(detections, scenes, strict=True)]
    overlaps = [boxes.iou_matrix(boxes.as_array(t), boxes.as_array(f)) for f, t in pairs]
    best = np.concatenate([o.max(axis=1, initial=0.0) for o in overlaps])
    right = np.concatenate([o.max(axis=0, initial=0.0) for o in overlaps])
    return {
        "held_out_scenes": n_scenes,
        "objectness": OBJECTNESS,
        "recall_iou_0.5": share(best >= 0.5),
        "recall_iou_0.7": share(best >= 0.7),
        "recall_iou_0.8": share(best >= 0.8),
        "precision_iou_0.5": share(right >= 0.5),
        "mean_iou": round(float(best.mean()), 4),
        "proposals_per_scene": round(sum(map(len, detections)) / n_scenes, 2),
        "ms_per_scene": round(1000 * seconds / n_scenes, 1),
    }


def share(hits: Iterable[Any]) -> dict[str, float | int | list[float]]:
    """A proportion with its n and its Wilson 95% interval."""
    values = [bool(h) for h in hits]
    if not values:
        return {"value": 0.0, "n": 0, "interval_95": [0.0, 1.0]}
    n, p, z = len(values), sum(values) / len(values), 1.96
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return {"value": round(p, 4), "n": n, "interval_95": [round(low, 4), round(high, 4)]}


def save(net: ProposalNet, config: RPNConfig, out: Path, recipe: dict[str, Any], n_scenes: int) -> dict[str, Any]:
    """Write the folder, measure it as it will be loaded, and write the numbers into config.json."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), out / WEIGHTS)
    (out / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone
    content: dict[str, Any] = {"architecture": config._asdict(), "recipe": recipe}
    _write(out / CONFIG, content)
    content["measured"] = measure(out, n_scenes)
    _write(out / CONFIG, content)
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    """Parse the command line, train, write, print the metrics."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m ouro.nano.rpn", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("models/nano/rpn"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--scenes", type=int, default=12, help="scenes a step; their crops come on top")
    parser.add_argument("--held-out", type=int, default=500)
    parser.add_argument("--seed", type=int, default=TRAIN_SEED)
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = {"steps": args.steps, "scenes_per_step": args.scenes, "seed": args.seed}
    net = train(RPNConfig(), args.steps, args.scenes, args.seed)
    content = save(net, RPNConfig(), args.out, recipe, args.held_out)
    print(json.dumps(content["measured"], indent=2))


if __name__ == "__main__":
    main()
