"""Selective search (Uijlings et al., IJCV 104, 2013) by OpenCV, and an objectness for its boxes. Needs no weights.

Selective search merges segments into ever larger ones and proposes the box of each, without a score. The order of
OpenCV's boxes is not reproducible (it uses C's `rand()`, which `cv2.setRNGSeed` does not seed), but the set of boxes
is: so the boxes are sorted here, and scored by

    score = sqrt(contrast * share * sqrt(room)), in 0..1

  contrast  the colour difference of the box and the ring around it: the cue CC of "Measuring the objectness of
            image windows" (Alexe et al., PAMI 34, 2012, section 2.2), here the chi-square distance of Lab histograms
  share     the strength of the edge pieces inside the box, as a share of those that intersect it: after Edge Boxes
            (Zitnick and Dollar, ECCV 2014, section 3). There it is a difference per perimeter over edge groups joined
            by affinity; here a ratio, which needs no scale, over connected edge pixels of one quarter of the directions
  room      the share of the ring that is inside the picture: at the picture's border nothing shows that the object
            ends there. Without it, strips of background along the border were among the best

The score is not learnt, so 0.5 is not a probability. The constants below were chosen on six photographs: there, boxes
with a score of at least 0.5 match 43 of 45 objects (labelled by hand, or 24 coins by threshold) at IoU 0.5 or more. The
two missed objects have little contrast: a tripod on grass, a tower in haze.

Legend: a picture is (H, W, 3) uint8 RGB; `boxes` (N, 4) int64, xyxy, half-open, pixels of the picture searched.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ouro.core.boxes import nms
from ouro.core.errors import OuroError
from ouro.vision.protocols import Proposal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import PIL.Image

    from ouro.core.params import Propose

MAX_SIDE = 320  # pixels; longer pictures are scaled down to this: time grows with the square of the pixels
MIN_SIDE = 24  # of the picture searched; smaller ones get no proposals
NMS_IOU = 0.7  # as of torchvision's region proposal networks
MAX_OFFERED = 100  # boxes per picture
BINS = 6  # of the colour histogram, per Lab channel
RING = 2.0  # the box and its ring have this many times the area of the box
DIRECTIONS = 4  # of edges, over half a turn
WEAK, STRONG = 0.1, 0.2  # Canny's thresholds, of the picture's strong gradients
SLACK = 1  # pixels that an edge may extend beyond a box and still count as inside

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]


class SelectiveSearchUnavailable(OuroError, ImportError):
    """OpenCV, or the part of it that holds selective search, cannot be loaded on this machine."""


class SelectiveSearchProposer:
    """Boxes of source "selective-search". Proposals below `min_score` are left out.

    Pictures are searched in `threads` threads (OpenCV releases the GIL); the result does not depend on their number.
    """

    name = "selective-search"

    def __init__(self, min_score: float, threads: int = 1) -> None:
        require_opencv()
        self._min_score = min_score
        self._threads = threads

    @classmethod
    def from_params(cls, params: Propose, threads: int) -> SelectiveSearchProposer:
        return cls(params.tau, threads)

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        """Proposals in pixels of each given image, best first. Images that are too small get none."""
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(self._search, images))

    def _search(self, image: PIL.Image.Image) -> list[Proposal]:
        picture = _shrink(image)
        height, width = picture.shape[:2]
        if min(height, width) < MIN_SIDE:
            return []
        boxes = find_rectangles(picture)
        scores = objectness(picture, boxes)
        good = scores >= self._min_score
        boxes, scores = boxes[good], scores[good]
        best = nms(boxes.astype(np.float64), scores, NMS_IOU)[:MAX_OFFERED]
        scale = np.array([image.width / width, image.height / height] * 2)
        rows = zip((boxes[best] * scale).tolist(), scores[best].tolist(), strict=True)
        return [Proposal((x0, y0, x1, y1), score, self.name) for (x0, y0, x1, y1), score in rows]


def require_opencv() -> None:
    """Raise SelectiveSearchUnavailable, with the fix, unless OpenCV and its selective search can be imported."""
    fix = "or remove 'selective-search' from propose.proposers in params.yaml"
    try:
        import cv2
    except ImportError as error:
        raise SelectiveSearchUnavailable(
            f"OpenCV: cannot be imported ({error}); run `uv sync`; if libGL or libgthread is missing, install it "
            f"(Debian, Ubuntu: apt-get install libgl1 libglib2.0-0); {fix}"
        ) from error
    if not hasattr(cv2, "ximgproc"):
        raise SelectiveSearchUnavailable(
            f"OpenCV {cv2.__version__}: has no ximgproc; expected opencv-contrib-python and no opencv-python beside it "
            f"(both unpack into cv2/); run `uv sync`, {fix}"
        )


def _shrink(image: PIL.Image.Image) -> Pixels:
    from PIL import Image as PILImage

    scale = min(1.0, MAX_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    rgb = image.convert("RGB")
    return np.array(rgb if size == image.size else rgb.resize(size, PILImage.Resampling.BOX))


def find_rectangles(picture: Pixels) -> Ints:
    """The boxes of the "fast" variant (two colour spaces, two similarities, two segment sizes), sorted and unique."""
    import cv2

    search: Any = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(picture[:, :, ::-1]))
    search.switchToSelectiveSearchFast()
    boxes: Ints = np.asarray(search.process(), dtype=np.int64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]  # OpenCV gives x, y, width, height
    return np.unique(boxes, axis=0)


def objectness(picture: Pixels, boxes: Ints) -> Floats:
    """(N,) scores in 0..1, see the top of this file. The box of the whole picture has no ring: 0."""
    height, width = picture.shape[:2]
    return np.sqrt(colour_contrast(picture, boxes) * edge_share(picture, boxes) * np.sqrt(_room(boxes, width, height)))


# ---- the box against its surroundings ----------------------------------------------------------------


def colour_contrast(picture: Pixels, boxes: Ints) -> Floats:
    """(N,) chi-square distance, in 0..1, of the colour histograms of each box and of the ring around it."""
    height, width = picture.shape[:2]
    counts = _integrate(_colour_codes(picture))
    inner = _count_inside(counts, boxes)
    outer = _count_inside(counts, np.rint(_enlarge(boxes, width, height)).astype(np.int64)) - inner
    p, q = _normalise(inner), _normalise(outer)
    total = p + q
    distance = np.divide((p - q) ** 2, total, out=np.zeros_like(p), where=total > 0).sum(axis=1) / 2
    return np.where(outer.sum(axis=1) > 0, np.clip(distance, 0.0, 1.0), 0.0)


def _colour_codes(picture: Pixels) -> NDArray[np.int64]:
    """(H, W) index of each pixel's histogram bin. Lab channels are stretched, so that dark pictures use all bins."""
    import cv2

    lab = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB), dtype=np.float64)
    low, high = lab.min(axis=(0, 1)), lab.max(axis=(0, 1))
    bins = np.minimum((lab - low) / np.maximum(high - low, 16.0) * BINS, BINS - 1).astype(np.int64)
    return (bins[:, :, 0] * BINS + bins[:, :, 1]) * BINS + bins[:, :, 2]


