"""The order in which a server is asked, and when it is asked no more."""

from __future__ import annotations

from collections.abc import Sequence

from ouro.vision.protocols import Request
from ouro.vision.server_errors import RequestRefused

TRIAL_REQUESTS = 8  # if a server refuses all of the first requests of a call, the params are wrong, not the requests


class Trial:
    """Detects a server that refuses all requests: it does if none of the `first` ones to be answered succeeds."""

    def __init__(self, first: int) -> None:
        self.passed, self._remaining = False, first

    def record_refusal(self, error: RequestRefused) -> None:
        """Count a refused request. Raises the error if all of the first requests were refused."""
        self._remaining -= 1
        if self._remaining <= 0 and not self.passed:
            raise error


def order_by_picture(requests: Sequence[Request]) -> list[int]:
    """Indices of the requests, grouped by their first picture, pictures in order of first appearance."""
    picture_numbers: dict[int, int] = {}
    first_pictures = [
        picture_numbers.setdefault(id(r.images[0]), len(picture_numbers)) if r.images else -1 for r in requests
    ]
    return sorted(range(len(requests)), key=first_pictures.__getitem__)
