"""Probabilities of options from a server's `top_logprobs`: what it might have said instead, token by token.

A server's tokens are known as text only. So options are compared as text, without case, from the start of the reply
on: at each token its alternatives either fit one option, several, or none. Along the reply itself this goes on until
one option is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Any, NamedTuple

from ouro.vision.probabilities import normalised

MOST_ALTERNATIVES = 20  # that the OpenAI API and vLLM give for a token
_AROUND = " \t\n\"'“”‘’*`_"


class Step(NamedTuple):
    """A token of a reply, and the probability of it and of its alternatives, as text."""

    token: str
    probabilities: dict[str, float]


def read_steps(choice: Any) -> list[Step] | None:
    """The tokens of a chat completion's choice with their alternatives; None where the server gave none, [] where it
    said nothing."""
    content = (choice.get("logprobs") or {}).get("content") if isinstance(choice, dict) else None
    if not isinstance(content, list):
        return None
    try:
        return [
            Step(t["token"], {a["token"]: exp(min(a["logprob"], 0.0)) for a in (*t["top_logprobs"], t)})
            for t in content
        ]
    except (KeyError, TypeError):
        return None


def token_probabilities(choice: Any) -> list[float]:
    """The probabilities of a reply's tokens; [] where the server gave none."""
    content = (choice.get("logprobs") or {}).get("content") if isinstance(choice, dict) else None
    try:
        return [exp(min(t["logprob"], 0.0)) for t in content or ()]
    except (KeyError, TypeError):
        return []


def tokens_needed(options: Sequence[str]) -> int:
    """How many tokens of a reply tell the options apart at most: a token has a character or more, and the reply may
    begin with a quotation mark."""
    texts = [_plain(option) for option in options]
    shared = max(_shared_length(a, b) for n, a in enumerate(texts) for b in texts[:n])
    return shared + 3


def option_shares(steps: Sequence[Step], options: Sequence[str]) -> tuple[float, ...]:
    """The probability of each option, normalised over all; equal ones where the model would say none of them.

    What fits several options and is not what the reply goes on with counts for each of them alike.
    """
    texts = [_plain(option) for option in options]
    sums = [0.0] * len(options)
    before, reached = "", 1.0
    fitting: list[int] = []
    for step in steps:
        for token, probability in step.probabilities.items():
            fits = _fitting(before + token, texts)
            if not _plain(before + token) or (token == step.token and len(fits) > 1):
                continue  # says nothing yet; or is decided by the tokens that follow
            _add(sums, fits, reached * probability)
        before += step.token
        fitting = _fitting(before, texts)
        if len(fitting) < 2 and _plain(before):
            return normalised(sums)
        reached *= step.probabilities[step.token]
    whole = [n for n in fitting if texts[n] == _plain(before)]
    _add(sums, whole or (fitting if _plain(before) else []), reached)
    return normalised(sums)


def _add(sums: list[float], options: Sequence[int], probability: float) -> None:
    for option in options:
        sums[option] += probability / len(options)


def _plain(text: str) -> str:
    return " ".join(text.casefold().strip(_AROUND).split())


def _fitting(reply: str, texts: Sequence[str]) -> list[int]:
    """The options that a reply which begins so may be, else those that it is, with more after them."""
    plain = " ".join(reply.casefold().lstrip(_AROUND).split())
    stripped = _plain(reply)
    if not stripped:
        return list(range(len(texts))) if not plain else []
    beginning = [n for n, text in enumerate(texts) if text.startswith(stripped)]
    if beginning:
        return beginning
    fits = [
        n for n, text in enumerate(texts) if plain.startswith(text) and not plain[len(text) : len(text) + 1].isalnum()
    ]
    longest = max((len(texts[n]) for n in fits), default=0)
    return [n for n in fits if len(texts[n]) == longest]


def _shared_length(a: str, b: str) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
