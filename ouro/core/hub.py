"""The Hugging Face hub at another address than its own: HF_ENDPOINT."""

from __future__ import annotations

import json
import os

from ouro.core.endpoints import ask, masked, origin

ENDPOINT = "HF_ENDPOINT"
_KNOWN = "datasets/nyu-mll/glue"  # one of the hub's oldest; any JSON about it, an error too, is a hub's reply


def endpoint_problem() -> str:
    """The sentence for an HF_ENDPOINT at which no hub answers; "" where one does, or none is set."""
    endpoint = os.environ.get(ENDPOINT, "").rstrip("/")
    if not endpoint or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return ""
    answer = ask(f"{endpoint}/api/{_KNOWN}")
    if not answer.problem and (answer.status in (401, 403, 429) or _is_json(answer.body)):
        return ""
    return (
        f"{origin(ENDPOINT)}: got {masked(endpoint)}, {answer.what}, expected the Hugging Face hub or a mirror of it. "
        "Fix: correct it, or unset it: https://huggingface.co is asked then"
    )


def explain_hub(error: Exception) -> str:
    """Why something of the hub could not be had: the endpoint's problem if it has one, else what the library says."""
    return endpoint_problem() or f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _is_json(body: bytes) -> bool:
    """Whether the beginning of a reply is an object: long ones are cut."""
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return body.lstrip()[:1] == b"{"
