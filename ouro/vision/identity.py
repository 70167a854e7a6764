"""Who answers at a server's address: what a server says of its model, and what the model says to a few fixed requests.

A server's address and the name of a model do not tell which weights answer: another model may be served in its place
the next day. So a run begins with the server's list of models, of which the entries of the model and of those that it
is derived from count (name, root, parent, length of the context; an OpenAI-compatible server need not have it), and
with PROBES: pictures that are drawn here, asked about greedily, one after the other. What is said in reply, reasoning
included, is part of the fingerprint. Each is asked twice: where a server does not answer the same twice, it does not
decode greedily, and its replies tell nothing of its weights, so that the list alone counts.

Two models that say the same to all probes and have the same entries are taken for one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from PIL import Image as PILImage
from PIL import ImageDraw

from ouro.core.json_text import parse_json
from ouro.vision.protocols import Request
from ouro.vision.server_errors import RequestRefused

if TYPE_CHECKING:
    from ouro.vision.openai import OpenAIVisionLM

PROBE_TOKENS = 24  # few enough that a server under load, whose sums are in another order, says the same
PROBES = (
    "describe the image.",
    "What is in the upper left corner, and which colour does it have?",
    "Name everything that you see, from left to right.",
    "How many shapes are there?",
)
SIDE = 112  # pixels of a probe's picture

_OF_A_MODEL = ("id", "root", "parent", "max_model_len", "meta")  # `created` and permissions are new at each request
_OF_META = ("n_params", "n_vocab", "n_embd", "n_ctx_train", "size")  # llama.cpp
_CHAIN = 8  # entries from a model to its base
_MOST = 200  # characters of a value


class Identity(NamedTuple):
    """entries: of the server's list, as JSON; "" where it has none. replies: to the probes. greedy: whether they came
    twice the same."""

    entries: str
    replies: tuple[str, ...]
    greedy: bool

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over what tells this model from others."""
        replies = self.replies if self.greedy else ()
        return hashlib.sha256(json.dumps([self.entries, replies]).encode()).hexdigest()


def identify(vlm: OpenAIVisionLM) -> Identity:
    """Ask who answers: one GET and 2 * len(PROBES) short requests. Raises ServerUnavailable and ServerRefused."""
    entries = entries_of(vlm.model_list(), vlm.name)
    first, second = _probe(vlm), _probe(vlm)
    return Identity(entries, first, first == second)


def entries_of(body: bytes | None, name: str) -> str:
    """The entries of a model and its parents in a server's list, as JSON; all where it is not among them; "" of a body
    that is no list."""
    try:
        listed: Any = parse_json(body or b"")["data"]
        by_name = {str(entry["id"]): entry for entry in listed}
    except (ValueError, KeyError, TypeError):
        return ""
    chain: list[Mapping[str, Any]] = []
    at: Any = name
    while isinstance(at, str) and at in by_name and len(chain) < _CHAIN:
        chain.append(by_name.pop(at))
        at = chain[-1].get("parent")
    entries = [_plain(entry, _OF_A_MODEL) for entry in chain]
    return json.dumps(entries or sorted((_plain(e, _OF_A_MODEL) for e in by_name.values()), key=str)[:_MOST])


def _plain(entry: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """The values under `keys` that are there; of long ones the beginning."""
    values: dict[str, Any] = {}
    for key in keys:
        value = entry.get(key)
        if isinstance(value, dict):
            values[key] = _plain(cast("dict[str, Any]", value), _OF_META)
        elif isinstance(value, (str, int, float)):
            values[key] = str(value)[:_MOST]
    return values


def _probe(vlm: OpenAIVisionLM) -> tuple[str, ...]:
    """What the model says to each probe, "" where the server refuses it."""
    picture = draw_probe()
    requests = [Request((picture,), prompt) for prompt in PROBES]
    try:
        return tuple(_message(body) for body in vlm.bodies(requests, max_new_tokens=PROBE_TOKENS))
    except RequestRefused:
        return ("",) * len(PROBES)


def _message(body: bytes) -> str:
    """All texts of a reply's message, reasoning included; "" for no body."""
    message: Any = parse_json(body)["choices"][0]["message"] if body else {}
    return json.dumps([message.get(key) or "" for key in ("content", "reasoning_content", "reasoning")])


def draw_probe() -> PILImage.Image:
    """A red circle, a blue square, a green triangle and a bent line, the same wherever it is drawn."""
    picture = PILImage.new("RGB", (SIDE, SIDE), (245, 240, 230))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((8, 8, 44, 44), fill=(200, 30, 30))
    draw.rectangle((64, 12, 100, 48), fill=(30, 60, 200))
    draw.polygon([(20, 100), (56, 100), (38, 64)], fill=(30, 150, 60))
    draw.line([(70, 70), (100, 100), (70, 100)], fill=(0, 0, 0), width=4)
    return picture
