"""Describe (eq. 3): d_i = VLM(r_i) for every region of a shard, as one flat batch.

Proposals never depend on descriptions, so Algorithm 1's recursion need not wait for the model: the whole tree
is proposed first and all regions of a shard are described as one batch. Same result, many times faster.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.annotate.degenerate import Reading, read_reply
from ouro.annotate.prompts import description_prompt
from ouro.core.crops import crop
from ouro.core.pictures import Pictures, chunk_images
from ouro.core.records import Description, Image, Region, Rejected, regions_of, training_images
from ouro.vision.protocols import Refused, Request, VisionLM

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.core.params import Describe, PromptName


class Described(NamedTuple):
    """n_in == len(descriptions) + len(rejected); `meta`: for the sidecar."""

    descriptions: list[Description]
    rejected: list[Rejected]
    n_in: int
    meta: dict[str, Any]


def describe_images(
    images: Sequence[Image],
    regions: Sequence[Region],
    folder: Path,
    max_pixels: int,
    load: Callable[[int, int | None], VisionLM],
    params: Describe,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Described:
    """What the annotator says of the regions of a shard's training images, whose files lie in `folder`.

    `load`: the annotator, given how many requests and how many visual tokens a batch holds; not called without images.
    Raises ImageError for a file that is damaged or has more than `max_pixels`.
    """
    train = training_images(images)
    wanted = regions_of(train, regions)
    made = Described([], [], len(wanted), {"held_out_regions": len(regions) - len(wanted)})
    for chunk in chunk_images(train):
        pictures, own = Pictures(chunk, folder, max_pixels), regions_of(chunk, wanted)
        vlm = load(params.batch_size, params.batch_tokens)
        descriptions, rejected = describe_shard(own, pictures, vlm, params, progress, seed)
        made.descriptions.extend(descriptions)
        made.rejected.extend(rejected)
    made.meta.update(word_counts(made.descriptions))
    return made


def describe_shard(
    regions: Sequence[Region],
    pictures: Mapping[str, PILImage.Image],
    vlm: VisionLM,
    params: Describe,
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
) -> tuple[list[Description], list[Rejected]]:
    """One Description a region. Rejected: regions with an empty reply ("empty_reply"), unusable
    replies ("cut_off", "degenerate", "other_script": ouro.annotate.degenerate), and requests that
    the server refuses ("refused").

    Each region gets the prompt that `draw_prompt` draws for it. A region found by OCR carries its text: 'a sign'
    becomes 'a sign that says milk', and where the reply is unusable the text stands alone.
    """
    names = [draw_prompt(params.prompts, seed, r.region_id) for r in regions]
    requests = [_request(r, pictures[r.image_id], n, params) for r, n in zip(regions, names, strict=True)]
    replies = vlm.generate(requests, max_new_tokens=params.max_new_tokens, progress=progress)
    descriptions: list[Description] = []
    rejected: list[Rejected] = []
    for region, name, request, reply in zip(regions, names, requests, replies, strict=True):
        reading = _read(reply, region, request.prompt, params)
        if reading.text:
            description = Description(region.region_id, region.image_id, reading.text, vlm.fingerprint[:16], name)
            descriptions.append(description)
        else:
            detail = reply.why if isinstance(reply, Refused) else repr(reply)[:200]
            rejected.append(Rejected("describe", region.region_id, reading.reason, detail))
    return descriptions, rejected


def draw_prompt(weights: Mapping[PromptName, float], seed: int, region_id: str) -> str:
    """A prompt's name, drawn by weight: the same for the same seed and region, whatever else is described.

    VILA^2 (section 2.1.1) selects one of its three long prompts at random, too.
    """
    names = sorted(weights)
    digest = hashlib.sha256(f"{seed}\0{region_id}".encode()).digest()
    left = int.from_bytes(digest[:8], "big") / 2**64 * sum(weights.values())
    for name in names:
        left -= weights[name]
        if left < 0:
            return name
    return names[-1]


def word_counts(descriptions: Sequence[Description]) -> dict[str, int | dict[str, int]]:
    """For the summary of a shard: words in all, and descriptions by the name of their prompt."""
    by_prompt = Counter(d.prompt for d in descriptions)
    return {"words": sum(len(d.text.split()) for d in descriptions), "by_prompt": dict(sorted(by_prompt.items()))}


def _request(region: Region, picture: PILImage.Image, name: str, params: Describe) -> Request:
    whole = region.parent_id is None
    prompt = description_prompt(name, "scene" if whole else region.kind, params.prompt)
    if whole:
        return Request((picture,), prompt, (params.max_pixels,))
    return Request((crop(picture, region.box, params.context),), prompt, (params.region_max_pixels,))


def _read(reply: str, region: Region, prompt: str, params: Describe) -> Reading:
    if isinstance(reply, Refused):
        return Reading("", "refused")
    reading = read_reply(reply, params.max_new_tokens, expected=f"{prompt} {region.text}")
    return Reading(with_text(reading.text, region.text), reading.reason)


def with_text(description: str, text: str) -> str:
    """A description with the text that OCR read in its region, unless it contains it already, as whole words.

    More than one word is quoted: later stages must see where an inscription ends.
    """
    text = " ".join(text.split())
    if not text or re.search(rf"(?<!\w){re.escape(text)}(?!\w)", description, re.IGNORECASE):
        return description
    stem = description.rstrip(" .")
    inscription = text if re.fullmatch(r"[\w'-]+", text) else f"“{text}”" if '"' in text else f'"{text}"'
    return f"{stem} that says {inscription}" if stem else f"text that says {inscription}"
