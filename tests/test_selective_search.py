"""Selective search on photographs that scikit-image carries, and on drawn nano scenes. Boxes were marked by eye."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.annotate.recurse import propose_shard
from ouro.core import boxes
from ouro.core.params import Propose
from ouro.core.records import Box, Image
from ouro.nano.scenes import draw_scene, render
from ouro.vision.protocols import Proposal
from ouro.vision.selective_search import SelectiveSearchProposer, colour_contrast, edge_share, objectness

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
MARKED: dict[str, dict[str, Box]] = {
    "astronaut.png": {
        "head": (152, 15, 299, 186), "helmet": (276, 343, 511, 511), "patch": (131, 350, 208, 423),
        "person": (24, 15, 360, 512),
    },
    "coffee.png": {"cup": (172, 16, 408, 307), "saucer": (75, 75, 480, 390), "spoon": (325, 234, 405, 326)},
    "chelsea.png": {"left eye": (133, 86, 208, 147), "right eye": (295, 109, 344, 162), "nose": (227, 222, 292, 265)},
}  # fmt: skip


def photograph(name: str) -> PIL.Image.Image:
    return PIL.Image.open(PHOTOGRAPHS / name).convert("RGB")


def best_iou(proposals: list[Proposal], box: Box) -> float:
    return max(boxes.iou(p.box, box) for p in proposals)


@pytest.mark.parametrize("name", MARKED)
def test_marked_objects_of_photographs_are_found(name: str) -> None:
    [proposals] = SelectiveSearchProposer(0.5).propose([photograph(name)])
    missed = {what for what, box in MARKED[name].items() if best_iou(proposals, box) < 0.5}
    assert missed == set()
    assert all(p.source == "selective-search" and 0.5 <= p.score <= 1 and p.text == "" for p in proposals)
    assert proposals == sorted(proposals, key=lambda p: -p.score)


def test_photograph_becomes_a_tree_with_its_objects() -> None:
    """Most are found at once, and again at the levels where Algorithm 1 has room for them."""
    picture = photograph("chelsea.png")
    image = Image("0" * 16, "chelsea.png", picture.width, picture.height, "skimage")
    grown = propose_shard([(image, picture)], [SelectiveSearchProposer(0.5)], Propose(min_side=28))
    assert {r.source for r in grown.regions} == {"image", "selective-search"}
    for box in MARKED["chelsea.png"].values():
        assert max(boxes.iou(r.box, box) for r in grown.regions) >= 0.5
    assert grown.n_candidates == len(grown.regions) + len(grown.rejected)


def test_containers_of_drawn_scenes_are_found() -> None:
    rng = np.random.default_rng(97)
    drawn = [draw_scene(rng) for _ in range(12)]
    proposals = SelectiveSearchProposer(0.5).propose([PIL.Image.fromarray(render(scene)) for scene in drawn])
    best = [best_iou(f, c.box) for f, scene in zip(proposals, drawn, strict=True) for c in scene.containers]
    recall = sum(value >= 0.5 for value in best) / len(best)
    print(f"containers: recall at IoU 0.5 {recall:.3f} of {len(best)}")
    assert recall >= 0.95


def test_answers_do_not_depend_on_threads_nor_on_the_other_pictures() -> None:
    pictures = [photograph("chelsea.png").resize((150, 100)), photograph("coffee.png").resize((90, 60))]
    one, two = SelectiveSearchProposer(0.3), SelectiveSearchProposer(0.3, threads=2)
    together = two.propose([*pictures, *pictures])
    assert together == one.propose(pictures) * 2
    assert one.propose([]) == []


def test_two_processes_give_equal_bytes() -> None:
    """OpenCV ranks regions with C's rand(), so that the order of its list depends on what was searched before."""
    script = (
        "import sys, PIL.Image\n"
        "from ouro.vision.selective_search import SelectiveSearchProposer\n"
        "picture = PIL.Image.open(sys.argv[1]).convert('RGB').resize((150, 100))\n"
        "for _ in range(int(sys.argv[2])):\n"
        "    answer = repr(SelectiveSearchProposer(0.0).propose([picture]))\n"
        "print(answer)\n"
    )
    path = str(PHOTOGRAPHS / "chelsea.png")
    first, second = (
        subprocess.run([sys.executable, "-c", script, path, n], capture_output=True, check=True).stdout for n in "12"
    )
    assert first == second and len(first) > 1000