def _integrate(codes: NDArray[np.int64]) -> NDArray[np.int32]:
    """(H + 1, W + 1, C) integral images: pixels above and left of a corner, for each of the C codes that occur."""
    import cv2

    used = np.unique(codes)
    return np.stack([cv2.integral((codes == code).astype(np.uint8)) for code in used], axis=2)


def _count_inside(integral: NDArray[np.int32], boxes: Ints) -> Floats:
    """(N, C) counts of the pixels in each box."""
    x0, y0, x1, y1 = boxes.T
    return (integral[y1, x1] - integral[y0, x1] - integral[y1, x0] + integral[y0, x0]).astype(np.float64)


def _normalise(counts: Floats) -> Floats:
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)


def _enlarge(boxes: Ints, width: int, height: int) -> Floats:
    """Boxes of RING times the area with the same centres, clipped to the picture."""
    grow = (boxes[:, 2:] - boxes[:, :2]) * (RING**0.5 - 1) / 2
    return np.clip(np.hstack([boxes[:, :2] - grow, boxes[:, 2:] + grow]), 0.0, [width, height, width, height])


def _room(boxes: Ints, width: int, height: int) -> Floats:
    """(N,) share of each box's ring that is inside the picture."""
    size = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    enlarged = _enlarge(boxes, width, height)
    return np.clip(((enlarged[:, 2:] - enlarged[:, :2]).prod(axis=1) - size) / (size * (RING - 1)), 0.0, 1.0)


