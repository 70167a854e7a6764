"""The real proposers: the shipped region proposal network and PaddleOCR, on drawn nano scenes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ouro.annotate.propose import filter_proposals
from ouro.annotate.recurse import propose_shard
from ouro.core import boxes
from ouro.core.params import Params, Propose
from ouro.core.records import Image
from ouro.nano.rpn import truth
from ouro.nano.scenes import Scene, draw_scene, render
from ouro.vision.ocr import OCRProposer
from ouro.vision.ocr_models import OCRUnavailable, model_folders
from ouro.vision.protocols import Proposal
from ouro.vision.rpn import RPNError, RPNProposer, load_net

SHIPPED = Path(__file__).parents[1] / "models" / "nano" / "rpn"


def scenes(seed: int, n: int) -> list[tuple[Scene, PIL.Image.Image]]:
    rng = np.random.default_rng(seed)
    drawn = [draw_scene(rng) for _ in range(n)]
    return [(scene, PIL.Image.fromarray(render(scene))) for scene in drawn]


@pytest.fixture(scope="module")
def rpn() -> RPNProposer:
    return RPNProposer(SHIPPED, 0.5)


@pytest.fixture(scope="module")
def ocr(tmp_path_factory: pytest.TempPathFactory) -> OCRProposer:
    return OCRProposer(0.6, tmp_path_factory.mktemp("ocr"))


def recall(proposal_boxes: list[tuple[float, float, float, float]], truths: list[tuple[int, int, int, int]]) -> int:
    return sum(any(boxes.iou(f, w) >= 0.5 for f in proposal_boxes) for w in truths)


def test_shipped_network_finds_containers_and_objects_of_scenes(rpn: RPNProposer) -> None:
    drawn = scenes(91, 20)
    proposals = rpn.propose([picture for _, picture in drawn])
    truths = [truth(scene) for scene, _ in drawn]
    hits = sum(recall([p.box for p in f], w) for f, w in zip(proposals, truths, strict=True))
    assert hits >= 0.98 * sum(map(len, truths))
    assert all(0.5 <= p.score <= 1 and p.source == "rpn" for f in proposals for p in f)


def test_shipped_network_finds_the_objects_of_container_crops(rpn: RPNProposer) -> None:
    crops = [(c, picture.crop(c.box)) for scene, picture in scenes(92, 12) for c in scene.containers]
    hits = total = 0
    for (container, _), proposals in zip(crops, rpn.propose([crop for _, crop in crops]), strict=True):
        x0, y0 = container.box[:2]
        moved = [(p.box[0] + x0, p.box[1] + y0, p.box[2] + x0, p.box[3] + y0) for p in proposals]
        hits, total = hits + recall(moved, [i.box for i in container.items]), total + len(container.items)
    assert hits >= 0.95 * total


def test_answers_do_not_depend_on_the_other_images_of_the_call(rpn: RPNProposer) -> None:
    pictures = [picture for _, picture in scenes(93, 2)]
    pictures += [
        pictures[0].crop((0, 0, 119, 130)),
        PIL.Image.new("RGB", (9, 9)),
        PIL.Image.new("L", (700, 300), 128),
    ]
    together = rpn.propose(pictures)
    for picture, expected in zip(pictures, together, strict=True):
        alone = rpn.propose([picture])[0]
        assert [p.box for p in alone] == [pytest.approx(p.box, abs=0.01) for p in expected]
    assert rpn.propose([]) == []


def test_large_pictures_are_answered_in_their_own_pixels(rpn: RPNProposer) -> None:
    scene, picture = scenes(94, 1)[0]
    canvas = PIL.Image.new("RGB", (512, 512), (230, 230, 222))
    canvas.paste(picture, (128, 128))
    [proposals] = rpn.propose([canvas.resize((1024, 1024))])  # seen at half size
    truths = [(2 * (x0 + 128), 2 * (y0 + 128), 2 * (x1 + 128), 2 * (y1 + 128)) for x0, y0, x1, y1 in truth(scene)]
    assert recall([p.box for p in proposals], truths) >= 0.8 * len(truths)


def test_missing_and_pickled_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RPNError, match="not found"):
        load_net(tmp_path / "none")
    (tmp_path / "model.pt").write_bytes(b"\x80\x02.")
    with pytest.raises(RPNError, match=r"model\.pt is pickled and is refused"):
        load_net(tmp_path)


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path: Path) -> None:
    config = json.loads((SHIPPED / "config.json").read_text())
    config["architecture"]["widths"] = [8, 8, 8, 8]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((SHIPPED / "model.safetensors").read_bytes())
    with pytest.raises(RPNError, match="does not fit"):
        load_net(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RPNError, match="architecture"):
        load_net(tmp_path)


def test_shipped_weights_are_small_and_report_what_was_measured() -> None:
    assert (SHIPPED / "model.safetensors").stat().st_size < 1_000_000
    measured = json.loads((SHIPPED / "config.json").read_text())["measured"]
    low, high = measured["recall_iou_0.5"]["interval_95"]
    assert low <= measured["recall_iou_0.5"]["value"] <= high
    assert measured["recall_iou_0.5"]["value"] >= 0.98


def test_paddleocr_reads_the_words_of_signs(ocr: OCRProposer) -> None:
    drawn = [(s, p) for s, p in scenes(95, 20) if any(c.sign for c in s.containers)][:6]
    proposals = ocr.propose([picture for _, picture in drawn])
    signs = [(i, c.sign) for i, (scene, _) in enumerate(drawn) for c in scene.containers if c.sign]
    read = [any(p.text == s.word and boxes.iou(p.box, s.box) > 0.5 for p in proposals[i]) for i, s in signs]
    assert sum(read) >= 0.8 * len(signs) > 0
    assert all(p.source == "ocr" and 0.6 <= p.score <= 1 for f in proposals for p in f)
    assert ocr.propose([PIL.Image.new("RGB", (64, 64), "white")]) == [[]]


def test_text_takes_the_best_box_that_coincides_with_it_and_only_that_one() -> None:
    """Every further box without text once replaced the fused one, so that the lowest score decided."""
    text = Proposal((40, 40, 80, 56), 0.99, "ocr", "milk")
    good, poor = Proposal((40, 40, 82, 57), 0.95, "rpn"), Proposal((44, 38, 84, 56), 0.55, "rpn")
    for candidates in ([text, good, poor], [poor, good, text]):
        proposals, rejected = filter_proposals(candidates, (0, 0, 200, 200), Propose(), "a/0")
        assert proposals == [Proposal(good.box, 0.99, "rpn+ocr", "milk")]
        assert [r.detail.endswith("; fused") for r in rejected] == [True, False]
    second, _ = filter_proposals([*proposals, poor], (0, 0, 200, 200), Propose(), "a/0")
    assert second == proposals  # a fused one that is handed down keeps its box, too


def test_ocr_models_are_laid_out_once(tmp_path: Path) -> None:
    detector, recogniser = model_folders(tmp_path)
    before = (recogniser / "inference.yml").stat().st_mtime_ns
    assert model_folders(tmp_path) == (detector, recogniser)
    assert (recogniser / "inference.yml").stat().st_mtime_ns == before
    config = json.loads((recogniser / "inference.yml").read_text())
    assert len(config["PostProcess"]["character_dict"]) == 18_708  # 18,710 classes less blank and space
    assert [p.name for p in tmp_path.iterdir()] == [detector.parent.name]  # no draft is left behind


def test_missing_system_library_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ouro.vision import ocr_models as module

    message = module._explain(ImportError("libGL.so.1: cannot open shared object file"))
    assert "libgl1" in message and "propose.proposers" in message
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OCRUnavailable, match="rapidocr: not installed"):
        model_folders(tmp_path)


def test_tree_of_a_scene_is_containers_then_their_objects_and_sign(rpn: RPNProposer, ocr: OCRProposer) -> None:
    drawn = [(s, p) for s, p in scenes(96, 12) if any(c.sign for c in s.containers)][:4]
    images = [(Image(f"{i:016x}", f"{i}.png", 256, 256, "nano"), p) for i, (_, p) in enumerate(drawn)]
    regions = propose_shard(images, [rpn, ocr], Propose()).regions
    right = total = 0
    for (image, _), (scene, _) in zip(images, drawn, strict=True):
        mine = [r for r in regions if r.image_id == image.image_id]
        for container in scene.containers:
            node = next(r for r in mine if r.level == 1 and boxes.iou(r.box, container.box) > 0.7)
            children = [r for r in mine if r.parent_id == node.region_id]
            parts = [i.box for i in container.items]
            right, total = right + recall([r.box for r in children], parts), total + len(parts)
            if container.sign:
                right, total = right + any(r.text == container.sign.word for r in children), total + 1
    assert right >= 0.9 * total > 0


# ---- which proposers the stage loads -------------------------------------------------------------------


def test_stage_loads_each_proposer_once_a_process_in_the_order_of_the_params(tmp_path: Path) -> None:
    from tasks.proposers import proposers

    settings = Propose(proposers=("selective-search", "rpn", "selective-search"))
    loaded = proposers(settings, str(SHIPPED), tmp_path, 1)
    assert [p.name for p in loaded] == ["selective-search", "rpn"]
    assert all(a is b for a, b in zip(loaded, proposers(settings, str(SHIPPED), tmp_path, 1), strict=True))


def test_regions_of_several_proposers_meet_in_one_tree(tmp_path: Path) -> None:
    from tasks.proposers import proposers

    settings = Propose(proposers=("rpn", "selective-search"))
    scene, picture = scenes(98, 1)[0]
    image = Image("0" * 16, "scene.png", 256, 256, "nano")
    grown = propose_shard([(image, picture)], proposers(settings, str(SHIPPED), tmp_path, 1), settings)
    labels = [r.source for r in grown.regions[1:]] + [r.detail.split(" score")[0] for r in grown.rejected]
    assert {"rpn", "selective-search"} <= {part for source in labels for part in source.split("+")}
    assert all(any(boxes.iou(r.box, c.box) > 0.7 for r in grown.regions) for c in scene.containers)
    assert grown.n_candidates == len(grown.regions) + len(grown.rejected)


def test_stage_fingerprint_covers_every_model_in_use_and_no_other(tmp_path: Path) -> None:
    from tasks.propose import address

    def models(*names: str, proposer: str = str(SHIPPED), **propose: object) -> str:
        settings = {"model": {"proposer": proposer}, "propose": {"proposers": names, **propose}}
        return address(Params.model_validate(settings)).model

    grounding = tmp_path / "grounding"
    grounding.mkdir()
    (grounding / "config.json").write_text("{}")
    (grounding / "model.safetensors").write_bytes(b"1")
    network = "fasterrcnn_resnet50_fpn_v2"
    knobs = {"grounding_model": str(grounding)}
    seen = [models("rpn"), models("rpn", proposer=network), models("ocr"), models("rpn", "grounding", **knobs)]
    seen.append(models("rpn", proposer=network.replace("resnet50_fpn_v2", "mobilenet_v3_large_fpn")))
    assert len(set(seen)) == len(seen)
    assert models("rpn", **knobs) == models("rpn", "selective-search") == seen[0]
    (grounding / "model.safetensors").write_bytes(b"22")
    assert models("rpn", "grounding", **knobs) not in seen