def test_large_pictures_are_answered_in_their_own_pixels() -> None:
    """Seen at 320 pixels: a disc of a 1600 x 1200 picture is found to within two of the searched one's."""
    y, x = np.mgrid[:1200, :1600]
    pixels = np.full((1200, 1600, 3), 225, np.uint8)
    pixels[(x - 600) ** 2 + (y - 700) ** 2 < 300**2] = (200, 30, 30)
    [proposals] = SelectiveSearchProposer(0.5).propose([PIL.Image.fromarray(pixels)])
    assert proposals[0].box == pytest.approx((300, 400, 900, 1000), abs=10)


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 90), height=st.integers(1, 90), seed=st.integers(0, 99), noise=st.booleans())
def test_any_picture_is_answered_within_its_borders(width: int, height: int, seed: int, noise: bool) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3) if noise else (1, 1, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(pixels).resize((width, height)).convert("RGB" if seed % 2 else "L")
    [proposals] = SelectiveSearchProposer(0.0).propose([image])
    assert all(0 <= p.score <= 1 for p in proposals)
    assert all(0 <= p.box[0] < p.box[2] <= width and 0 <= p.box[1] < p.box[3] <= height for p in proposals)
    assert not (proposals and min(width, height) < 24)


# ---- the score ---------------------------------------------------------------------------------------


def square(side: int = 80) -> np.ndarray:
    """A red square, x and y from 20 to 60, on grey."""
    pixels = np.full((side, side, 3), 128, np.uint8)
    pixels[20:60, 20:60] = (220, 20, 20)
    return pixels


def test_contrast_is_one_for_the_object_and_falls_with_what_is_wrongly_in_or_out() -> None:
    exact, shifted, half, within, whole = (
        (20, 20, 60, 60),
        (30, 20, 70, 60),
        (20, 20, 40, 60),
        (30, 30, 50, 50),
        (0, 0, 80, 80),
    )
    contrast = colour_contrast(square(), np.array([exact, shifted, half, within, whole]))
    assert contrast[0] == pytest.approx(1.0)  # red inside, grey around: no colour in common
    # `shifted`: 3/4 red inside. Its ring has sides of 40 * sqrt(2), so it reaches 8 further: x from 22 to 78, y from
    # 12 to 68; of that 38 x 40 are red, of which 30 x 40 in the box: 320 of 56 * 56 - 1600 = 1536 pixels of the ring
    p, q = 0.75, 320 / 1536
    assert contrast[1] == pytest.approx(((p - q) ** 2 / (p + q) + (p - q) ** 2 / (2 - p - q)) / 2)
    assert 0 < contrast[2] < 1
    assert contrast[3] == contrast[4] == 0  # red around red; nothing around the whole picture


def test_share_is_one_when_edges_end_within_the_box_and_less_when_it_cuts_them() -> None:
    exact, loose, cut, empty = (20, 20, 60, 60), (10, 10, 70, 70), (20, 20, 60, 40), (30, 30, 50, 50)
    share = edge_share(square(), np.array([exact, loose, cut, empty]))
    assert share[0] == share[1] == 1.0
    # `cut` holds the upper edge whole and cuts the left and the right one, all three equally long; the corners, which
    # smoothing rounds, are short pieces of their own
    assert share[2] == pytest.approx(1 / 3, abs=0.07)
    assert share[3] == 0  # no edges: nothing speaks for it


def test_score_prefers_the_object_to_its_surroundings_and_its_parts() -> None:
    exact, loose, cut, within, whole = (
        (20, 20, 60, 60),
        (10, 10, 70, 70),
        (20, 20, 60, 40),
        (30, 30, 50, 50),
        (0, 0, 80, 80),
    )
    scores = objectness(square(), np.array([exact, loose, cut, within, whole]))
    assert scores[0] == pytest.approx(1.0)
    assert 0 < scores[1] < 1 and 0 < scores[2] < 1
    assert scores[3] == scores[4] == 0


def test_object_that_the_border_cuts_is_less_sure() -> None:
    """Box and ring would have sides of 40 and 20 pixels times sqrt(2); the picture lacks what is above."""
    pixels = np.full((80, 80, 3), 128, np.uint8)
    pixels[:20, 20:60] = (220, 20, 20)
    box = np.array([(20, 0, 60, 20)])
    grow_x, grow_y = 20 * (2**0.5 - 1), 10 * (2**0.5 - 1)
    room = ((40 + 2 * grow_x) * (20 + grow_y) - 800) / 800
    assert colour_contrast(pixels, box)[0] == pytest.approx(1.0)
    assert objectness(pixels, box)[0] == pytest.approx(room**0.25 * edge_share(pixels, box)[0] ** 0.5)


def test_missing_library_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    from ouro.vision.selective_search import SelectiveSearchUnavailable

    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SelectiveSearchUnavailable, match=r"libgl1 .* or remove 'selective-search'"):
        SelectiveSearchProposer(0.5)
