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
from ouro.annotate.marks import find_marks
from ouro.annotate.naming import Name, clean_name
from ouro.annotate.prompts import description_prompt
from ouro.annotate.wave import Answer, ask_regions
from ouro.core.control_tokens import META, break_control_tokens, count_control_tokens, tokens_meta
from ouro.core.crops import crop
from ouro.core.pictures import Pictures, chunk_images
from ouro.core.records import Description, Image, Region, Rejected, regions_of, training_images
from ouro.vision.protocols import Refused, Reply, Request, VisionLM

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.core.params import Describe, PromptName


DIGITS = 4  # of probabilities: the rest depends on how requests were batched


class Described(NamedTuple):
    """n_in == len(descriptions) + len(rejected); `meta`: for the sidecar."""

    descriptions: list[Description]
    rejected: list[Rejected]
    n_in: int
    meta: dict[str, Any]


DeriveName = Callable[[str], str]  # from a description to the name of its main object


def describe_images(
    images: Sequence[Image],
    regions: Sequence[Region],
    folder: Path,
    max_pixels: int,
    load: Callable[[int, int | None], VisionLM],
    params: Describe,
    seed: int,
    progress: Callable[[int], None] | None = None,
    derive_name: DeriveName | None = None,
) -> Described:
    """What the annotator says of the regions of a shard's training images, whose files lie in `folder`.

    `load`: the annotator, given how many requests and how many visual tokens a batch holds; not called without images.
    `derive_name`: for `describe.name: derived`. Raises ImageError for a file that is damaged or has more than
    `max_pixels`.
    """
    train = training_images(images)
    train_regions = regions_of(train, regions)
    result = Described([], [], len(train_regions), {"held_out_regions": len(regions) - len(train_regions)})
    names, n_tokens = Counter[str](), 0
    for chunk in chunk_images(train):
        pictures, chunk_regions = Pictures(chunk, folder, max_pixels), regions_of(chunk, train_regions)
        vlm = load(params.batch_size, params.batch_tokens)
        part = describe_regions(chunk_regions, pictures, vlm, params, progress, seed, derive_name)
        result.descriptions.extend(part.descriptions)
        result.rejected.extend(part.rejected)
        names.update(part.meta["names"])
        n_tokens += part.meta.get(META, 0)
    result.meta.update(word_counts(result.descriptions), names=dict(sorted(names.items())), **tokens_meta(n_tokens))
    return result


def describe_shard(
    regions: Sequence[Region],
    pictures: Mapping[str, PILImage.Image],
    vlm: VisionLM,
    params: Describe,
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
    derive_name: DeriveName | None = None,
) -> tuple[list[Description], list[Rejected]]:
    """Descriptions and rejected regions of `describe_regions`."""
    result = describe_regions(regions, pictures, vlm, params, progress, seed, derive_name)
    return result.descriptions, result.rejected


def describe_regions(
    regions: Sequence[Region],
    pictures: Mapping[str, PILImage.Image],
    vlm: VisionLM,
    params: Describe,
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
    derive_name: DeriveName | None = None,
) -> Described:
    """One Description a region. Rejected: regions with an empty reply ("empty_reply"), unusable
    replies ("cut_off", "degenerate", "other_script": ouro.annotate.degenerate), and requests that
    the server refuses ("refused").

    Each region gets the prompt that `draw_prompt` draws for it. A region found by OCR carries its text: 'a sign'
    becomes 'a sign that says milk', and where the reply is unusable the text stands alone. `meta["names"]` counts
    the descriptions by what became of their names (ouro.annotate.naming.OUTCOMES); without `describe.name` none is;
    `meta["control_tokens"]` counts those in replies, none of which reaches a description.
    """
    prompts = [draw_prompt(params.prompts, seed, r.region_id) for r in regions]
    requests = [_request(r, pictures[r.image_id], p, params) for r, p in zip(regions, prompts, strict=True)]
    answers = ask_regions(requests, vlm, params, progress)
    n_tokens = sum(count_control_tokens(reply) for answer in answers for reply in answer if reply)
    result = Described([], [], len(regions), {"names": Counter[str](), **tokens_meta(n_tokens)})
    for region, prompt, request, answer in zip(regions, prompts, requests, answers, strict=True):
        reading = _read(answer.text, region, request.prompt, params)
        text = "" if reading.reason == "refused" else with_text(reading.text, region.text)
        if not text:
            detail = answer.text.why if isinstance(answer.text, Refused) else repr(answer.text)[:200]
            result.rejected.append(Rejected("describe", region.region_id, reading.reason, detail))
            continue
        name = _name(answer, text, request.prompt, derive_name if params.name == "derived" else None)
        if name:
            result.meta["names"][name.outcome] += 1
        description = Description(
            region.region_id, region.image_id, text, vlm.fingerprint[:16], prompt, name.text if name else "",
            *_confidence(answer.text if reading.text else ""), find_marks(text, region.parent_id is None),
        )  # fmt: skip
        result.descriptions.append(description)
    return result


def _name(answer: Answer, text: str, prompt: str, derive_name: DeriveName | None) -> Name | None:
    """The name of a region's main object; None where none was wanted."""
    if derive_name is not None:
        return clean_name(derive_name(text), prompt)
    return None if answer.name is None else clean_name(answer.name, prompt)


def _confidence(reply: str) -> tuple[float | None, float | None]:
    """Mean and lowest probability of a reply's tokens; None where the backend gave none."""
    if not isinstance(reply, Reply):
        return None, None
    return round(reply.mean_probability, DIGITS), round(reply.min_probability, DIGITS)


def draw_prompt(weights: Mapping[PromptName, float], seed: int, region_id: str) -> str:
    """A prompt's name, drawn by weight: the same for the same seed and region, whatever else is described.

    VILA^2 (section 2.1.1) selects one of its three long prompts at random, too.
    """
    names = sorted(weights)
    digest = hashlib.sha256(f"{seed}\0{region_id}".encode()).digest()
    remainder = int.from_bytes(digest[:8], "big") / 2**64 * sum(weights.values())
    for name in names:
        remainder -= weights[name]
        if remainder < 0:
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
    return read_reply(reply, params.max_new_tokens, expected=f"{prompt} {region.text}")


def with_text(description: str, text: str) -> str:
    """A description with the text that OCR read in its region, unless it contains it already, as whole words.

    More than one word is quoted: later stages must see where an inscription ends. Control tokens in it are broken.
    """
    text = " ".join(break_control_tokens(text).text.split())
    if not text or re.search(rf"(?<!\w){re.escape(text)}(?!\w)", description, re.IGNORECASE):
        return description
    stem = description.rstrip(" .")
    inscription = text if re.fullmatch(r"[\w'-]+", text) else f"“{text}”" if '"' in text else f'"{text}"'
    return f"{stem} that says {inscription}" if stem else f"text that says {inscription}"
