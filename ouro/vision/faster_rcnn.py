"""The region proposal networks of torchvision's Faster R-CNNs (arXiv 1506.01497, section 3.1): transform, backbone
and RPN with their own objectness (sigmoid). The second stage, with its 91 classes, is left out.

model.proposer is a network's name or, as `ouro fetch` writes it, a folder of model.safetensors and config.json, which
names the network. Weights of a name are torchvision's ("COCO_V1": downloaded once, hash checked, unpickled with
weights_only) or a local .safetensors file, which is converted from a downloaded .pth file, on any machine, by

    python -m ouro.vision.faster_rcnn fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth OUT.safetensors

Differs from torchvision's detector: at most MAX_OFFERED proposals a picture, as in the paper's tests (there 1000, or
150 at 320 pixels), and only equally sized pictures share a batch, so that a result depends on no other
picture but for rounding.
"""
# torchvision publishes no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import sys
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np

from ouro.core.errors import OuroError
from ouro.core.files import fingerprint_files, write_json
from ouro.core.json_text import parse_json
from ouro.vision.protocols import Proposal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import PIL.Image
    from torch import Tensor

    from ouro.core.params import Propose

NETWORKS = (
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
)
PARTS = ("backbone.", "rpn.")  # prefixes of a detector's weights to keep; its roi_heads are the second stage
MAX_OFFERED = 300  # proposals a picture (arXiv 1506.01497, section 4.1)
CONFIG, WEIGHTS = "config.json", "model.safetensors"  # of a folder
PICKLED = {".pth", ".pt", ".bin", ".pkl", ".ckpt"}


class FasterRCNNError(OuroError, ValueError):
    """A network or weights that cannot be used, with what to do about it."""


def is_network(proposer: str) -> bool:
    """Whether model.proposer is a network of torchvision, by its name or as a folder; otherwise it is a folder of
    ouro.vision.rpn.

    Raises FasterRCNNError for an unknown name that starts like a network's.
    """
    if proposer.startswith("fasterrcnn") and proposer not in NETWORKS and not Path(proposer).exists():
        raise FasterRCNNError(f"model.proposer: got {proposer!r}, expected a folder or one of {', '.join(NETWORKS)}")
    return proposer in NETWORKS or bool(_network_in(Path(proposer)))


def _network_in(folder: Path) -> str:
    """The network that a folder's config.json names; "" for another folder."""
    try:
        config = parse_json((folder / CONFIG).read_bytes())
    except (OSError, ValueError):
        return ""
    name = config.get("network", "") if isinstance(config, dict) else ""
    return name if name in NETWORKS else ""


def _resolve(proposer: str, weights: str) -> tuple[str, str]:
    """(network, weights): of a folder both are its own."""
    network = _network_in(Path(proposer))
    return (network, str(Path(proposer) / WEIGHTS)) if network else (proposer, weights)


def network_fingerprint(proposer: str, weights: str) -> str:
    """An identifier of everything the proposals depend on: the network, and the weights' name or file SHA-256."""
    network, weights = _resolve(proposer, weights)
    path = Path(weights)
    return f"{network}:{fingerprint_files([_check_file(path)]) if _is_file_name(path) else weights}"


class FasterRCNNProposer:
    """The proposer of a torchvision network. Proposals below `min_score` are left out."""

    name = "rpn"

    def __init__(self, network: str, weights: str, min_score: float, batch_size: int = 8) -> None:
        import torch

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._transform, self._backbone, self._rpn = _build(network, load_weights(network, weights), min_score)
        self._backbone.to(self._device)
        self._rpn.to(self._device)
        self._batch_size = batch_size

    @classmethod
    def from_params(cls, params: Propose, proposer: str) -> FasterRCNNProposer:
        """`proposer`: model.proposer."""
        return cls(*_resolve(proposer, params.rpn_weights), min_score=params.tau)

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        """Proposals in pixels of each given image, best first."""
        groups: dict[tuple[int, int], list[int]] = {}
        for i, image in enumerate(images):
            groups.setdefault(image.size, []).append(i)
        results: list[list[Proposal]] = [[] for _ in images]
        for members in groups.values():
            for start in range(0, len(members), self._batch_size):
                chunk = members[start : start + self._batch_size]
                for i, proposals in zip(chunk, self._detect([images[i] for i in chunk]), strict=True):
                    results[i] = proposals
        return results

    def _detect(self, images: list[PIL.Image.Image]) -> list[list[Proposal]]:
        """Proposals of pictures of one size. torchvision scales them, and its RPN's boxes are in scaled pixels."""
        import torch

        width, height = images[0].size
        with torch.inference_mode():
            pictures, _ = self._transform([_to_tensor(image).to(self._device) for image in images])
            rows, _ = self._rpn(pictures, self._backbone(pictures.tensors))
        scaled_height, scaled_width = pictures.image_sizes[0]
        return [_make_proposals(r, width / scaled_width, height / scaled_height) for r in rows]


def _to_tensor(image: PIL.Image.Image) -> Tensor:
    """(3, H, W) float32 in 0..1."""
    import torch

    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 255.0


def _make_proposals(rows: Tensor, sx: float, sy: float) -> list[Proposal]:
    """`rows`: (N, 5), box and score, pixels of the scaled picture."""
    return [Proposal((x0 * sx, y0 * sy, x1 * sx, y1 * sy), score, "rpn") for x0, y0, x1, y1, score in rows.tolist()]


