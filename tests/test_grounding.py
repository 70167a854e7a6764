"""Regions that a text names, with tiny, randomly initialised models of the real classes, saved and loaded offline.

Their boxes mean nothing; that they are asked everything, and answer in the right pixels, is what is tested.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ouro.core.records import Box
from ouro.vision.grounding import GroundingError, GroundingProposer, check_texts, is_description, pack_prompts
from ouro.vision.protocols import Proposal

TEXTS = ["cat", "red mug", "A kind of tool, wooden handle with a round head"]
WORDS = "a cat dog red mug kind of tool , wooden handle with round head".split()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small only wait for one another's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save_dino(folder: Path) -> None:
    from transformers import BertConfig, BertTokenizer, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig
    from transformers.models.grounding_dino import GroundingDinoImageProcessor, GroundingDinoProcessor

    vocabulary = [f"[unused{i}]" for i in range(1100)]
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    for i, word in {**special, **dict(enumerate(WORDS, 200))}.items():
        vocabulary[i] = word  # the special ones where BERT has them: the model parts phrases at them
    vision = SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
    )  # fmt: skip
    vision.out_features = ["stage2", "stage3", "stage4"]
    text = BertConfig(
        vocab_size=1100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=vision, text_config=text, d_model=32, num_queries=20, encoder_layers=1, decoder_layers=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2, max_text_len=32,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    pictures = GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 256})
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(vocabulary)})
    GroundingDinoProcessor(pictures, tokenizer).save_pretrained(folder)


def save_owl(folder: Path) -> None:
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection
    from transformers.models.owlv2 import Owlv2ImageProcessor, Owlv2Processor

    pieces = [*"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz,")]
    tokens = {piece: i for i, piece in enumerate(["!", *pieces, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = CLIPTokenizer(vocab=tokens, merges=[], model_max_length=48, pad_token="!")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": tokens["<|startoftext|>"], "eos_token_id": tokens["<|endoftext|>"]}
    config = Owlv2Config(
        text_config={**small, **ends, "vocab_size": len(tokens), "max_position_embeddings": 48, "pad_token_id": 0},
        vision_config={**small, "image_size": 64, "patch_size": 16},
        projection_dim=16,
    )
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    Owlv2Processor(Owlv2ImageProcessor(size={"height": 64, "width": 64}), tokenizer).save_pretrained(folder)


@pytest.fixture(scope="module", params=["dino", "owl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        (save_dino if request.param == "dino" else save_owl)(path)
    return path


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dino_alone")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_dino(path)
    return path


@pytest.fixture(scope="module")
def proposer(folder: Path) -> GroundingProposer:
    return GroundingProposer(str(folder), TEXTS, 0.0)


def pictures() -> list[PIL.Image.Image]:
    """Two of one size, a wide one, a thin one, a small grey one."""
    rng = np.random.default_rng(7)
    sizes = [(100, 150), (100, 150), (40, 300), (9, 400)]
    drawn = [PIL.Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in sizes]
    return [*drawn, drawn[0].convert("L").resize((30, 30))]


def distance(a: list[tuple[float, ...]], b: list[tuple[float, ...]]) -> float:
    """The most pixels by which a box of one list misses the nearest of the other."""
    apart = np.abs(np.array(a)[:, None] - np.array(b)[None]).max(axis=2)
    return float(max(apart.min(axis=0).max(), apart.min(axis=1).max()))


def test_boxes_lie_in_their_own_picture_and_reach_over_it(proposer: GroundingProposer) -> None:
    for image, proposals in zip(pictures(), proposer.propose(pictures()), strict=True):
        assert proposals and all(p.source == "grounding" and p.text == "" for p in proposals)
        for x0, y0, x1, y1 in (p.box for p in proposals):
            assert 0 <= x0 <= x1 <= image.width and 0 <= y0 <= y1 <= image.height
        # random models put boxes everywhere: answers in other pixels (relative, or of the scaled picture) would not
        assert max(p.box[2] for p in proposals) > 0.5 * image.width
        assert max(p.box[3] for p in proposals) > 0.5 * image.height


def test_boxes_scale_with_the_picture(proposer: GroundingProposer) -> None:
    """Shown at twice the size, the model sees the same pixels but for rounding: boxes are twice as large."""
    small = PIL.Image.new("RGB", (128, 128), (200, 30, 30))
    once, twice = (proposer.propose([image])[0] for image in (small, small.resize((256, 256))))
    assert len(once) == len(twice) > 0
    assert distance([p.box for p in twice], [tuple(2 * v for v in p.box) for p in once]) < 2


def test_no_score_is_at_or_below_the_threshold_and_the_best_come_first(
    folder: Path, proposer: GroundingProposer
) -> None:
    every = proposer.propose(pictures()[:1])[0]
    middle = sorted(p.score for p in every)[len(every) // 2]
    proposals = GroundingProposer(str(folder), TEXTS, middle).propose(pictures()[:1])[0]
    assert 0 < len(proposals) < len(every)
    assert all(p.score > middle for p in proposals)
    assert proposals == sorted(proposals, key=lambda p: -p.score)


def test_a_batch_is_answered_like_its_pictures_one_by_one(proposer: GroundingProposer) -> None:
    together = proposer.propose(pictures())
    for image, expected in zip(pictures(), together, strict=True):
        alone = proposer.propose([image])[0]
        assert [p.score for p in alone] == pytest.approx([p.score for p in expected], abs=1e-4)
        assert distance([p.box for p in alone], [p.box for p in expected]) < 0.1
    assert proposer.propose([]) == []


def test_the_same_call_gives_the_same_bytes(proposer: GroundingProposer) -> None:
    assert repr(proposer.propose(pictures())) == repr(proposer.propose(pictures()))


def test_every_text_is_asked(folder: Path) -> None:
    def answers(*texts: str) -> dict[Box, float]:
        """The best score of each box: those that reach over one border can be cut to the same."""
        [proposals] = GroundingProposer(str(folder), texts, 0.0).propose(pictures()[:1])
        return {p.box: p.score for p in reversed(proposals)}

    cat, mug, tool = TEXTS
    if json.loads((folder / "config.json").read_text())["model_type"] == "grounding-dino":
        names, description = answers(cat, mug), answers(tool)  # in one prompt, and in another
        assert answers(*TEXTS) == best_of(names, description)
        assert names not in (answers(cat), answers(mug))
    else:  # boxes do not depend on the texts; the score of each is its best over them
        alone = [answers(text) for text in TEXTS]
        assert answers(*TEXTS) == pytest.approx(best_of(*alone), abs=1e-5)
        assert all(scores != pytest.approx(best_of(*alone), abs=1e-3) for scores in alone)


def best_of(*answers: dict[Box, float]) -> dict[Box, float]:
    return {box: max(a[box] for a in answers if box in a) for box in dict.fromkeys(box for a in answers for box in a)}


def test_grounding_dino_is_asked_names_together_and_descriptions_alone() -> None:
    def words(text: str) -> int:
        return len(text.split())

    texts = ["Cat", "a kind of tool, with a head", "red mug", "He sits. She stands.", "fire hydrant"]
    descriptions = ["a kind of tool, with a head.", "he sits. she stands."]
    assert pack_prompts(texts, words, 99) == ["cat. red mug. fire hydrant.", *descriptions]
    assert pack_prompts(texts, words, 3) == ["cat. red mug.", "fire hydrant.", *descriptions]


@given(st.lists(st.text("ab ,.", min_size=1), max_size=12), st.integers(1, 20))
def test_every_name_is_in_one_prompt_and_every_description_is_a_prompt(texts: list[str], limit: int) -> None:
    prompts = pack_prompts(texts, len, limit)
    names = [t for t in texts if not is_description(t)]
    n_packed = len(prompts) - (len(texts) - len(names))
    assert " ".join(prompts[:n_packed]) == " ".join(f"{t.lower().rstrip('. ')}." for t in names)
    assert all(len(p) <= limit or p.count(".") == 1 for p in prompts[:n_packed])


def test_texts_are_trimmed_and_asked_once() -> None:
    assert check_texts([" cat ", "dog", "cat", "a\n mug"]) == ["cat", "dog", "a mug"]


@pytest.mark.parametrize("texts", [[], [""], ["cat", "  "]])
def test_absent_texts_are_refused_before_a_model_is_loaded(texts: list[str]) -> None:
    with pytest.raises(GroundingError, match=r"propose\.grounding_texts: got .* expected names or descriptions"):
        GroundingProposer("none", texts, 0.3)


def test_texts_longer_than_the_model_reads_are_refused(folder: Path) -> None:
    """Grounding DINO would cut them silently, OWL would fail at its position embedding."""
    long = "wooden handle " * 40
    with pytest.raises(GroundingError, match=r"'wooden handle .* has \d+; a text of this .* at most (32|48) tokens"):
        GroundingProposer(str(folder), ["cat", long], 0.3)


@pytest.mark.parametrize("model", ["", "./none", "models/none", "/none/at/all", "none"])
def test_absent_model_is_explained(model: str) -> None:
    with pytest.raises(GroundingError, match=r"expected a Grounding DINO or OWLv2 model; fetch it"):
        GroundingProposer(model, ["cat"], 0.3)


def test_model_of_the_hub_that_cannot_be_fetched_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(GroundingError, match=r"nobody/nothing: cannot be loaded .* hf download"):
        GroundingProposer("nobody/nothing", ["cat"], 0.3)


def test_pickled_weights_are_refused(dino: Path, tmp_path: Path) -> None:
    shutil.copytree(dino, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(GroundingError, match=r"no \*\.safetensors; pickled weights are refused"):
        GroundingProposer(str(tmp_path / "model"), ["cat"], 0.3)


def test_weights_that_are_missing_are_not_drawn_at_random(dino: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(dino, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    tensors = {key: value for key, value in load_file(file).items() if "level_embed" not in key}
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(GroundingError, match=r"1 weights are missing, such as model\.level_embed"):
        GroundingProposer(str(tmp_path / "model"), ["cat"], 0.3)


def test_model_of_another_kind_is_refused() -> None:
    nano = Path(__file__).parents[1] / "models" / "nano"
    with pytest.raises(GroundingError, match="cannot be loaded"):
        GroundingProposer(str(nano), ["cat"], 0.3)


def test_boxes_beyond_the_border_are_cut_there() -> None:
    from ouro.vision.grounding import _clip_box

    image = PIL.Image.new("RGB", (100, 50))
    assert _clip_box((-5, 10, 120, 60), image) == (0, 10, 100, 50)
    assert _clip_box((10, 60, 20, 70), image) == (10, 50, 20, 50)  # empty: filter_proposals rejects it as outside
    assert Proposal(_clip_box((1, 2, 3, 4), image), 0.5, "grounding").box == (1, 2, 3, 4)
