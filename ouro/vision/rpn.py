"""A class-agnostic region proposal network (Faster R-CNN, arXiv 1506.01497, section 3.1) from torchvision's
AnchorGenerator, RPNHead and RegionProposalNetwork on a small two-level convolutional backbone.

Legend: B images of a batch, H x W pixels padded to a multiple of 32, N boxes of one image, xyxy, pixels.
A folder holds `model.safetensors` and `config.json`; `ouro/nano/rpn.py` trains the one that is shipped.
"""
# torchvision publishes no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedBaseClass=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork, RPNHead

from ouro.core.errors import OuroError
from ouro.core.json_text import parse_json
from ouro.vision.protocols import Proposal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ouro.core.params import Propose

WEIGHTS, CONFIG = "model.safetensors", "config.json"
STEP = 32  # a picture's sides are padded to multiples of this, so that its result does not depend on other pictures
SMALLEST = 64


class RPNError(OuroError, ValueError):
    """A proposer folder that cannot be used."""


class RPNConfig(NamedTuple):
    """The network's configuration. `anchors`: side in pixels of the anchor of the fine and of the coarse level.
    Pictures whose longer side exceeds `max_side` are scaled down to it."""

    widths: tuple[int, int, int, int] = (12, 24, 48, 64)
    anchors: tuple[int, int] = (32, 112)
    nms: float = 0.5
    max_side: int = 512


class ScoredRPN(RegionProposalNetwork):
    """torchvision's RPN, but its rows hold boxes and scores: (N, 5). In training it returns no proposals."""

    def filter_proposals(
        self, proposals: Tensor, objectness: Tensor, image_shapes: Any, num_anchors_per_level: Any
    ) -> Any:
        if self.training:
            return [], []
        boxes, scores = super().filter_proposals(proposals, objectness, image_shapes, num_anchors_per_level)
        return [torch.cat([b, s[:, None]], 1) for b, s in zip(boxes, scores, strict=True)], scores


