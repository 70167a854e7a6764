"""The annotator behind a server's address, as params.model says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ouro.core.params import Model
    from ouro.vision.openai import OpenAIVisionLM


def load_served(model: Model) -> OpenAIVisionLM:
    """The model `model.name` of the server at `model.url`."""
    from ouro.vision.openai import OpenAIVisionLM

    return OpenAIVisionLM(model.url, model.name, model.concurrency, model.timeout, model.retries, _multiple(model))


def served_fingerprint(model: Model) -> str:
    """What its replies depend on, as far as can be seen from here: address, name, and how pictures are sent."""
    from ouro.vision.openai import openai_fingerprint

    return openai_fingerprint(model.url, model.name, _multiple(model))


def served_base(base: str, name: str) -> Path | None:
    """The local folder `base` where a server's model `name` is the same one, as far as their names tell."""
    folder = Path(base)
    return folder if folder.name and folder.name == name.rstrip("/").rpartition("/")[2] else None


def _multiple(model: Model) -> int:
    """Of the sides of pictures that a server is sent; 1 unless model.base is the model that it serves."""
    from ouro.vision.openai import resize_multiple

    folder = served_base(model.base, model.name)
    return resize_multiple(folder) if folder else 1