# ---- edges that the box holds or cuts ------------------------------------------------------------------


def edge_share(picture: Pixels, boxes: Ints) -> Floats:
    """(N,) strength of the edge pieces inside each box, as a share of those that intersect it; 0 without edges."""
    pieces, strength = _edge_pieces(picture)
    b, p = boxes[:, None, :], pieces[None, :, :]
    contained = np.all((p[..., :2] >= b[..., :2] - SLACK) & (p[..., 2:] <= b[..., 2:] + SLACK), axis=2)
    intersecting = np.all((p[..., :2] < b[..., 2:]) & (p[..., 2:] > b[..., :2]), axis=2)
    contained_strength, total_strength = contained @ strength, (contained | intersecting) @ strength
    return np.divide(
        contained_strength, total_strength, out=np.zeros_like(contained_strength), where=total_strength > 0
    )


def _edge_pieces(picture: Pixels) -> tuple[Ints, Floats]:
    """(M, 4) boxes and (M,) strengths of edge pieces: connected edge pixels of about one direction."""
    import cv2

    gx, gy = _gradient(picture)
    magnitude = np.hypot(gx, gy)
    limit = max(float(np.percentile(magnitude, 99)), 1.0)
    edges = cv2.Canny(_int16(gx), _int16(gy), WEAK * limit, STRONG * limit, L2gradient=True) > 0
    strength = np.minimum(magnitude / limit, 1.0)
    direction = np.floor((np.arctan2(gy, gx) % np.pi) / (np.pi / DIRECTIONS)).astype(int) % DIRECTIONS
    components = [_find_components(edges & (direction == d), strength) for d in range(DIRECTIONS)]
    return np.concatenate([boxes for boxes, _ in components]), np.concatenate([weights for _, weights in components])


def _gradient(picture: Pixels) -> tuple[Floats, Floats]:
    """(H, W) horizontal and vertical Sobel derivatives, at each pixel those of the Lab channel that changes most."""
    import cv2

    lab = cv2.GaussianBlur(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB), dtype=np.float64), (0, 0), 1.0)
    gx: Floats = np.asarray(cv2.Sobel(lab, cv2.CV_64F, 1, 0), dtype=np.float64)
    gy: Floats = np.asarray(cv2.Sobel(lab, cv2.CV_64F, 0, 1), dtype=np.float64)
    channel = np.argmax(gx**2 + gy**2, axis=2)[..., None]
    return np.take_along_axis(gx, channel, 2)[..., 0], np.take_along_axis(gy, channel, 2)[..., 0]


def _int16(values: Floats) -> NDArray[np.int16]:
    return np.rint(values).astype(np.int16)  # Canny accepts int16 only; Sobel of 8-bit values stays below 1021


def _find_components(mask: NDArray[np.bool_], strength: Floats) -> tuple[Ints, Floats]:
    import cv2

    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    weights: Any = np.bincount(labels.ravel(), weights=strength.ravel(), minlength=n)  # label 0: no edge
    boxes = stats[1:, :4].astype(np.int64)
    boxes[:, 2:] += boxes[:, :2]
    return boxes, weights[1:]
