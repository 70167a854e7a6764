"""Proposes regions by text: zero-shot detection with transformers' Grounding DINO (arXiv 2303.05499), MM Grounding
DINO, OWLv2 (arXiv 2306.09683) and OWL-ViT. GLIP turned detection into phrase grounding; DesCo (seeds/004) uses whole
descriptions as queries ("A kind of tool, wooden handle with a round head, used for pounding") instead of names alone.

The queries:

  Grounding DINO   names joined, "a cat. a dog.", as in its training, in as many prompts as its token limit requires;
                   each description in a prompt of its own, so that no other text competes for its words
  OWL              each text, name or description, is one query; all in one forward. Its limit is low (16 tokens)

A text with more than MAX_NAME_WORDS words, or with punctuation, is a description. Scores are the models' own, a box's
best over all texts: for Grounding DINO the largest over tokens. So a box may match a single word of a description,
which DesCo is trained to avoid; a DesCo-trained model in one of these formats is queried in the same way.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.errors import OuroError
from ouro.core.hub import explain_hub
from ouro.core.model_files import find_unsafe
from ouro.vision.protocols import Proposal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import PIL.Image

    from ouro.core.params import Propose
    from ouro.core.records import Box

# Values of model_type in config.json.
PROMPT_TYPES = ("grounding-dino", "mm-grounding-dino")  # several names are joined to one prompt
QUERY_TYPES = ("owlv2", "owlvit")  # each text is one query
MAX_NAME_WORDS = 4
MAX_OFFERED = 100  # proposals per picture
MAX_ASPECT = 16  # thinner pictures are padded: scaled to 1333 pixels, they would have fewer positions than queries
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
LOCAL_PREFIXES = (".", "/", "~", "models/", "data/")  # prefixes of names that mean a local folder


class GroundingError(OuroError, ValueError):
    """A grounding model or texts that cannot be used, with the fix."""


class GroundingProposer:
    """Boxes of source "grounding". `model`: a local folder or a hub name; safetensors only, no remote code.

    Raises GroundingError: no texts, no model, or texts that are too long for the model.
    """

    name = "grounding"

    def __init__(self, model: str, texts: Sequence[str], min_score: float, batch_size: int = 8) -> None:
        queries = check_texts(texts)
        self._model, self._processor = load_detector(model)
        self._joins_names = self._model.config.model_type in PROMPT_TYPES
        self._prompts = self._plan_prompts(queries)
        self._min_score = min_score
        self._batch_size = batch_size

    @classmethod
    def from_params(cls, params: Propose) -> GroundingProposer:
        return cls(params.grounding_model, params.grounding_texts, params.grounding_min_score)

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        """Proposals in pixels of each given image, best first. Only pictures of equal size share a batch, so that a
        result does not depend on other pictures, except for rounding (OWL resizes all pictures to one size)."""
        groups: dict[tuple[int, int], list[int]] = {}
        for i, image in enumerate(images):
            groups.setdefault(image.size if self._joins_names else (0, 0), []).append(i)
        results: list[list[Proposal]] = [[] for _ in images]
        for members in groups.values():
            for start in range(0, len(members), self._batch_size):
                chunk = members[start : start + self._batch_size]
                for i, proposals in zip(chunk, self._detect([images[i] for i in chunk]), strict=True):
                    results[i] = proposals
        return results

    def _detect(self, images: list[PIL.Image.Image]) -> list[list[Proposal]]:
        pictures = [_pad_picture(image) for image in images]
        pixels = self._processor.image_processor(images=pictures, return_tensors="pt").pixel_values
        sizes = [(picture.height, picture.width) for picture in pictures]
        results: list[list[Proposal]] = [[] for _ in images]
        for texts in self._prompts:
            for i, proposals in enumerate(self._run_model(pixels, texts, sizes)):
                results[i] += [p._replace(box=_clip_box(p.box, images[i])) for p in proposals]
        return [sorted(proposals, key=lambda p: (-p.score, p.box))[:MAX_OFFERED] for proposals in results]

    def _run_model(self, pixels: Any, texts: list[str], sizes: list[tuple[int, int]]) -> Iterator[list[Proposal]]:
        """The proposals of each picture for one prompt of Grounding DINO, or for all queries of OWL."""
        import torch

        prompt_batch = texts * len(sizes) if self._joins_names else [texts] * len(sizes)
        encoded = self._processor(text=prompt_batch, return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            outputs = self._model(pixel_values=pixels.to(self._model.device), **encoded)
        options = {"input_ids": encoded["input_ids"]} if self._joins_names else {}
        for result in self._processor.post_process_grounded_object_detection(
            outputs, threshold=self._min_score, target_sizes=sizes, **options
        ):
            rows = zip(result["boxes"].tolist(), result["scores"].tolist(), strict=True)
            yield [Proposal((x0, y0, x1, y1), score, self.name) for (x0, y0, x1, y1), score in rows]

    def _plan_prompts(self, texts: list[str]) -> list[list[str]]:
        """The texts of each forward pass. Raises GroundingError for texts over the model's token limit."""
        config, tokenizer = self._model.config, self._processor.tokenizer
        limit = int(config.max_text_len if self._joins_names else config.text_config.max_position_embeddings)

        def tokens(text: str) -> int:
            return len(tokenizer(text)["input_ids"])

        too_long = [
            f"{t!r} has {n}" for t in texts if (n := tokens(_format_sentence(t) if self._joins_names else t)) > limit
        ]
        if too_long:
            raise GroundingError(
                f"propose.grounding_texts: {'; '.join(too_long)}; a text of this {config.model_type} model has at most "
                f"{limit} tokens; shorten it{'' if self._joins_names else ', or use Grounding DINO, which reads 256'}"
            )
        return [[prompt] for prompt in pack_prompts(texts, tokens, limit)] if self._joins_names else [texts]