def _build(network: str, weights: Mapping[str, Tensor], min_score: float) -> tuple[Any, Any, Any]:
    """(transform, backbone, RPN with scores), in eval mode. Raises FasterRCNNError when weights do not fit."""
    from torch import nn
    from torchvision.models import get_model

    from ouro.vision.rpn import ScoredRPN

    detector: Any = get_model(network, weights=None, weights_backbone=None)
    parts = nn.ModuleDict({"backbone": detector.backbone, "rpn": detector.rpn})
    _load_state(parts, weights, network)
    rpn = ScoredRPN(
        detector.rpn.anchor_generator,
        detector.rpn.head,
        fg_iou_thresh=0.7,  # this and the next three are used in training only
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 0, "testing": detector.rpn._pre_nms_top_n["testing"]},
        post_nms_top_n={"training": 0, "testing": MAX_OFFERED},
        nms_thresh=detector.rpn.nms_thresh,
        score_thresh=min_score,
    )
    return detector.transform.eval(), detector.backbone.eval(), rpn.eval()


def _load_state(parts: Any, weights: Mapping[str, Tensor], network: str) -> None:
    try:
        missing, unknown = parts.load_state_dict(dict(weights), strict=False)
    except RuntimeError as error:  # other shapes
        raise FasterRCNNError(f"weights of {network}: {error}; {_FIX}") from error
    # torchvision's MobileNet weights have frozen batch norms without batch counters; eval mode needs no counters.
    missing = [key for key in missing if not key.endswith(".num_batches_tracked")]
    if missing or unknown:
        got = f"{len(missing)} missing, {len(unknown)} unknown, such as {[*missing, *unknown][0]}"
        raise FasterRCNNError(f"weights of {network}: {got}; {_FIX}")


_FIX = "expected those of this very network; set propose.rpn_weights or model.proposer"


# ---- weights -----------------------------------------------------------------------------------------


def load_weights(network: str, weights: str) -> dict[str, Tensor]:
    """The tensors of backbone and RPN. Raises FasterRCNNError: unknown, missing, pickled, or not to be downloaded."""
    path = Path(weights)
    return proposal_part(_read(path) if _is_file_name(path) else _download(network, weights))


def proposal_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A detector's weights without those of its second stage."""
    return {key: value for key, value in state.items() if key.startswith(PARTS)}


def _is_file_name(path: Path) -> bool:
    return path.suffix in PICKLED | {".safetensors"} or path.exists()


def _check_file(path: Path) -> Path:
    if path.suffix != ".safetensors":
        raise FasterRCNNError(
            f"propose.rpn_weights {path}: expected a .safetensors file; pickled files are refused. Convert it: "
            f"python -m ouro.vision.faster_rcnn {path} {path.with_suffix('.safetensors')}"
        )
    if not path.is_file():
        raise FasterRCNNError(f"propose.rpn_weights {path}: not found; expected a .safetensors file, or COCO_V1")
    return path


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(_check_file(path))
    except SafetensorError as error:
        raise FasterRCNNError(
            f"propose.rpn_weights {path}: not readable ({error}); convert or copy it again"
        ) from error


def _download(network: str, name: str) -> dict[str, Tensor]:
    """Download through torchvision into torch's hub folder, unless the file is there."""
    from torchvision.models import get_model_weights

    weights_by_name = get_model_weights(network).__members__
    if name not in weights_by_name:
        raise FasterRCNNError(
            f"propose.rpn_weights: got {name!r}, expected {', '.join(weights_by_name)} or a .safetensors file"
        )
    try:
        return weights_by_name[name].get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (OSError, RuntimeError, UnpicklingError) as error:  # no network (URLError is an OSError), or a wrong hash
        url = weights_by_name[name].url
        raise FasterRCNNError(
            f"propose.rpn_weights {name} of {network}: cannot be had from {url} ({error}). Fix: `ouro fetch` where "
            f"there is a network; or bring {url.rpartition('/')[2]} from elsewhere, run `python -m "
            "ouro.vision.faster_rcnn` on it, and set propose.rpn_weights to the .safetensors file"
        ) from error


def fetch_network(network: str, name: str, folder: Path) -> str:
    """Write torchvision's weights of a network as a folder that model.proposer can name; returns where they came from.

    Raises FasterRCNNError: an unknown network or name, or weights that cannot be downloaded.
    """
    from safetensors.torch import save_file
    from torchvision.models import get_model_weights

    if network not in NETWORKS:
        raise FasterRCNNError(f"torchvision: got the network {network!r}, expected one of {', '.join(NETWORKS)}")
    tensors = proposal_part(_download(network, name))
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / WEIGHTS)
    write_json(folder / CONFIG, {"network": network, "weights": name})
    return str(get_model_weights(network)[name].url)


def convert_weights(source: Path, target: Path) -> int:
    """Write backbone and RPN of a pickled state dict as safetensors; returns the number of tensors.

    Unpickles with weights_only: no code of the file is run. Raises FasterRCNNError.
    """
    import torch
    from safetensors.torch import save_file

    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # a missing or truncated file, or code in the pickle
        raise FasterRCNNError(f"{source}: cannot be read as plain tensors ({error})") from error
    tensors = proposal_part(state) if isinstance(state, dict) else {}
    if not tensors:
        raise FasterRCNNError(
            f"{source}: no tensors named {' or '.join(f'{p}*' for p in PARTS)}; expected a state dict"
        )
    save_file({key: value.contiguous() for key, value in tensors.items()}, target)
    return len(tensors)


def main(arguments: Sequence[str]) -> None:
    """The command line, see the top of this file."""
    if len(arguments) != 2:
        raise SystemExit("usage: python -m ouro.vision.faster_rcnn FILE.pth OUT.safetensors")
    try:
        print(f"{arguments[1]}: {convert_weights(Path(arguments[0]), Path(arguments[1]))} tensors of backbone and RPN")
    except FasterRCNNError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main(sys.argv[1:])
