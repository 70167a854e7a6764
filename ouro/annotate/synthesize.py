"""Synthesize (eq. 5): QA = VLM(I, P, d0), over five aspects; parsed, deduplicated, checked for support.

The model writes; this module keeps only pairs that the merged description supports (`synthesize.support`) and, with
`synthesize.round_trip` or where support is unsure, what the model answers again when it sees the image alone. The paper
filters nothing.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.annotate.cleaning import plain_text, visible
from ouro.annotate.pairs.agreement import agreement
from ouro.annotate.pairs.filters import acceptance, is_near_duplicate, leaks_answer, wording, yes_no_surplus
from ouro.annotate.pairs.judging import (
    Judge,
    Judgement,
    Rules,
    ask_support,
    judge_by_asking,
    judge_by_rules,
    judge_nothing,
)
from ouro.annotate.pairs.replies import Leftover, Piece, Written, parse_reply
from ouro.annotate.prompts import answer_prompt, synthesis_prompt
from ouro.core.control_tokens import count_control_tokens
from ouro.core.pictures import Pictures, chunk_images
from ouro.core.records import Image, QAPair, Rejected, Scene
from ouro.vision.protocols import Refused, Request, VisionLM

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.core.params import Synthesize

ANSWER_TOKENS = 32  # of the round trip: a single word or phrase, and room for a sentence

Progress = Callable[[int], None]


class Synthesized(NamedTuple):
    """Kept pairs, rejected pieces with reasons, and how many pieces were written (an empty reply counts one)."""

    pairs: list[QAPair]
    rejected: list[Rejected]
    n_in: int

    def meta(self, scenes: int) -> dict[str, Any]:
        """For the sidecar: how many scenes there were, and what was kept of each aspect."""
        return {"scenes": scenes, "aspects": acceptance(self.pairs, self.rejected)}


class _AcceptedPair(NamedTuple):
    record_id: str  # "<image id>/<aspect>/<number of the piece>", the id of a rejected piece, too
    pair: QAPair
    unsure: bool  # the image has to decide


class _Reply(NamedTuple):
    scene: Scene
    aspect: str
    pieces: Sequence[Piece]


def synthesize_images(
    images: Sequence[Image],
    scenes: Sequence[Scene],
    folder: Path,
    max_pixels: int,
    writer: Callable[[int], VisionLM],
    answerer: Callable[[int], VisionLM],
    params: Synthesize,
    progress: Progress | None = None,
    answered: Progress | None = None,
    rules: Rules | None = None,
    on_tokens: Progress = lambda n: None,
) -> Synthesized:
    """The pairs of a shard's scenes; the files of their images lie in `folder`.

    `writer`, `answerer`: who writes pairs, and who is asked about them, given how many requests a batch holds. `rules`:
    those of a template language, in place of the rules on free text. Raises ImageError for a file that is damaged or
    has more than `max_pixels`, and ScoringUnavailable.
    """
    result = Synthesized([], [], 0)
    for chunk in chunk_images(images):
        pictures = Pictures(chunk, folder, max_pixels)
        chunk_scenes = [scene for scene in scenes if scene.image_id in pictures]
        vlm, checker = writer(params.batch_size), answerer(params.batch_size) if params.asks else None
        written = synthesize_shard(pictures, chunk_scenes, vlm, params, progress, checker, answered, rules, on_tokens)
        result.pairs.extend(written.pairs)
        result.rejected.extend(written.rejected)
        result = result._replace(n_in=result.n_in + written.n_in)
    return result


def synthesize_shard(
    pictures: Mapping[str, PILImage.Image],
    scenes: Sequence[Scene],
    vlm: VisionLM,
    params: Synthesize,
    progress: Progress | None = None,
    answerer: VisionLM | None = None,
    answered: Progress | None = None,
    rules: Rules | None = None,
    on_tokens: Progress = lambda n: None,
) -> Synthesized:
    """The pairs of a shard. `answerer`: the annotator that is asked about pairs (None: nothing asks it); `answered` is
    called with the number of further answers, `on_tokens` with that of control tokens in a reply: no pair has any.

    Rejected: "unparsable", "cut_off", "thinking", "other_field" (ouro.annotate.pairs.replies); "duplicate_question",
    "too_many_pairs", the reasons of ouro.annotate.pairs.support or "not_supported", "leaks_answer",
    "near_duplicate_question"; "disagrees_with_image"; "yes_no_surplus" (ouro.annotate.pairs.filters). In this order,
    the yes-no surplus at the end, so that its share is that of the pairs which stay. And "refused": the request to
    write an image's pairs of an aspect, or to answer one in the round trip, that the model's server refuses. Raises
    ScoringUnavailable.
    """
    replies = list(_write_pairs(pictures, scenes, vlm, params, progress, on_tokens))
    accepted, rejected = _select(replies, _judges(replies, scenes, params, answerer, rules), params)
    if answerer is not None:
        accepted, disagreeing = _round_trip(pictures, accepted, answerer, params, answered)
        rejected += disagreeing
    accepted, surplus = _remove_surplus(accepted, params)
    return Synthesized([k.pair for k in accepted], rejected + surplus, sum(len(r.pieces) for r in replies))


def _judges(
    replies: Sequence[_Reply],
    scenes: Sequence[Scene],
    params: Synthesize,
    answerer: VisionLM | None,
    rules: Rules | None,
) -> dict[str, Judge]:
    """Who judges the support of an image's pairs, by image."""
    if params.support == "none":
        return {scene.image_id: judge_nothing for scene in scenes}
    if params.support == "rules" or answerer is None:
        return {scene.image_id: judge_by_rules(scene, rules) for scene in scenes}
    written: dict[str, list[Written]] = defaultdict(list)
    for reply in replies:
        written[reply.scene.image_id] += [piece for piece in reply.pieces if isinstance(piece, Written)]
    supports = ask_support(written, scenes, answerer)
    return {image: judge_by_asking(shares, params) for image, shares in supports.items()}


