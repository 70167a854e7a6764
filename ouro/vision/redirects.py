"""Redirects of a server: followed to itself alone, so that no other host is sent a picture or a key."""

from __future__ import annotations

import httpx2

MOST = 5  # redirects of one request


def may_follow(request: httpx2.Request, target: httpx2.Request) -> bool:
    """Whether a redirect stays with the server that was asked: same scheme, host and port."""
    return _origin(request.url) == _origin(target.url)


def refusal(response: httpx2.Response, target: httpx2.Request) -> httpx2.Response:
    """The response in the place of a redirect to another server: its status, and a body that says what to do."""
    place = f"{target.url.scheme}://{target.url.netloc.decode('ascii', 'replace')}{target.url.path}"
    text = f"redirects to {place[:100]}: another server, which is sent nothing; if it is right, make it model.url"
    return httpx2.Response(response.status_code, text=text, request=response.request)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    default = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, url.port or default
