"""A deterministic VisionLM without a model: replies are looked up by prompt, or computed. For tests and dry runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ouro.vision.protocols import OnReplies, Request


class ScriptedVLM:
    """`replies`: prompt -> reply, or a function of the request. Raises KeyError for a prompt not in the script.

    `asked` holds the last `remember` requests with their pictures; older ones are dropped, so that memory does not grow
    with the number of requests.
    """

    def __init__(
        self,
        replies: Mapping[str, str] | Callable[[Request], str],
        fingerprint: str = "scripted",
        remember: int = 1000,
    ) -> None:
        self.replies, self.fingerprint = replies, fingerprint
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
        """One scripted reply per request, cut to `max_new_tokens` words."""
        self.asked += requests
        del self.asked[: max(0, len(self.asked) - self.remember)]
        texts = [self.replies(r) if callable(self.replies) else self.replies[r.prompt] for r in requests]
        replies = [" ".join(t.split(" ")[:max_new_tokens]) for t in texts]
        if on_replies:
            on_replies(dict(enumerate(replies)))
        if progress:
            progress(len(requests))
        return replies