def _select(
    replies: Sequence[_Reply], judges: Mapping[str, Judge], params: Synthesize
) -> tuple[list[_AcceptedPair], list[Rejected]]:
    """The pairs that nothing speaks against, and the other pieces with the reason."""
    accepted: list[_AcceptedPair] = []
    rejected: list[Rejected] = []
    selections = {image: _Selection(judge, params) for image, judge in judges.items()}
    for scene, aspect, pieces in replies:
        for number, piece in enumerate(pieces):
            record = f"{scene.image_id}/{aspect}/{number}"
            if isinstance(piece, Leftover):
                rejected.append(_reject(record, piece.reason, piece.text[:200]))
                continue
            judgement = selections[scene.image_id].judge(piece)
            if judgement.reason:
                rejected.append(_reject(record, judgement.reason, " ".join(piece)))
            else:
                pair = _pair(scene.image_id, aspect, piece, judgement.support)
                accepted.append(_AcceptedPair(record, pair, judgement.unsure))
    return accepted, rejected


def _write_pairs(
    pictures: Mapping[str, PILImage.Image],
    scenes: Sequence[Scene],
    vlm: VisionLM,
    params: Synthesize,
    progress: Progress | None,
    on_tokens: Progress,
) -> Iterator[_Reply]:
    """VLM(I, P, d0) for each scene and aspect, all in one batch, parsed to pieces."""
    tasks = [(scene, aspect) for scene in scenes for aspect in params.aspects]
    requests = [
        Request(
            (pictures[scene.image_id],),
            synthesis_prompt(params.template, aspect, scene.text),
            (params.max_pixels,),
        )
        for scene, aspect in tasks
    ]
    replies = vlm.generate(requests, max_new_tokens=params.max_new_tokens, progress=progress)
    for (scene, aspect), reply in zip(tasks, replies, strict=True):
        on_tokens(count_control_tokens(reply))
        yield _Reply(scene, aspect, _read(reply, params.max_new_tokens))


def _read(reply: str, max_new_tokens: int) -> Sequence[Piece]:
    """The pieces of a reply, at least one."""
    if isinstance(reply, Refused):
        return [Leftover(reply.why, "refused")]
    return parse_reply(reply, max_new_tokens) or [Leftover(visible(reply), "unparsable")]


