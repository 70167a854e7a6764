"""How sure it is that a description supports each pair: by rules, by asking the annotator in text, or not at all.

Asked, the annotator sees no picture: description, question and answer stand in a text request, and its support is the
probability of yes. Source: ours; Visual Genome's successor SVG and VILA^2 filter by asking a model, too, whose reply
they take as yes or no.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ouro.annotate.pairs.replies import Written
from ouro.annotate.pairs.support import support
from ouro.annotate.prompts import support_prompt
from ouro.annotate.prose.evidence import Evidence
from ouro.core.records import Scene
from ouro.vision.protocols import Request, Scoring, ScoringUnavailable, VisionLM

if TYPE_CHECKING:
    from ouro.core.params import Synthesize

NOT_SUPPORTED = "not_supported"
OPTIONS = ("yes", "no")

Rules = Callable[[Written, str], str]
"""(pair, description) -> "" where the description supports the pair, else the reason against it."""


class Judgement(NamedTuple):
    """Of a pair: `reason` to reject it ("" none), `support` in 0..1 (None: not judged), `unsure`: the picture has to
    decide."""

    reason: str
    support: float | None
    unsure: bool = False


Judge = Callable[[Written], Judgement]


def judge_by_rules(scene: Scene, rules: Rules | None = None) -> Judge:
    """By `rules`, those of one template language, else by the rules on free text: supported is 1."""
    evidence = None if rules else Evidence.of_scene(scene)

    def judge(pair: Written) -> Judgement:
        reason = rules(pair, scene.text) if rules else support(pair, evidence or scene.text)
        return Judgement(reason, 0.0 if reason else 1.0)

    return judge


def judge_by_asking(supports: Mapping[Written, float], params: Synthesize) -> Judge:
    """By what `ask_support` gave: below `support_drop` it is not supported, below `support_keep` it is unsure."""

    def judge(pair: Written) -> Judgement:
        share = supports[pair]
        if share < params.support_drop:
            return Judgement(NOT_SUPPORTED, share)
        return Judgement("", share, unsure=share < params.support_keep)

    return judge


def judge_nothing(pair: Written) -> Judgement:
    """Keeps every pair."""
    return Judgement("", None)


def ask_support(
    pairs: Mapping[str, Sequence[Written]], scenes: Sequence[Scene], vlm: VisionLM
) -> dict[str, dict[Written, float]]:
    """image id -> pair -> the probability that the scene's description supports it, all in one wave of text requests.

    `pairs`: image id -> its pairs. Raises ScoringUnavailable where the model gives no probabilities.
    """
    asked = [(scene, pair) for scene in scenes for pair in dict.fromkeys(pairs.get(scene.image_id, ()))]
    requests = [Request((), support_prompt(scene.text, *pair)) for scene, pair in asked]
    shares = _scoring(vlm).choose(requests, [OPTIONS] * len(requests)) if requests else []
    supports: dict[str, dict[Written, float]] = {scene.image_id: {} for scene in scenes}
    for (scene, pair), (yes, _) in zip(asked, shares, strict=True):
        supports[scene.image_id][pair] = yes
    return supports


def _scoring(vlm: VisionLM) -> Scoring:
    if isinstance(vlm, Scoring):
        return vlm
    raise ScoringUnavailable(
        f"synthesize.support: asked, but {type(vlm).__name__} gives no probabilities; expected a model with `choose`. "
        "Fix: set synthesize.support to rules or none, or model.backend to hf"
    )
