"""The annotator behind a server's address, as params.model says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ouro.core.params import Model
    from ouro.vision.identity import Identity
    from ouro.vision.openai import OpenAIVisionLM


def load_served(
    model: Model, identity: str = "", check: Callable[[], None] | None = None, concurrency: int = 0
) -> OpenAIVisionLM:
    """The model `model.name` of the server at `model.url`; `concurrency` 0: model.concurrency. `identity`, `check`: as
    in OpenAIVisionLM."""
    from ouro.vision.openai import OpenAIVisionLM

    at_once, multiple = concurrency or model.concurrency, _multiple(model)
    return OpenAIVisionLM(model.url, model.name, at_once, model.timeout, model.retries, multiple, identity, check)


def served_fingerprint(model: Model, identity: str = "") -> str:
    """What its replies depend on: address, name, how pictures are sent, and who answers there, as far as is known."""
    from ouro.vision.openai import openai_fingerprint

    return openai_fingerprint(model.url, model.name, _multiple(model), identity)


def find_identity(model: Model) -> Identity:
    """Who answers at model.url as model.name, asked one request after the other. Raises ServerUnavailable and
    ServerRefused."""
    from ouro.vision.identity import identify

    return identify(load_served(model, concurrency=1))


def served_base(base: str, name: str) -> Path | None:
    """The local folder `base` where a server's model `name` is the same one, as far as their names tell."""
    folder = Path(base)
    return folder if folder.name and folder.name == name.rstrip("/").rpartition("/")[2] else None


def _multiple(model: Model) -> int:
    """Of the sides of pictures that a server is sent; 1 unless model.base is the model that it serves."""
    from ouro.vision.data_urls import resize_multiple

    folder = served_base(model.base, model.name)
    return resize_multiple(folder) if folder else 1