class ProposalNet(nn.Module):
    """Backbone levels at stride 8 (objects) and 16 (containers) under one shared RPN head."""

    def __init__(self, config: RPNConfig) -> None:
        super().__init__()
        a, b, c, d = config.widths
        self.fine = nn.Sequential(_conv(3, a, 2), _conv(a, b, 2), _conv(b, c, 2), _conv(c, d, 1))
        self.coarse = nn.Sequential(_conv(d, d, 2), _conv(d, d, 1, 2), _conv(d, d, 1, 2))
        self.rpn = ScoredRPN(
            AnchorGenerator(tuple((side,) for side in config.anchors), ((1.0,),) * 2),
            RPNHead(d, 1),
            fg_iou_thresh=0.65,  # with 0.5 containers were proposed at half-way offsets
            bg_iou_thresh=0.4,
            batch_size_per_image=128,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 100, "testing": 100},
            post_nms_top_n={"training": 50, "testing": 50},
            nms_thresh=config.nms,
        )

    def forward(
        self, images: Tensor, sizes: list[tuple[int, int]], targets: list[Tensor] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """`images`: (B, 3, H, W) from `to_batch`; `sizes`: (h, w) before padding; `targets`: (N, 4) each.

        In eval mode: B tensors (N, 5) of boxes and scores, best first. In training: the two losses.
        """
        fine = self.fine(images)
        levels = {"fine": fine, "coarse": self.coarse(fine)}
        truth = None if targets is None else [{"boxes": t} for t in targets]
        return self.rpn(ImageList(images, sizes), levels, truth)


def _conv(inputs: int, outputs: int, stride: int, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(torch.as_tensor(conv.bias))
    return nn.Sequential(conv, nn.ReLU(inplace=True))


def pad_size(size: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) that a picture of this (height, width) is padded to."""
    height, width = (max(SMALLEST, -(-side // STEP) * STEP) for side in size)
    return height, width


def to_batch(pictures: Sequence[np.ndarray[Any, Any]]) -> Tensor:
    """RGB uint8 arrays of one padded size -> (B, 3, H, W) float32 around 0, zeros at right and bottom."""
    height, width = pad_size(pictures[0].shape[:2])
    batch = torch.zeros(len(pictures), 3, height, width)
    for row, picture in zip(batch, pictures, strict=True):
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        row[:, : picture.shape[0], : picture.shape[1]] = pixels / 127.5 - 1.0
    return batch


def load_net(folder: Path) -> ProposalNet:
    """Load a network from its folder. Raises RPNError for missing or pickled files, or weights that do not fit."""
    from safetensors.torch import load_file

    weights = _check_folder(folder)
    config = read_config(folder)
    net = ProposalNet(config)
    try:
        net.load_state_dict(load_file(weights))
    except Exception as error:
        raise RPNError(f"proposer {weights}: does not fit its config.json ({error}); retrain or restore it") from error
    return net.eval()


def _check_folder(folder: Path) -> Path:
    fix = "run `python -m ouro.nano.rpn` or set model.proposer in params.yaml"
    if not folder.is_dir():
        raise RPNError(f"proposer folder {folder}: not found; expected {WEIGHTS} and {CONFIG} in it; {fix}")
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"})
    if not (folder / WEIGHTS).is_file():
        if pickled:
            raise RPNError(f"proposer folder {folder}: {pickled[0]} is pickled and is refused; expected {WEIGHTS}")
        raise RPNError(f"proposer folder {folder}: no {WEIGHTS}; {fix}")
    if not (folder / CONFIG).is_file():
        raise RPNError(f"proposer folder {folder}: no {CONFIG}; {fix}")
    return folder / WEIGHTS


def read_config(folder: Path) -> RPNConfig:
    """The "architecture" object of config.json. Raises RPNError when it is malformed."""
    try:
        config = parse_json((folder / CONFIG).read_text())["architecture"]
        return RPNConfig(
            tuple(config["widths"]), tuple(config["anchors"]), float(config["nms"]), int(config["max_side"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RPNError(
            f"proposer {folder / CONFIG}: got {error!r}, expected an object 'architecture' with "
            f"{', '.join(RPNConfig._fields)}; run `python -m ouro.nano.rpn`"
        ) from error


class RPNProposer:
    """The proposer of a folder. Proposals below `min_score` are left out."""

    name = "rpn"

    def __init__(self, folder: Path, min_score: float, batch_size: int = 32) -> None:
        self._net = load_net(folder)
        self._max_side = read_config(folder).max_side
        self._net.rpn.score_thresh = min_score
        self._batch_size = batch_size

    @classmethod
    def from_params(cls, params: Propose, folder: Path) -> RPNProposer:
        """`folder`: model.proposer."""
        return cls(folder, min_score=params.tau)

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        """Proposals in pixels of each given image, best first. Pictures of equal padded size share a batch."""
        pictures = [np.asarray(_limit_size(image, self._max_side)) for image in images]
        groups: dict[tuple[int, int], list[int]] = {}
        for i, picture in enumerate(pictures):
            groups.setdefault(pad_size(picture.shape[:2]), []).append(i)
        results: list[list[Proposal]] = [[] for _ in images]
        for members in groups.values():
            for start in range(0, len(members), self._batch_size):
                chunk = members[start : start + self._batch_size]
                for i, rows in zip(chunk, self._detect([pictures[i] for i in chunk]), strict=True):
                    height, width = pictures[i].shape[:2]
                    results[i] = _make_proposals(rows, images[i].width / width, images[i].height / height)
        return results

    def _detect(self, pictures: list[np.ndarray[Any, Any]]) -> list[Tensor]:
        with torch.inference_mode():
            rows, _ = self._net(to_batch(pictures), [p.shape[:2] for p in pictures])
        return rows


def _limit_size(image: PIL.Image.Image, max_side: int) -> PIL.Image.Image:
    scale = max_side / max(image.size)
    if scale >= 1:
        return image.convert("RGB")
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, PIL.Image.Resampling.BILINEAR)


def _make_proposals(rows: Tensor, sx: float, sy: float) -> list[Proposal]:
    return [Proposal((x0 * sx, y0 * sy, x1 * sx, y1 * sy), score, "rpn") for x0, y0, x1, y1, score in rows.tolist()]