class _Selection:
    """The pairs accepted for one image; judges the next one."""

    def __init__(self, judge: Judge, params: Synthesize) -> None:
        self._judge, self._params = judge, params
        self._questions: set[str] = set()
        self._wordings: list[tuple[str, ...]] = []

    def judge(self, pair: Written) -> Judgement:
        """The judgement of a pair; without a reason to reject it, it is accepted."""
        judgement = self._judgement(pair)
        if not judgement.reason:
            self._questions.add(pair.question.lower())
            self._wordings.append(wording(pair.question))
        return judgement

    def _judgement(self, pair: Written) -> Judgement:
        if pair.question.lower() in self._questions:
            return Judgement("duplicate_question", None)
        if len(self._questions) >= self._params.max_pairs:
            return Judgement("too_many_pairs", None)
        judgement = self._judge(pair)
        if judgement.reason:
            return judgement
        if leaks_answer(pair):
            return Judgement("leaks_answer", None)
        near = is_near_duplicate(wording(pair.question), self._wordings, self._params.max_similarity)
        return Judgement("near_duplicate_question", None) if near else judgement


def _pair(image_id: str, aspect: str, written: Written, support: float | None) -> QAPair:
    qa_id = hashlib.sha256(f"{image_id}\0{written.question}".encode()).hexdigest()[:16]
    return QAPair(qa_id, image_id, aspect, written.question, written.answer, support=support)


def _reject(record_id: str, reason: str, detail: str) -> Rejected:
    return Rejected("synthesize", record_id, reason, detail)


def _round_trip(
    pictures: Mapping[str, PILImage.Image],
    candidates: Sequence[_AcceptedPair],
    answerer: VisionLM,
    params: Synthesize,
    answered: Progress | None,
) -> tuple[list[_AcceptedPair], list[Rejected]]:
    """Pairs with their agreement as confidence, and those below `synthesize.min_agreement` as rejected; of pairs
    whose support was asked only the unsure are asked about, unless `synthesize.round_trip` says so."""
    bounds = (params.max_pixels,)
    questions = [k for k in candidates if params.round_trip or k.unsure or params.support != "asked"]
    requests = [
        Request((pictures[k.pair.image_id],), answer_prompt(params.template, k.pair.question), bounds)
        for k in questions
    ]
    answers = answerer.generate(requests, max_new_tokens=ANSWER_TOKENS, progress=answered) if requests else []
    replies = dict(zip((k.record_id for k in questions), answers, strict=True))
    agreeing: list[_AcceptedPair] = []
    rejected: list[Rejected] = []
    for candidate in candidates:
        record, pair, _ = candidate
        reply = replies.get(record)
        if reply is None:
            agreeing.append(candidate)
            continue
        if isinstance(reply, Refused):
            rejected.append(_reject(record, "refused", f"{pair.question} {pair.answer}; {reply.why}"))
            continue
        reply_text = plain_text(reply)
        confidence = agreement(pair.answer, reply_text)
        if confidence >= params.min_agreement:
            agreeing.append(candidate._replace(pair=replace(pair, confidence=confidence)))
        else:
            detail = f"{pair.question} {pair.answer}; from the image alone: {reply_text[:200]}"
            rejected.append(_reject(record, "disagrees_with_image", detail))
    return agreeing, rejected


def _remove_surplus(
    accepted: Sequence[_AcceptedPair], params: Synthesize
) -> tuple[list[_AcceptedPair], list[Rejected]]:
    """The pairs of each image without its surplus of yes and no."""
    by_image: dict[str, list[_AcceptedPair]] = defaultdict(list)
    for k in accepted:
        by_image[k.pair.image_id].append(k)
    surplus: set[str] = set()
    for of_image in by_image.values():
        indices = yes_no_surplus([k.pair.answer for k in of_image], params.max_yes_no)
        surplus |= {of_image[i].record_id for i in indices}
    rejected = [
        _reject(k.record_id, "yes_no_surplus", f"{k.pair.question} {k.pair.answer}")
        for k in accepted
        if k.record_id in surplus
    ]
    return [k for k in accepted if k.record_id not in surplus], rejected
