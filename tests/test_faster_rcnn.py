"""torchvision's region proposal networks, the real ones, with random weights: COCO's cannot be fetched in a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import get_model

from ouro.vision.faster_rcnn import (
    NETWORKS,
    FasterRCNNError,
    FasterRCNNProposer,
    convert_weights,
    is_network,
    load_weights,
    main,
    network_fingerprint,
)

SMALL = "fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def detector(network: str) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return get_model(network, weights=None, weights_backbone=None).eval()


@pytest.fixture(scope="module")
def whole() -> torch.nn.Module:
    return detector(SMALL)


@pytest.fixture(scope="module")
def pickled(whole: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What torchvision publishes: frozen batch norms, which count no batches."""
    path = tmp_path_factory.mktemp("weights") / "coco.pth"
    torch.save({k: v for k, v in whole.state_dict().items() if "num_batches" not in k}, path)
    return path


@pytest.fixture(scope="module")
def weights(pickled: Path) -> Path:
    path = pickled.with_suffix(".safetensors")
    convert_weights(pickled, path)
    return path


@pytest.fixture(scope="module")
def proposer(weights: Path) -> FasterRCNNProposer:
    return FasterRCNNProposer(SMALL, str(weights), 0.0)


def pictures() -> list[PIL.Image.Image]:
    rng = np.random.default_rng(3)
    sizes = [(120, 180), (120, 180), (400, 500), (9, 400)]
    drawn = [PIL.Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in sizes]
    return [*drawn, drawn[0].convert("L").resize((30, 30))]


def test_boxes_and_scores_are_those_of_torchvisions_own_network(whole: Any, proposer: FasterRCNNProposer) -> None:
    """torchvision's `rpn` gives boxes without scores, in pixels of the scaled picture; its head gives the logits."""
    image = pictures()[2]  # 500 x 400, seen at 400 x 320: a factor of 0.8
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    with torch.inference_mode():
        seen, _ = whole.transform([tensor])
        features = whole.backbone(seen.tensors)
        [boxes], _ = whole.rpn(seen, features)
        logits, _ = whole.rpn.head(list(features.values()))
    assert seen.image_sizes == [(320, 400)]
    proposals = proposer.propose([image])[0]
    # torchvision's own threshold and number are another: its boxes, the best, come first here
    assert [p.box for p in proposals[: len(boxes)]] == [pytest.approx((b / 0.8).tolist(), abs=1e-3) for b in boxes]
    objectness = torch.cat([level.flatten() for level in logits]).sigmoid()
    assert proposals[0].score == pytest.approx(float(objectness.max()), abs=1e-6)
    assert all(float((objectness - p.score).abs().min()) < 1e-6 for p in proposals)


def test_boxes_lie_in_their_own_picture_and_reach_over_it(proposer: FasterRCNNProposer) -> None:
    for image, proposals in zip(pictures(), proposer.propose(pictures()), strict=True):
        assert 0 < len(proposals) <= 300
        assert all(p.source == "rpn" and 0 <= p.score <= 1 for p in proposals)
        assert proposals == sorted(proposals, key=lambda p: -p.score)
        array = np.array([p.box for p in proposals])
        assert array.min() >= 0 and np.all(array[:, 2:] <= np.array(image.size) * (1 + 1e-6))
        assert np.all(array[:, 2:].max(axis=0) > 0.5 * np.array(image.size))


def test_answers_do_not_depend_on_the_other_pictures_of_the_call(proposer: FasterRCNNProposer) -> None:
    for image, expected in zip(pictures(), proposer.propose(pictures()), strict=True):
        alone = proposer.propose([image])[0]
        assert [p.score for p in alone] == pytest.approx([p.score for p in expected], abs=1e-5)
    assert proposer.propose([]) == []


