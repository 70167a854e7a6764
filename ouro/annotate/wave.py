"""One wave of requests about regions: what each shows, and what its main object is called.

The name is one more short reply on the same picture, in the same batch. With `describe.structured` both come as one
JSON object from a server that holds replies to a schema; what does not come so is asked in the plain form.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.annotate.prompts import NAME, STRUCTURED, STRUCTURED_SCHEMA
from ouro.vision.protocols import Refused, Reply, Request, Structuring, VisionLM

if TYPE_CHECKING:
    from ouro.core.params import Describe

NAME_TOKENS = 24  # a short noun phrase, and room for "The main object is"
STRUCTURE_TOKENS = 40  # more than the description alone: the name, and the marks of JSON

Progress = Callable[[int], None]


class Answer(NamedTuple):
    """The raw replies about one region; `name` is None where it was not asked."""

    text: str
    name: str | None


def ask_regions(
    requests: Sequence[Request], vlm: VisionLM, params: Describe, progress: Progress | None = None
) -> list[Answer]:
    """One Answer per request, in order; `progress` gets the number of requests that are done."""
    vlm_requests = [r._replace(confidence=params.confidence) for r in requests]
    if params.name != "asked":
        replies = vlm.generate(vlm_requests, max_new_tokens=params.max_new_tokens, progress=progress)
        return [Answer(reply, None) for reply in replies]
    if not (params.structured and isinstance(vlm, Structuring) and vlm.takes_schemas):
        return _ask_plainly(vlm_requests, vlm, params, progress)
    answers = _ask_structured(vlm_requests, vlm, params, progress)
    rest = [i for i, answer in enumerate(answers) if answer is None]
    plain = dict(zip(rest, _ask_plainly([vlm_requests[i] for i in rest], vlm, params, None), strict=True))
    return [answer or plain[i] for i, answer in enumerate(answers)]


def _ask_plainly(
    requests: Sequence[Request], vlm: VisionLM, params: Describe, progress: Progress | None
) -> list[Answer]:
    names = [r._replace(prompt=NAME, most_tokens=NAME_TOKENS, confidence=False) for r in requests]
    replies = vlm.generate(
        [*requests, *names], max_new_tokens=max(params.max_new_tokens, NAME_TOKENS), progress=_halve(progress)
    )
    return [Answer(*both) for both in zip(replies[: len(requests)], replies[len(requests) :], strict=True)]


def _ask_structured(
    requests: Sequence[Request], vlm: VisionLM, params: Describe, progress: Progress | None
) -> list[Answer | None]:
    """None for a request whose reply has not the form."""
    schema_requests = [
        r._replace(prompt=STRUCTURED.format(prompt=r.prompt), schema=STRUCTURED_SCHEMA) for r in requests
    ]
    replies = vlm.generate(schema_requests, max_new_tokens=params.max_new_tokens + STRUCTURE_TOKENS, progress=progress)
    return [read_structured(reply) for reply in replies]


def read_structured(reply: str) -> Answer | None:
    """{"name": ..., "text": ...} in a reply, perhaps in a fence or between words; None where there is no such object.

    The text keeps the probabilities of the reply as a whole.
    """
    try:
        value: Any = json.loads(reply[reply.index("{") : reply.rindex("}") + 1])
    except (ValueError, RecursionError):
        return None
    if isinstance(reply, Refused) or not isinstance(value, dict):
        return None
    text, name = value.get("text"), value.get("name")
    if not isinstance(text, str) or not isinstance(name, str) or not text.strip():
        return None
    if isinstance(reply, Reply):
        text = Reply(text, reply.mean_probability, reply.min_probability)
    return Answer(text, name)


def _halve(progress: Progress | None) -> Progress | None:
    """A progress that counts two replies as one region."""
    if progress is None:
        return None
    done = 0

    def count(n: int) -> None:
        nonlocal done
        done += n
        if step := done // 2 - (done - n) // 2:
            progress(step)

    return count
