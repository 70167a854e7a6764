"""A deterministic VisionLM without a model: replies are looked up by prompt, or computed. For tests and dry runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ouro.vision.probabilities import normalised
from ouro.vision.protocols import OnReplies, Refused, Reply, Request, ScoringUnavailable, check_options

Weights = Callable[[Request, tuple[str, ...]], Sequence[float]]


class ScriptedVLM:
    """`replies`: prompt -> reply, or a function of the request. Raises KeyError for a prompt not in the script.

    `weights`: how likely each option of a request is, in any unit; without it `choose` raises ScoringUnavailable.
    `asked` holds the last `remember` requests with their pictures; older ones are dropped, so that memory does not grow
    with the number of requests.
    """

    def __init__(
        self,
        replies: Mapping[str, str] | Callable[[Request], str],
        fingerprint: str = "scripted",
        remember: int = 1000,
        weights: Weights | None = None,
    ) -> None:
        self.replies, self.fingerprint, self.weights = replies, fingerprint, weights
        self.asked: list[Request] = []
        self.remember = remember

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        progress: Callable[[int], None] | None = None,
        on_replies: OnReplies | None = None,
    ) -> list[str]:
        """One scripted reply per request, cut to `max_new_tokens` words unless it is a Reply or a Refused."""
        self._note(requests)
        texts = [self.replies(r) if callable(self.replies) else self.replies[r.prompt] for r in requests]
        limits = [min(max_new_tokens, r.most_tokens or max_new_tokens) for r in requests]
        replies = [
            text if isinstance(text, (Reply, Refused)) else " ".join(text.split(" ")[:limit])
            for text, limit in zip(texts, limits, strict=True)
        ]
        if on_replies:
            on_replies(dict(enumerate(replies)))
        if progress:
            progress(len(requests))
        return replies

    def choose(self, requests: Sequence[Request], options: Sequence[tuple[str, ...]]) -> list[tuple[float, ...]]:
        """The scripted weights as probabilities (ouro.vision.protocols.Scoring)."""
        check_options(requests, options)
        self._note(requests)
        if self.weights is None:
            raise ScoringUnavailable("ScriptedVLM: got no `weights`, expected a function of request and options")
        return [normalised(self.weights(r, choices)) for r, choices in zip(requests, options, strict=True)]

    def _note(self, requests: Sequence[Request]) -> None:
        self.asked += requests
        del self.asked[: max(0, len(self.asked) - self.remember)]