def test_candidates_below_the_threshold_are_not_offered(weights: Path, proposer: FasterRCNNProposer) -> None:
    every = proposer.propose(pictures()[:1])[0]
    middle = every[len(every) // 2].score
    proposals = FasterRCNNProposer(SMALL, str(weights), middle).propose(pictures()[:1])[0]
    assert proposals and all(p.score >= middle for p in proposals)
    assert proposals == [p for p in every if p.score >= middle]  # suppression begins with the best: none changes


@pytest.mark.parametrize("network", [n for n in NETWORKS if n != SMALL])
def test_larger_networks_are_built_of_the_same_parts(network: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    state = detector(network).state_dict()
    save_file({k: v for k, v in state.items() if k.startswith(("backbone", "rpn"))}, file)
    [proposals] = FasterRCNNProposer(network, str(file), 0.0).propose([PIL.Image.new("RGB", (64, 48), "red")])
    assert proposals and all(
        0 <= p.box[0] <= p.box[2] <= 64.01 and 0 <= p.box[1] <= p.box[3] <= 48.01 for p in proposals
    )


def test_converted_weights_are_backbone_and_proposals_alone(pickled: Path, weights: Path) -> None:
    state = torch.load(pickled, weights_only=True)
    tensors = load_file(weights)
    assert set(tensors) == {k for k in state if not k.startswith("roi_heads.")} < set(state)
    assert all(torch.equal(value, state[key]) for key, value in tensors.items())


def test_converter_says_what_it_wrote(pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.safetensors"
    main([str(pickled), str(target)])
    assert capsys.readouterr().out.strip() == f"{target}: {len(load_file(target))} tensors of backbone and RPN"
    with pytest.raises(SystemExit, match=r"usage: python -m ouro\.vision\.faster_rcnn FILE\.pth OUT\.safetensors"):
        main([])


class Evil:
    """Unpickled without weights_only, it would create a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def test_converter_runs_no_code_of_a_pickle(tmp_path: Path) -> None:
    trace = tmp_path / "was here"
    torch.save({"backbone.x": Evil(trace)}, tmp_path / "evil.pth")
    with pytest.raises(SystemExit, match=r"evil\.pth: cannot be read as plain tensors"):
        main([str(tmp_path / "evil.pth"), str(tmp_path / "out.safetensors")])
    assert not trace.exists() and not (tmp_path / "out.safetensors").exists()
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert trace.exists()  # so the file was a trap


def test_converter_refuses_what_holds_no_network(tmp_path: Path) -> None:
    torch.save({"head.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(FasterRCNNError, match=r"no tensors named backbone\.\* or rpn\.\*"):
        convert_weights(tmp_path / "other.pth", tmp_path / "out.safetensors")


def test_pickled_weights_are_refused_with_the_command_that_converts_them(pickled: Path) -> None:
    with pytest.raises(FasterRCNNError, match=rf"pickled files are refused.*ouro\.vision\.faster_rcnn {pickled} "):
        FasterRCNNProposer(SMALL, str(pickled), 0.5)


def test_weights_of_another_network_are_refused(weights: Path) -> None:
    with pytest.raises(FasterRCNNError, match="expected those of this very network"):
        FasterRCNNProposer("fasterrcnn_resnet50_fpn_v2", str(weights), 0.5)


def test_missing_damaged_and_unknown_weights_are_explained(tmp_path: Path) -> None:
    with pytest.raises(FasterRCNNError, match=r"none\.safetensors: not found"):
        load_weights(SMALL, str(tmp_path / "none.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"not safe")
    with pytest.raises(FasterRCNNError, match=r"bad\.safetensors: not readable"):
        load_weights(SMALL, str(tmp_path / "bad.safetensors"))
    with pytest.raises(FasterRCNNError, match=r"got 'COCO_V9', expected COCO_V1, .* or a \.safetensors file"):
        load_weights(SMALL, "COCO_V9")


def test_download_that_fails_says_where_from_and_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(FasterRCNNError, match=r"cannot be had from https://.*907ea3f9\.pth .*from elsewhere"):
        load_weights(SMALL, "COCO_V1")


def test_download_is_loaded_without_running_code_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pickled: Path
) -> None:
    """torchvision reads a file that is already there without asking the network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    name = "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth"
    (folder / name).write_bytes(pickled.read_bytes())
    assert load_weights(SMALL, "COCO_V1").keys() == load_file(pickled.with_suffix(".safetensors")).keys()
    torch.save({"backbone.x": Evil(tmp_path / "was here")}, folder / name)
    with pytest.raises(FasterRCNNError, match=r"cannot be had .*[Ww]eights.only"):
        load_weights(SMALL, "COCO_V1")
    assert not (tmp_path / "was here").exists()


def test_a_folder_stays_the_nano_network(tmp_path: Path) -> None:
    assert not is_network("models/nano/rpn") and not is_network(str(tmp_path))
    assert all(is_network(network) for network in NETWORKS)
    with pytest.raises(FasterRCNNError, match="got 'fasterrcnn_resnet101', expected a folder or one of fasterrcnn"):
        is_network("fasterrcnn_resnet101")


def test_fingerprint_tells_networks_names_and_file_contents_apart(weights: Path, tmp_path: Path) -> None:
    copy, other = tmp_path / weights.name, tmp_path / "other" / weights.name
    copy.write_bytes(weights.read_bytes())
    other.parent.mkdir()
    other.write_bytes(weights.read_bytes() + b" ")
    seen = [
        network_fingerprint(SMALL, str(weights)),
        network_fingerprint(SMALL, str(other)),
        network_fingerprint(SMALL, "COCO_V1"),
    ]
    assert len({*seen, network_fingerprint(NETWORKS[0], "COCO_V1")}) == 4
    assert network_fingerprint(SMALL, str(copy)) == seen[0]
    with pytest.raises(FasterRCNNError, match="not found"):
        network_fingerprint(SMALL, "none.safetensors")
