"""A template writer of question-answer pairs for the nano world, behind the VisionLM protocol.

It reads the merged description in the prompt, nothing else: no picture, no ground truth. It is nano's default
(`synthesize.writer: template`), because the 3 M parameter VLM writes fluent pairs of which too few hold
(perf/nano_base.py measures both); `synthesize.writer: vlm` is eq. 5 as it stands, for every real model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from ouro.annotate.prompts import ASPECTS
from ouro.nano import language as say
from ouro.nano.facts import Fact, stated_facts
from ouro.nano.scenes import CONTAINERS, Box, Container, Item, Scene, Sign
from ouro.vision.protocols import OnReplies, Request

_NOWHERE: Box = (0, 0, 0, 0)


class TemplateWriter:
    """Answers synthesis prompts of the "nano" template; raises ValueError for any other prompt."""

    fingerprint = "nano template writer 1"

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        progress: Callable[[int], None] | None = None,
        on_replies: OnReplies | None = None,
    ) -> list[str]:
        """Pairs in the writer's form, in the order of the description; `max_new_tokens` is not needed."""
        replies = [_write(r.prompt) for r in requests]
        if on_replies:
            on_replies(dict(enumerate(replies)))
        if progress:
            progress(len(requests))
        return replies


def _write(prompt: str) -> str:
    match = re.fullmatch(r"(.*) write questions about ([a-z ]+)\.", prompt, re.DOTALL)
    if match is None or match.group(2) not in ASPECTS:
        raise ValueError(
            f"template writer: got the prompt {prompt[:80]!r}, expected '<description> write questions about "
            "<aspect>.'; set synthesize.template to nano, or synthesize.writer to vlm"
        )
    rng = np.random.default_rng(list(hashlib.sha256(prompt.encode()).digest()[:8]))
    return say.write_pairs(say.aspect_pairs(described_scene(match.group(1)), match.group(2), rng))


def described_scene(text: str) -> Scene:
    """The scene that a description states; things without a full description are left out."""
    facts = sorted(stated_facts(text))  # a set's order is not the same in every process
    places = {name: value for kind, name, value in facts if kind == "where"}
    signs = {holder: word for kind, holder, word in facts if kind == "sign"}
    items = {holder: _items(facts, places, holder) for holder in (*CONTAINERS, "floor")}
    containers = tuple(
        Container(kind, _NOWHERE, places[kind], items[kind], Sign(signs[kind], _NOWHERE) if kind in signs else None)
        for kind in sorted(CONTAINERS, key=text.find)
        if kind in places
    )
    return Scene(containers, items["floor"])


def _items(facts: list[Fact], places: dict[str, str], holder: str) -> tuple[Item, ...]:
    looks: dict[str, dict[str, str]] = {}
    for kind, name, value in facts:
        if kind in ("color", "pattern") and name.endswith(f" on {holder}"):
            looks.setdefault(name, {})[kind] = value
    whole = [(name, look) for name, look in looks.items() if len(look) == 2 and name in places]
    whole.sort(key=lambda n: (places[n[0]].startswith("bottom"), places[n[0]].endswith("right"), n[0]))
    return tuple(
        Item(name.split(" on ")[0], look["color"], look["pattern"], _NOWHERE, places[name]) for name, look in whole
    )
