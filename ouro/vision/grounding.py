"""Regions that a text names: zero-shot detection by transformers' Grounding DINO (arXiv 2303.05499), MM Grounding DINO,
OWLv2 (arXiv 2306.09683) and OWL-ViT. GLIP turned detection into grounding of phrases; DesCo (seeds/004) asks with
whole descriptions ("A kind of tool, wooden handle with a round head, used for pounding") instead of names alone.

What is asked:

  Grounding DINO   names together, "a cat. a dog.", as it was trained, in as many prompts as its tokens demand; each
                   description in a prompt of its own, so that no other text competes for its words
  OWL              each text, name or description, is one query; all are asked at once. It reads few tokens (16)

A text with more than MAX_NAME_WORDS words, or with punctuation, is a description. Scores are the models' own, a box's
best over all texts: for Grounding DINO the largest over tokens. So a description can be answered by one of its words,
which is what DesCo trains against; a DesCo-trained model in one of these formats is asked in the same way.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.vision.protocols import Proposal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import PIL.Image

    from ouro.core.params import Propose
    from ouro.core.records import Box

JOINED = ("grounding-dino", "mm-grounding-dino")  # config.json's model_type: several names make one prompt
QUERIES = ("owlv2", "owlvit")  # each text is a query
MAX_NAME_WORDS = 4
MAX_OFFERED = 100  # proposals a picture
MAX_ASPECT = 16  # thinner pictures are padded: scaled to 1333 pixels, they would have fewer places than queries
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
LOCAL = (".", "/", "~", "models/", "data/")  # how the name of a local folder starts


class GroundingError(ValueError):
    """A grounding model or texts that cannot be used, with what to do about it."""


class GroundingProposer:
    """Boxes of source "grounding". `model`: a local folder or a name on the hub; of safetensors only, no remote code.

    Raises GroundingError: no texts, no model, or texts that are too long for it.
    """

    name = "grounding"

    def __init__(self, model: str, texts: Sequence[str], min_score: float, batch_size: int = 8) -> None:
        wanted = checked_texts(texts)
        self._model, self._processor = load_detector(model)
        self._joined = self._model.config.model_type in JOINED
        self._asked = self._questions(wanted)
        self._min_score = min_score
        self._batch_size = batch_size

    @classmethod
    def from_params(cls, params: Propose) -> GroundingProposer:
        return cls(params.grounding_model, params.grounding_texts, params.grounding_min_score)

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        """Proposals in pixels of each given image, best first. Only equally sized pictures share a batch, so that a
        result depends on no other picture but for rounding (OWL brings all to one size)."""
        groups: dict[tuple[int, int], list[int]] = {}
        for i, image in enumerate(images):
            groups.setdefault(image.size if self._joined else (0, 0), []).append(i)
        found: list[list[Proposal]] = [[] for _ in images]
        for members in groups.values():
            for start in range(0, len(members), self._batch_size):
                chunk = members[start : start + self._batch_size]
                for i, proposals in zip(chunk, self._detect([images[i] for i in chunk]), strict=True):
                    found[i] = proposals
        return found

    def _detect(self, images: list[PIL.Image.Image]) -> list[list[Proposal]]:
        pictures = [_padded(image) for image in images]
        pixels = self._processor.image_processor(images=pictures, return_tensors="pt").pixel_values
        sizes = [(picture.height, picture.width) for picture in pictures]
        found: list[list[Proposal]] = [[] for _ in images]
        for texts in self._asked:
            for i, proposals in enumerate(self._answers(pixels, texts, sizes)):
                found[i] += [p._replace(box=_clipped(p.box, images[i])) for p in proposals]
        return [sorted(proposals, key=lambda p: (-p.score, p.box))[:MAX_OFFERED] for proposals in found]

    def _answers(self, pixels: Any, texts: list[str], sizes: list[tuple[int, int]]) -> Iterator[list[Proposal]]:
        """To one prompt of Grounding DINO, or to all queries of OWL, of each picture."""
        import torch

        asked = texts * len(sizes) if self._joined else [texts] * len(sizes)
        encoded = self._processor(text=asked, return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            outputs = self._model(pixel_values=pixels.to(self._model.device), **encoded)
        options = {"input_ids": encoded["input_ids"]} if self._joined else {}
        for result in self._processor.post_process_grounded_object_detection(
            outputs, threshold=self._min_score, target_sizes=sizes, **options
        ):
            rows = zip(result["boxes"].tolist(), result["scores"].tolist(), strict=True)
            yield [Proposal((x0, y0, x1, y1), score, self.name) for (x0, y0, x1, y1), score in rows]

    def _questions(self, texts: list[str]) -> list[list[str]]:
        """The texts of each forward pass. Raises GroundingError for those that the model cannot read whole."""
        config, tokenizer = self._model.config, self._processor.tokenizer
        limit = int(config.max_text_len if self._joined else config.text_config.max_position_embeddings)

        def tokens(text: str) -> int:
            return len(tokenizer(text)["input_ids"])

        long = [f"{t!r} has {n}" for t in texts if (n := tokens(_sentence(t) if self._joined else t)) > limit]
        if long:
            raise GroundingError(
                f"propose.grounding_texts: {'; '.join(long)}; a text of this {config.model_type} model has at most "
                f"{limit} tokens; shorten it{'' if self._joined else ', or use Grounding DINO, which reads 256'}"
            )
        return [[prompt] for prompt in prompts(texts, tokens, limit)] if self._joined else [texts]


# ---- texts -------------------------------------------------------------------------------------------


def checked_texts(texts: Sequence[str]) -> list[str]:
    """The texts, trimmed, each once, in their order. Raises GroundingError when there are none, or an empty one."""
    trimmed = list(dict.fromkeys(" ".join(text.split()) for text in texts))
    if not trimmed or "" in trimmed:
        raise GroundingError(
            f"propose.grounding_texts: got {list(texts)}, expected names or descriptions to look for, such as "
            "[dog, a mug with a broken handle]; set them, or remove 'grounding' from propose.proposers"
        )
    return trimmed


def is_description(text: str) -> bool:
    """Whether a text says more than a name ("fire hydrant") does."""
    return len(text.split()) > MAX_NAME_WORDS or any(mark in text for mark in ".,;:?!")


def prompts(texts: Sequence[str], tokens: Callable[[str], int], limit: int) -> list[str]:
    """Prompts of Grounding DINO: names packed in order into as few as `limit` tokens allow, then the descriptions."""
    packed: list[str] = []
    for name in (_sentence(text) for text in texts if not is_description(text)):
        if packed and tokens(f"{packed[-1]} {name}") <= limit:
            packed[-1] = f"{packed[-1]} {name}"
        else:
            packed.append(name)
    return packed + [_sentence(text) for text in texts if is_description(text)]


def _sentence(text: str) -> str:
    return text.lower().rstrip(". ") + "."


# ---- pictures and the model --------------------------------------------------------------------------


def _padded(image: PIL.Image.Image) -> PIL.Image.Image:
    """RGB; grey at the right or below where it is too thin."""
    from PIL import Image as PILImage

    least = -(-max(image.size) // MAX_ASPECT)
    size = (max(image.width, least), max(image.height, least))
    if size == image.size:
        return image.convert("RGB")
    canvas = PILImage.new("RGB", size, (124, 116, 104))  # the mean of ImageNet, which normalises to 0
    canvas.paste(image.convert("RGB"), (0, 0))
    return canvas


def _clipped(box: Box, image: PIL.Image.Image) -> Box:
    """Within the image. What lies outside of it becomes empty at its border, and is rejected as such later."""
    x0, x1 = (min(max(x, 0.0), float(image.width)) for x in (box[0], box[2]))
    y0, y1 = (min(max(y, 0.0), float(image.height)) for y in (box[1], box[3]))
    return x0, y0, x1, y1


def load_detector(model: str) -> tuple[Any, Any]:
    """(model in eval mode, processor). Raises GroundingError: missing, unsafe, unfitting, or of another kind."""
    import torch
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": is_local(model)}
    try:
        processor = AutoProcessor.from_pretrained(model, **options)
        detector, info = AutoModelForZeroShotObjectDetection.from_pretrained(
            model, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **options
        )
    except (OSError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise GroundingError(f"propose.grounding_model {model}: cannot be loaded ({why}); {_FIX}") from error
    if detector.config.model_type not in JOINED + QUERIES:
        kinds = ", ".join(JOINED + QUERIES)
        raise GroundingError(f"propose.grounding_model {model}: a {detector.config.model_type} model, expected {kinds}")
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise GroundingError(
            f"propose.grounding_model {model}: {len(missing)} weights are missing, such as {missing[0]}; {_FIX}"
        )
    return detector.to("cuda" if torch.cuda.is_available() else "cpu").eval(), processor


_FIX = "fetch it whole, for instance: hf download IDEA-Research/grounding-dino-tiny --local-dir models/grounding"


def is_local(model: str) -> bool:
    """Whether `model` is a folder. Raises GroundingError for what is neither a usable one nor a name on the hub."""
    folder = Path(model)
    if model and not folder.is_dir() and not model.startswith(LOCAL) and HUB_NAME.fullmatch(model):
        return False
    if not model or not (folder / "config.json").is_file():
        got = f"{model!r} is not a folder with a config.json" if model else "got no model"
        raise GroundingError(f"propose.grounding_model: {got}; expected a Grounding DINO or OWLv2 model; {_FIX}")
    if not any(folder.glob("*.safetensors")):
        raise GroundingError(f"propose.grounding_model {model}: no *.safetensors; pickled weights are refused; {_FIX}")
    return True