# ---- texts -------------------------------------------------------------------------------------------


def check_texts(texts: Sequence[str]) -> list[str]:
    """The texts, trimmed and without repeats, in order. Raises GroundingError for no texts or an empty one."""
    trimmed = list(dict.fromkeys(" ".join(text.split()) for text in texts))
    if not trimmed or "" in trimmed:
        raise GroundingError(
            f"propose.grounding_texts: got {list(texts)}, expected names or descriptions to look for, such as "
            "[dog, a mug with a broken handle]; set them, or remove 'grounding' from propose.proposers"
        )
    return trimmed


def is_description(text: str) -> bool:
    """Whether a text is a description rather than a name ("fire hydrant")."""
    return len(text.split()) > MAX_NAME_WORDS or any(char in text for char in ".,;:?!")


def pack_prompts(texts: Sequence[str], tokens: Callable[[str], int], limit: int) -> list[str]:
    """Prompts of Grounding DINO: names joined in order to prompts of at most `limit` tokens, then the descriptions."""
    name_prompts: list[str] = []
    for name in (_format_sentence(text) for text in texts if not is_description(text)):
        if name_prompts and tokens(f"{name_prompts[-1]} {name}") <= limit:
            name_prompts[-1] = f"{name_prompts[-1]} {name}"
        else:
            name_prompts.append(name)
    return name_prompts + [_format_sentence(text) for text in texts if is_description(text)]


def _format_sentence(text: str) -> str:
    return text.lower().rstrip(". ") + "."


# ---- pictures and the model --------------------------------------------------------------------------


def _pad_picture(image: PIL.Image.Image) -> PIL.Image.Image:
    """The picture as RGB, padded with grey at the right or the bottom if it is too thin."""
    from PIL import Image as PILImage

    min_side = -(-max(image.size) // MAX_ASPECT)
    size = (max(image.width, min_side), max(image.height, min_side))
    if size == image.size:
        return image.convert("RGB")
    canvas = PILImage.new("RGB", size, (124, 116, 104))  # ImageNet's mean colour, which normalises to 0
    canvas.paste(image.convert("RGB"), (0, 0))
    return canvas


def _clip_box(box: Box, image: PIL.Image.Image) -> Box:
    """Clip a box to the image. A box outside of it becomes empty, and is rejected later."""
    x0, x1 = (min(max(x, 0.0), float(image.width)) for x in (box[0], box[2]))
    y0, y1 = (min(max(y, 0.0), float(image.height)) for y in (box[1], box[3]))
    return x0, y0, x1, y1


def load_detector(model: str) -> tuple[Any, Any]:
    """(model in eval mode, processor). Raises GroundingError: missing, unsafe, incomplete, or of another type."""
    import torch
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": is_local(model)}
    try:
        processor = AutoProcessor.from_pretrained(model, **options)
        detector, info = AutoModelForZeroShotObjectDetection.from_pretrained(
            model, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **options
        )
    except (OSError, ValueError, RuntimeError) as error:
        message = " ".join(str(error).split()) if options["local_files_only"] else explain_hub(error)
        if "trust_remote_code" in message:
            message = "it needs code that lies beside the model (auto_map), which Ouro never runs"
        raise GroundingError(f"propose.grounding_model {model}: cannot be loaded ({message}); {_FIX}") from error
    if detector.config.model_type not in PROMPT_TYPES + QUERY_TYPES:
        kinds = ", ".join(PROMPT_TYPES + QUERY_TYPES)
        raise GroundingError(f"propose.grounding_model {model}: a {detector.config.model_type} model, expected {kinds}")
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise GroundingError(
            f"propose.grounding_model {model}: {len(missing)} weights are missing, such as {missing[0]}; {_FIX}"
        )
    return detector.to("cuda" if torch.cuda.is_available() else "cpu").eval(), processor


_FIX = "fetch it whole, for instance: hf download IDEA-Research/grounding-dino-tiny --local-dir models/grounding"


def is_local(model: str) -> bool:
    """Whether `model` is a folder. Raises GroundingError if it is neither a usable folder nor a hub name."""
    folder = Path(model)
    if model and not folder.is_dir() and not model.startswith(LOCAL_PREFIXES) and HUB_NAME.fullmatch(model):
        return False
    if not model or not (folder / "config.json").is_file():
        got = f"{model!r} is not a folder with a config.json" if model else "got no model"
        raise GroundingError(f"propose.grounding_model: {got}; expected a Grounding DINO or OWLv2 model; {_FIX}")
    if not any(folder.glob("*.safetensors")):
        raise GroundingError(f"propose.grounding_model {model}: no *.safetensors; pickled weights are refused; {_FIX}")
    if problems := find_unsafe(folder):
        raise GroundingError(f"propose.grounding_model {model}: refused: {'; '.join(problems[:5])}; {_FIX}")
    return True
